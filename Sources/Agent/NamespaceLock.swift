import Glibc

/// One agent for a network namespace: two with different databases would each take the other's elements for foreign ones.
///
/// An abstract Unix socket (unix(7)) belongs to the network namespace, as the table does, and is gone with its process. Any
/// user may bind such a name, so only a holder that could be an agent counts: root, who we are, or one that cannot be asked.
struct NamespaceLock: ~Copyable {
  private static let name = "pmagent-table"
  private let socket: CInt

  deinit { close(socket) }

  struct Taken: Error, CustomStringConvertible {
    /// `nil` when its queue of connections is full, so that it cannot be asked.
    let pid: pid_t?
    var description: String {
      let holder = pid.map { "process \($0)" } ?? "ss -xlp src @\(name) shows its process"
      return
        "another pmagent (\(holder)) already manages table inet pmagent of this network namespace: stop it first, or "
        + "run this one with firewall = false"
    }
  }

  consuming func release() {}

  /// Fails with `Taken` while another agent has it.
  static func take() throws -> NamespaceLock {
    let lock = NamespaceLock(socket: try openSocket())
    let status = withAddress { bind(lock.socket, $0, $1) }
    if status < 0, errno == EADDRINUSE {
      try checkHolder()
      return lock
    }
    try Errno.check(status)
    // Whoever connects reads our process from the socket's credentials; nobody accepts, and whoever has connected stays in
    // the queue.
    try Errno.check(listen(lock.socket, CInt(SOMAXCONN)))
    return lock
  }

  /// Fails with `Taken` when the process that listens on the name could be an agent.
  private static func checkHolder() throws {
    let client = NamespaceLock(socket: try openSocket())
    if withAddress({ connect(client.socket, $0, $1) }) < 0 {
      switch errno {
      case ECONNREFUSED: return
      // A listener whose queue is full.
      case EAGAIN: throw Taken(pid: nil)
      default: throw Errno()
      }
    }
    // struct ucred of unix(7): pid, uid, gid.
    var credentials: [CInt] = [0, 0, 0]
    var length = socklen_t(credentials.count * MemoryLayout<CInt>.size)
    try Errno.check(getsockopt(client.socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length))
    client.release()
    if [0, CInt(getuid())].contains(credentials[1]) { throw Taken(pid: credentials[0]) }
  }

  private static func openSocket() throws(Errno) -> CInt {
    let socket = Glibc.socket(
      AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue), 0)
    try Errno.check(socket)
    return socket
  }

  private static func withAddress(_ body: (UnsafePointer<sockaddr>?, socklen_t) -> CInt) -> CInt {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    // The leading NUL is what makes the name abstract.
    withUnsafeMutableBytes(of: &address.sun_path) { $0[1...].copyBytes(from: Array(name.utf8)) }
    let length = MemoryLayout<sa_family_t>.size + 1 + name.utf8.count
    return withUnsafeBytes(of: address) { bytes in
      body(bytes.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t(length))
    }
  }
}
