import CNetfilter
import Glibc

/// One netlink(7) socket.
///
/// nf_tables and rtnetlink work inside sendmsg(2): when it returns, every answer is queued or, for a dump, is produced by the
/// recvmsg(2) that asks for more. So the socket never blocks: send, then read until EAGAIN. What is not there by then will not
/// come.
struct NetlinkSocket: ~Copyable {
  /// A part of the kernel that answers.
  enum Peer: String {
    case nfTables = "nf_tables"
    case rtnetlink

    fileprivate var bus: Int32 {
      switch self {
      case .nfTables: NETLINK_NETFILTER
      case .rtnetlink: NETLINK_ROUTE
      }
    }
  }

  private let peer: Peer
  private let socket: OpaquePointer
  private var buffer: [UInt8]
  /// The sequence number that the next exchange begins with, so that it does not take answers to an earlier one for its own.
  private(set) var nextSequence: UInt32 = 1
  /// The kernel's choice, not our process id.
  let portID: UInt32

  /// What came back for one send.
  struct Answers {
    /// NLMSG_ERROR with error 0: the message was understood. Not a commit.
    var acknowledged: [UInt32] = []
    var errors: [Failure] = []
    /// NLM_F_DUMP_INTR: the dump is not one consistent state.
    var wasInterrupted = false
    /// NLMSG_DONE: the dump is complete.
    var isDone = false
  }

  struct Failure {
    var sequence: UInt32
    var errno: Int32
    /// NLMSGERR_ATTR_OFFS: where in the refused message the offending attribute starts.
    var offset: Int?
  }

  private init(_ socket: OpaquePointer, to peer: Peer) {
    (self.socket, self.peer) = (socket, peer)
    portID = mnl_socket_get_portid(socket)
    // The kernel fills at most 32 KiB of a dump at once; an error needs less.
    buffer = [UInt8](repeating: 0, count: 64 << 10)
  }

  deinit { mnl_socket_close(socket) }

  /// In the network namespace of the calling thread.
  static func open(to peer: Peer = .nfTables) throws(KernelError) -> NetlinkSocket {
    guard let socket = mnl_socket_open2(peer.bus, Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)) else {
      throw .system(operation: "open a netlink socket", errno: errno)
    }
    guard mnl_socket_bind(socket, 0, 0) == 0 else {
      let number = errno
      mnl_socket_close(socket)
      throw .system(operation: "bind a netlink socket", errno: number)
    }
    let netlink = NetlinkSocket(socket, to: peer)
    try netlink.configure()
    return netlink
  }

  /// Takes over a socket of an earlier process, with its port id and what it owns. Throws when it is not one of
  /// NETLINK_NETFILTER in the network namespace of the calling thread, and closes it.
  static func adopt(_ descriptor: Int32) throws(KernelError) -> NetlinkSocket {
    func failure(_ number: Int32) -> KernelError {
      close(descriptor)
      return .system(operation: "adopt descriptor \(descriptor) as a netlink socket", errno: number)
    }
    let fresh: NetlinkSocket
    do {
      fresh = try open()
    } catch {
      close(descriptor)
      throw error
    }
    let (protocolNumber, cookie) = (
      socketOption(descriptor, SO_PROTOCOL, Int32.self), socketOption(descriptor, SO_NETNS_COOKIE, UInt64.self)
    )
    guard protocolNumber == NETLINK_NETFILTER, cookie != nil,
      cookie == socketOption(fresh.descriptor, SO_NETNS_COOKIE, UInt64.self)
    else { throw failure(EINVAL) }
    let flags = fcntl(descriptor, F_GETFL)
    guard flags >= 0, fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0, fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0,
      let socket = mnl_socket_fdopen(descriptor)
    else { throw failure(errno) }
    var netlink = NetlinkSocket(socket, to: .nfTables)
    try netlink.configure()
    netlink.discardAnswers()
    return netlink
  }

  var descriptor: Int32 { mnl_socket_get_fd(socket) }

  /// What the earlier process did not live to read.
  private mutating func discardAnswers() {
    var count: Int
    repeat {
      count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
    } while count >= 0 || errno != EAGAIN
  }

  private func configure() throws(KernelError) {
    // A batch is one send and must fit the send buffer. This is a limit, not an allocation: 1,000,000 elements need 60 MB.
    try option(SOL_SOCKET, SO_SNDBUFFORCE, 128 << 20, "SO_SNDBUFFORCE")
    // Each refused message is an answer of about 100 bytes that occupies 1 KiB of this.
    try option(SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20, "SO_RCVBUFFORCE")
    // An error then says where in the message it lies, and does not repeat the message.
    try option(SOL_NETLINK, NETLINK_EXT_ACK, 1, "NETLINK_EXT_ACK")
    try option(SOL_NETLINK, NETLINK_CAP_ACK, 1, "NETLINK_CAP_ACK")
  }

  func option(_ level: Int32, _ name: Int32, _ value: Int32, _ text: String) throws(KernelError) {
    var value = value
    guard setsockopt(mnl_socket_get_fd(socket), level, name, &value, socklen_t(MemoryLayout<Int32>.size)) == 0 else {
      if errno == EPERM { throw .notPermitted("\(text): the capability CAP_NET_ADMIN is missing") }
      throw .system(operation: text, errno: errno)
    }
  }

  /// Sends `bytes` and hands every message that is not an acknowledgement, an error or an end of dump to `receive`.
  ///
  /// Throws `system` when nothing was sent and `unknownOutcome` when answers were lost or are not ours.
  mutating func exchange(
    _ bytes: ArraySlice<UInt8>, sequences: ClosedRange<UInt32>, receive: (Message) -> Void = { _ in }
  ) throws(KernelError) -> Answers {
    // Starting over is safe: nothing is outstanding between two exchanges.
    nextSequence = sequences.upperBound < 1 << 31 ? sequences.upperBound + 1 : 1
    var sent: Int
    repeat {
      sent = bytes.withUnsafeBytes { mnl_socket_sendto(socket, $0.baseAddress, $0.count) }
    } while sent < 0 && errno == EINTR
    guard sent == bytes.count else {
      throw .system(operation: "send \(bytes.count) bytes to \(peer.rawValue)", errno: sent < 0 ? errno : EMSGSIZE)
    }
    var answers = Answers()
    var problem: String?
    // Read to the end even after a problem, so that the next exchange does not meet leftovers of this one.
    while true {
      let count = mnl_socket_recvfrom(socket, &buffer, buffer.count)
      if count < 0, errno == EAGAIN { break }
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else {
        // ENOBUFS: answers were dropped. ENOSPC: libmnl met MSG_TRUNC. Both leave the socket readable.
        problem = problem ?? "read the answers of \(peer.rawValue): \(errnoDescription(errno))"
        if errno == ENOBUFS || errno == ENOSPC { continue } else { break }
      }
      buffer.withUnsafeBytes { buffer in
        var rest = buffer[..<count]
        while !rest.isEmpty {
          guard let message = Message(rest), message.portID == portID, sequences.contains(message.sequence) else {
            problem = problem ?? "an answer of \(peer.rawValue) is cut short or belongs to another request"
            break
          }
          answers.add(message, receive)
          rest = rest.dropFirst((message.bytes.count + 3) & ~3)
        }
      }
    }
    if let problem { throw .unknownOutcome(problem) }
    return answers
  }

  /// An exchange that changes nothing: throws `system`, with `operation`, whatever goes wrong.
  mutating func ask(
    _ operation: String, _ bytes: ArraySlice<UInt8>, sequence: UInt32, receive: (Message) -> Void
  ) throws(KernelError) -> Answers {
    do {
      return try exchange(bytes, sequences: sequence...sequence, receive: receive)
    } catch .unknownOutcome(let problem) {
      throw .system(operation: "\(operation): \(problem)", errno: EIO)
    }
  }
}

extension NetlinkSocket.Answers {
  fileprivate mutating func add(_ message: Message, _ receive: (Message) -> Void) {
    if message.flags & UInt16(NLM_F_DUMP_INTR) != 0 { wasInterrupted = true }
    let payload = message.bytes.dropFirst(Message.headerSize)
    switch Int32(message.type) {
    case NLMSG_ERROR where payload.count >= 4 + Message.headerSize:
      // struct nlmsgerr: the negative errno, the header of the message it is about, then attributes.
      let number = -payload.native(Int32.self, at: 0)
      if number == 0 {
        acknowledged.append(message.sequence)
      } else {
        let details = Attributes(payload.dropFirst(4 + Message.headerSize))
        let offset = details[NLMSGERR_ATTR_OFFS].flatMap {
          $0.count == 4 ? Int($0.native(UInt32.self, at: 0)) : nil
        }
        errors.append(.init(sequence: message.sequence, errno: number, offset: offset))
      }
    case NLMSG_DONE:
      isDone = true
      if payload.count >= 4, payload.native(Int32.self, at: 0) < 0 {
        errors.append(.init(sequence: message.sequence, errno: -payload.native(Int32.self, at: 0), offset: nil))
      }
    default: receive(message)
    }
  }
}

/// Of a kind that is a number; `nil` when the socket has no such option.
private func socketOption<Number: FixedWidthInteger>(_ socket: Int32, _ name: Int32, _: Number.Type) -> Number? {
  var (value, length) = (Number.zero, socklen_t(MemoryLayout<Number>.size))
  guard getsockopt(socket, SOL_SOCKET, name, &value, &length) == 0, length == MemoryLayout<Number>.size else {
    return nil
  }
  return value
}
