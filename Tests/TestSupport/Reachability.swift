import Glibc
import PortMaps

/// Where a flow should go.
package struct Target: Sendable, CustomStringConvertible {
  /// `nil`: an ICMP echo request.
  package let transport: TransportProtocol?
  package let address: IPAddress
  package let port: UInt16

  package init(_ transport: TransportProtocol, _ address: IPAddress, _ port: UInt16) {
    (self.transport, self.address, self.port) = (transport, address, port)
  }

  /// Answered by `pong`.
  package static func ping(_ address: IPAddress) -> Target { Target(address) }

  private init(_ address: IPAddress) { (transport, self.address, port) = (nil, address, 0) }

  package var description: String {
    transport.map { "\(HostPort(address, $0, port))" } ?? "ping \(address)"
  }
}

/// Whether `from` reaches `target`.
package struct Question: Sendable {
  package let from: Node
  package let target: Target
  /// Silence of the others counts only once all of these have answered.
  package let mustAnswer: Bool

  package init(_ from: Node, _ target: Target, mustAnswer: Bool) {
    (self.from, self.target, self.mustAnswer) = (from, target, mustAnswer)
  }
}

extension Node {
  /// Asks all `targets` at once, and with them the `control`, which must answer: silence of the others means nothing
  /// where nothing gets through.
  package func ask(_ targets: [Target], control: Target) throws -> [Answer] {
    var answers = try TestSupport.ask(
      targets.map { Question(self, $0, mustAnswer: false) } + [Question(self, control, mustAnswer: true)])
    let answer = answers.removeLast()
    guard answer.text != nil else {
      throw NetworkNamespace.Failure(description: "the control \(control) from \(name) did not answer: \(answer)")
    }
    return answers
  }
}

/// Asks everything at once: thousands of flows take as long as one. A target is silent when nothing came of it 250 ms
/// after the last of those that must answer did, or 5 s after the start.
package func ask(_ questions: [Question]) throws -> [Answer] {
  var attempts = [Attempt?](repeating: nil, count: questions.count)
  for indices in Dictionary(grouping: questions.indices, by: { questions[$0].from.name }).values {
    try questions[indices[0]].from.namespace.run { () throws(SystemError) in
      for index in indices { attempts[index] = try Attempt(questions[index].target) }
    }
  }
  var open = attempts.compactMap(\.self)
  var polled = open.map(\.polled)
  wait(for: &open, &polled, milliseconds: 5000, questions.map(\.mustAnswer))
  wait(for: &open, &polled, milliseconds: 250, questions.map { _ in true })
  return open.map { $0.answer ?? .silence }
}

private func wait(for attempts: inout [Attempt], _ polled: inout [pollfd], milliseconds: Int, _ awaited: [Bool]) {
  let end = ContinuousClock.now + .milliseconds(milliseconds)
  var missing = attempts.indices.count { awaited[$0] && attempts[$0].answer == nil }
  while missing > 0 {
    let rest = Int32((end - .now) / .milliseconds(1))
    guard rest > 0, poll(&polled, nfds_t(polled.count), rest) > 0 else { return }
    for index in polled.indices where polled[index].revents != 0 {
      attempts[index].advance()
      polled[index] = attempts[index].polled
      if awaited[index], attempts[index].answer != nil { missing -= 1 }
    }
  }
}

/// A flow on its way: connecting, asked, answered.
private struct Attempt {
  private let socket: Descriptor
  private let target: Target
  private var isAsked = false
  private(set) var answer: Answer?

  /// In the calling thread's namespace.
  init(_ target: Target) throws(SystemError) {
    let family = target.address.family == .ipv4 ? AF_INET : AF_INET6
    let type = target.transport == .tcp ? SOCK_STREAM : SOCK_DGRAM
    let icmp = CInt(target.address.family == .ipv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)
    self.target = target
    socket = try Descriptor(
      Glibc.socket(
        family, CInt(type.rawValue) | CInt(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue),
        target.transport == nil ? icmp : 0), "socket")
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
      // The kernel fills in checksum and identifier of an echo request (icmp(7)).
      let echo: [UInt8] = [target.address.family == .ipv4 ? 8 : 128, 0, 0, 0, 0, 0, 0, 1]
      let payload = target.transport == nil ? echo : Array("hello".utf8)
      if send(socket.number, payload, payload.count, CInt(MSG_NOSIGNAL)) < 0 { answer = .refused(errno) }
      return
    }
    var reply = [UInt8](repeating: 0, count: 2048)
    let count = recv(socket.number, &reply, reply.count, 0)
    guard count > 0 else {
      answer = .refused(count < 0 ? errno : 0)
      return
    }
    answer = .text(target.transport == nil ? "pong" : String(decoding: reply[..<count], as: UTF8.self))
  }
}
