import Glibc

/// Why an agent cannot listen.
package enum ListenError: Error, Equatable, CustomStringConvertible {
  /// Something accepts connections there; its process id, where it could be asked.
  case inUse(path: String, pid: Int32?)
  /// The path is taken by a file that is no socket; it is left as it is.
  case notASocket(path: String)
  /// What was passed is no Unix socket, or one without a file.
  case noPath(descriptor: Int32)
  case system(operation: String, path: String, errno: Int32)

  package var description: String {
    switch self {
    case .inUse(let path, let pid):
      "another agent (\(pid.map { "process \($0)" } ?? "ss -xlp src \(path) shows its process")) listens on \(path); "
        + "stop it or choose another path"
    case .notASocket(let path): "\(path) exists and is not a socket; remove it or choose another path"
    case .noPath(let descriptor):
      "descriptor \(descriptor) is not a Unix socket with a file; give the socket unit a path, ListenStream=/run/…"
    case .system(let operation, let path, let errno): "\(operation) \(path): \(String(cString: strerror(errno)))"
    }
  }
}

/// A Unix stream socket that accepts connections, and its file.
package struct ListeningSocket: ~Copyable {
  private static let mode: mode_t = 0o660

  /// Where clients connect.
  package let path: String
  private let descriptor: FileDescriptor
  /// `nil` for a socket that somebody else bound, whose file is theirs to remove.
  private let file: SocketFile?

  private init(path: String, descriptor: consuming FileDescriptor, file: SocketFile?) {
    self.path = path
    self.descriptor = descriptor
    self.file = file
  }

  /// Listens on a file of mode 0660. A missing parent directory is made (0755), the socket of a dead agent replaced.
  package static func listen(at path: String) throws(ListenError) -> ListeningSocket {
    func failure(_ operation: String) -> ListenError { .system(operation: operation, path: path, errno: errno) }

    guard let address = UnixAddress(path) else {
      throw .system(operation: "bind", path: path, errno: ENAMETOOLONG)
    }
    try makeParent(of: path)
    guard let descriptor = FileDescriptor(socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | flags), 0)) else {
      throw failure("socket")
    }
    // bind(2) creates the file with the mode of the socket's inode, less the umask: set before, there is no instant at
    // which others may connect; set again after, the umask takes nothing away.
    guard fchmod(descriptor.number, mode) == 0 else { throw failure("chmod") }
    if address.bind(descriptor.number) != 0 {
      guard errno == EADDRINUSE else { throw failure("bind") }
      try removeDeadSocket(at: path, address)
      guard address.bind(descriptor.number) == 0 else { throw failure("bind") }
    }
    guard chmod(path, mode) == 0 else { throw failure("chmod") }
    guard Glibc.listen(descriptor.number, SOMAXCONN) == 0 else { throw failure("listen") }
    return ListeningSocket(path: path, descriptor: descriptor, file: SocketFile(path))
  }

  /// Takes over a socket that already listens, as systemd passes it (sd_listen_fds(3)).
  package static func adopt(_ number: Int32) throws(ListenError) -> ListeningSocket {
    var (accepts, size): (Int32, socklen_t) = (0, socklen_t(MemoryLayout<Int32>.size))
    guard getsockopt(number, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &size) == 0, let descriptor = FileDescriptor(number)
    else { throw .system(operation: "getsockopt", path: "descriptor \(number)", errno: errno) }
    guard accepts != 0 else { throw .system(operation: "accept", path: "descriptor \(number)", errno: EINVAL) }
    guard let path = UnixAddress.path(of: number) else { throw .noPath(descriptor: number) }
    guard fcntl(number, F_SETFL, O_NONBLOCK) == 0, fcntl(number, F_SETFD, FD_CLOEXEC) == 0 else {
      throw .system(operation: "fcntl", path: "descriptor \(number)", errno: errno)
    }
    return ListeningSocket(path: path, descriptor: descriptor, file: nil)
  }

  /// Stops listening and removes the file.
  package consuming func close() { file?.remove() }

  /// The descriptor for somebody else to close, and the file to remove then.
  consuming func release() -> (descriptor: Int32, file: SocketFile?) { (descriptor.release(), file) }

  private static var flags: UInt32 { UInt32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue) }

  private static func makeParent(of path: String) throws(ListenError) {
    guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return }
    let parent = String(path[..<slash])
    if mkdir(parent, 0o755) == 0 {
      guard chmod(parent, 0o755) == 0 else { throw .system(operation: "chmod", path: parent, errno: errno) }
    } else if errno != EEXIST {
      throw .system(operation: "mkdir", path: parent, errno: errno)
    }
  }

  /// Removes the file at `path` if it is a socket on which nobody listens.
  private static func removeDeadSocket(at path: String, _ address: UnixAddress) throws(ListenError) {
    var status = stat()
    guard lstat(path, &status) == 0 else { throw .system(operation: "stat", path: path, errno: errno) }
    guard status.st_mode & S_IFMT == S_IFSOCK else { throw .notASocket(path: path) }
    guard let probe = FileDescriptor(socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | flags), 0)) else {
      throw .system(operation: "socket", path: path, errno: errno)
    }
    guard address.connect(probe.number) != 0 else {
      throw .inUse(path: path, pid: PeerCredentials.process(behind: probe.number))
    }
    // EAGAIN is a listener whose queue is full.
    guard errno != EAGAIN else { throw .inUse(path: path, pid: nil) }
    guard errno == ECONNREFUSED else { throw .system(operation: "connect", path: path, errno: errno) }
    guard unlink(path) == 0 else { throw .system(operation: "unlink", path: path, errno: errno) }
  }
}

/// The file of a socket of ours.
struct SocketFile {
  private let path: String
  private let device: dev_t
  private let inode: ino_t

  /// `nil` if there is no such file.
  init?(_ path: String) {
    var status = stat()
    guard lstat(path, &status) == 0 else { return nil }
    (self.path, device, inode) = (path, status.st_dev, status.st_ino)
  }

  /// Removes the file unless it has become another's.
  func remove() {
    guard let now = SocketFile(path), now.device == device, now.inode == inode else { return }
    unlink(path)
  }
}
