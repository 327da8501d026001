import Glibc

/// Why a client has no answer from an agent at its socket.
package enum FeedClientError: Error, Equatable, CustomStringConvertible {
  /// No such file.
  case notThere(path: String)
  /// The file is there and nobody listens.
  case refused(path: String)
  /// The file's mode or owner keeps us out.
  case notPermitted(path: String)
  /// The agent went away: between two lines, or in the middle of one.
  case connectionLost(path: String)
  /// The agent has neither taken nor sent anything for as long as we wait; its process id, where it is known.
  case silent(path: String, pid: Int32?)
  case system(operation: String, path: String, errno: Int32)

  /// What is so, without what to do about it.
  package var reason: String {
    switch self {
    case .notThere(let path): "there is no socket \(path)"
    case .refused(let path): "nobody listens on \(path)"
    case .silent(let path, let pid): "\(pid.map { "process \($0)" } ?? "the agent") does not answer on \(path)"
    case .notPermitted, .connectionLost, .system: description
    }
  }

  package var description: String {
    switch self {
    case .notThere: "\(reason); is the agent running?"
    case .refused: "\(reason); start the agent"
    case .silent: "\(reason); restart it, or read its file with pmagent ls --database"
    case .notPermitted(let path): "not permitted to use \(path); run as root or as a member of its group"
    case .connectionLost(let path): "the agent closed the connection on \(path) before it answered"
    case .system(let operation, let path, let errno): "\(operation) \(path): \(String(cString: strerror(errno)))"
    }
  }
}

/// A blocking connection to an agent, for programs that ask and print. Lines are without their LF.
package struct FeedClient: ~Copyable {
  private let socket: FileDescriptor
  private let path: String
  private var received: [UInt8] = []
  /// Bytes of `received` that were handed out, and those known to hold no further LF.
  private var taken = 0
  private var scanned = 0

  private init(socket: consuming FileDescriptor, path: String) {
    self.socket = socket
    self.path = path
  }

  /// Waits no longer than `limit` each time that the agent is to take or to send something; `nil`: as long as it takes.
  package static func connect(to path: String, limit: Duration? = nil) throws(FeedClientError) -> FeedClient {
    guard let address = UnixAddress(path) else {
      throw .system(operation: "connect", path: path, errno: ENAMETOOLONG)
    }
    guard let socket = FileDescriptor(Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0))
    else {
      throw .system(operation: "socket", path: path, errno: errno)
    }
    if let limit {
      let (seconds, attoseconds) = limit.components
      var time = timeval(tv_sec: Int(seconds), tv_usec: Int(attoseconds / 1_000_000_000_000))
      for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
        guard setsockopt(socket.number, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size)) == 0 else {
          throw .system(operation: "setsockopt", path: path, errno: errno)
        }
      }
    }
    guard address.connect(socket.number) == 0 else {
      switch errno {
      case ENOENT, ENOTDIR: throw .notThere(path: path)
      case ECONNREFUSED: throw .refused(path: path)
      case EACCES, EPERM: throw .notPermitted(path: path)
      // Its queue of connections stayed full.
      case EAGAIN: throw .silent(path: path, pid: nil)
      default: throw .system(operation: "connect", path: path, errno: errno)
      }
    }
    return FeedClient(socket: socket, path: path)
  }

  /// Sends with send(2) until all of `line` and its LF are on their way.
  package func send(_ line: [UInt8]) throws(FeedClientError) {
    var rest = (line + [UInt8(ascii: "\n")])[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.send(socket.number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      if count >= 0 {
        rest = rest.dropFirst(count)
      } else if errno == EPIPE || errno == ECONNRESET {
        throw .connectionLost(path: path)
      } else if errno == EAGAIN {
        throw silence
      } else if errno != EINTR {
        throw .system(operation: "send", path: path, errno: errno)
      }
    }
  }

  /// Waits for the next line; `nil` once the agent has closed the connection after a whole line.
  package mutating func receiveLine() throws(FeedClientError) -> [UInt8]? {
    while true {
      if let end = received[scanned...].firstIndex(of: UInt8(ascii: "\n")) {
        guard taken > 0 || end + 1 < received.count else { return takeReceived() }
        defer { (taken, scanned) = (end + 1, end + 1) }
        return Array(received[taken..<end])
      }
      received.removeFirst(taken)
      (taken, scanned) = (0, received.count)
      if try !receiveMore() {
        guard received.isEmpty else { throw .connectionLost(path: path) }
        return nil
      }
    }
  }

  /// One line is all that is there, as nearly always, and a listing may be long: it is handed out as it is.
  private mutating func takeReceived() -> [UInt8] {
    defer { (received, taken, scanned) = ([], 0, 0) }
    received.removeLast()
    return received
  }

  /// No more requests will follow; replies still arrive.
  package func finishSending() { shutdown(socket.number, Int32(SHUT_WR)) }

  private var silence: FeedClientError {
    .silent(path: path, pid: PeerCredentials.process(behind: socket.number))
  }

  private mutating func receiveMore() throws(FeedClientError) -> Bool {
    while true {
      var failure: Int32 = 0
      let chunk = [UInt8](unsafeUninitializedCapacity: 64 * 1024) { buffer, count in
        let result = recv(socket.number, buffer.baseAddress, buffer.count, 0)
        (count, failure) = (max(result, 0), result < 0 ? errno : 0)
      }
      switch failure {
      case 0:
        received += chunk
        return !chunk.isEmpty
      case EINTR: continue
      case ECONNRESET: throw .connectionLost(path: path)
      case EAGAIN: throw silence
      default: throw .system(operation: "recv", path: path, errno: failure)
      }
    }
  }
}
