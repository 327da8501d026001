import Glibc
import PortMaps

/// Where a flow should go.
package struct Target: Sendable, CustomStringConvertible {
  package let transport: TransportProtocol
  package let address: IPAddress
  package let port: UInt16

  package init(_ transport: TransportProtocol, _ address: IPAddress, _ port: UInt16) {
    (self.transport, self.address, self.port) = (transport, address, port)
  }

  package var description: String { "\(HostPort(address, transport, port))" }
}

extension Node {
  /// Asks all `targets` at once, and after them the `control`, which must answer: silence of the others means nothing
  /// where nothing gets through. A target is silent when nothing came of it 250 ms after the answer of the control.
  package func ask(_ targets: [Target], control: Target) throws -> [Answer] {
    var attempts = try namespace.run { () throws(SystemError) in
      try (targets + [control]).map { (target) throws(SystemError) in try Attempt(target) }
    }
    // Seconds for the control on a busy machine, then the time in which the others would have answered.
    wait(for: &attempts, milliseconds: 5000) { $0[targets.count].answer != nil }
    guard case .text? = attempts[targets.count].answer else {
      throw NetworkNamespace.Failure(
        description:
          "the control \(control) from \(name) did not answer: \(String(describing: attempts[targets.count].answer))")
    }
    wait(for: &attempts, milliseconds: 250) { $0.allSatisfy { $0.answer != nil } }
    return attempts.dropLast().map { $0.answer ?? .silence }
  }

  private func wait(for attempts: inout [Attempt], milliseconds: Int, until isDone: ([Attempt]) -> Bool) {
    let end = ContinuousClock.now + .milliseconds(milliseconds)
    while !isDone(attempts) {
      let rest = Int32((end - .now) / .milliseconds(1))
      var polled = attempts.map(\.polled)
      guard rest > 0, poll(&polled, nfds_t(polled.count), rest) > 0 else { return }
      for index in attempts.indices where polled[index].revents != 0 { attempts[index].advance() }
    }
  }
}

/// A flow on its way: connecting, asked, answered.
private struct Attempt {
  private let socket: Descriptor
  private var isAsked = false
  private(set) var answer: Answer?

  /// In the calling thread's namespace.
  init(_ target: Target) throws(SystemError) {
    let family = target.address.family == .ipv4 ? AF_INET : AF_INET6
    let type = target.transport == .udp ? SOCK_DGRAM : SOCK_STREAM
    socket = try Descriptor(
      Glibc.socket(family, CInt(type.rawValue) | CInt(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0), "socket")
    if withSocketAddress(target.address, target.port, { connect(socket.number, $0, $1) }) < 0, errno != EINPROGRESS {
      answer = .refused(errno)
    }
  }

  /// poll(2) ignores a negative descriptor.
  var polled: pollfd {
    pollfd(fd: answer == nil ? socket.number : -1, events: Int16(isAsked ? POLLIN : POLLOUT), revents: 0)
  }

  mutating func advance() {
    if !isAsked {
      isAsked = true
      if send(socket.number, "hello", 5, CInt(MSG_NOSIGNAL)) < 0 { answer = .refused(errno) }
      return
    }
    var reply = [UInt8](repeating: 0, count: 2048)
    let count = recv(socket.number, &reply, reply.count, 0)
    answer = count > 0 ? .text(String(decoding: reply[..<count], as: UTF8.self)) : .refused(count < 0 ? errno : 0)
  }
}
