import Glibc
import PortMaps
import Synchronization

/// Somebody who uses a port all the time, on a thread of its own.
package final class Traffic: Sendable {
  package enum Kind: Sendable {
    /// One flow; each question waits for the answer to the one before.
    case flow
    /// A new flow for each question.
    case connections
    /// A new attempt every millisecond, which gives the answers to earlier ones that long to come.
    case probes
  }

  package struct Count: Sendable, CustomStringConvertible {
    package var asked = 0
    package var answered = 0
    /// The longest time without an answer, in milliseconds.
    package var longestGap: Int64 = 0
    fileprivate var last = Traffic.now()

    package var lost: Int { asked - answered }
    package var description: String { "\(asked) asked, \(answered) answered, longest gap \(longestGap) ms" }

    fileprivate mutating func add(isAnswered: Bool) {
      asked += 1
      if isAnswered { answer() }
    }

    fileprivate mutating func answer() {
      answered += 1
      longestGap = max(longestGap, Traffic.now() - last)
      last = Traffic.now()
    }
  }

  private struct State {
    var count = Count()
    var isEnding = false
  }
  private let state = Mutex(State())
  private let isDone = Mutex(false)
  private let target: (transport: TransportProtocol, address: IPAddress, port: UInt16)
  private let namespace: NetworkNamespace
  private let kind: Kind

  package init(
    _ kind: Kind, _ transport: TransportProtocol, to address: IPAddress, _ port: UInt16,
    from namespace: NetworkNamespace
  ) throws(SystemError) {
    (self.kind, self.namespace, target) = (kind, namespace, (transport, address, port))
    var thread = pthread_t()
    let status = pthread_create(
      &thread, nil,
      { argument in
        // Retained for this thread when it was created.
        if let argument { Unmanaged<Traffic>.fromOpaque(argument).takeRetainedValue().run() }
        return nil
      }, Unmanaged.passRetained(self).toOpaque())
    guard status == 0 else { throw SystemError("pthread_create") }
    pthread_detach(thread)
  }

  /// What has happened up to now.
  package var count: Count { state.withLock { $0.count } }

  /// Waits until it was answered `more` times from now on, or 30 s.
  package func wait(forAnswers more: Int) throws {
    let (goal, end) = (count.answered + more, Traffic.now() + 30_000)
    while count.answered < goal {
      guard Traffic.now() < end else {
        throw NetworkNamespace.Failure(description: "\(target) does not answer any more: \(count)")
      }
      sched_yield()
    }
  }

  /// Ends it and returns what has happened.
  package func end() -> Count {
    state.withLock { $0.isEnding = true }
    while !isDone.withLock({ $0 }) { sched_yield() }
    return count
  }

  private var isEnding: Bool { state.withLock { $0.isEnding } }

  fileprivate static func now() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
  }

  private func run() {
    switch kind {
    case .flow: askOneFlow()
    case .connections:
      while !isEnding {
        let answer = ask(target.transport, target.address, target.port, from: namespace, seconds: 1)
        state.withLock { $0.count.add(isAnswered: answer.isText) }
        pause()
      }
    case .probes: namespace.run { probe() }
    }
    isDone.withLock { $0 = true }
  }

  /// A millisecond: a thousand questions a second find every gap, and leave the machine to those they are about.
  private func pause() { poll(nil, 0, 1) }

  private func askOneFlow() {
    do {
      let flow = try Flow(target.transport, to: target.address, target.port, from: namespace, seconds: 1)
      while !isEnding {
        let answer = flow.ask("hello")
        state.withLock { $0.count.add(isAnswered: answer.isText) }
        pause()
      }
    } catch {
      state.withLock { $0.count.asked += 1 }
    }
  }

  private func probe() {
    let type = target.transport == .udp ? SOCK_DGRAM : SOCK_STREAM
    let family = target.address.family == .ipv4 ? AF_INET : AF_INET6
    var attempts: [CInt] = []
    while !isEnding {
      let socket = Glibc.socket(family, CInt(type.rawValue) | O_CLOEXEC | CInt(SOCK_NONBLOCK.rawValue), 0)
      _ = withSocketAddress(target.address, target.port, { connect(socket, $0, $1) })
      if target.transport == .udp { send(socket, "x", 1, CInt(MSG_NOSIGNAL)) }
      attempts.append(socket)
      state.withLock { $0.count.asked += 1 }
      let wanted = Int16(target.transport == .udp ? POLLIN : POLLOUT)
      var polled = attempts.map { pollfd(fd: $0, events: wanted, revents: 0) }
      poll(&polled, nfds_t(polled.count), 1)
      for ready in polled where ready.revents != 0 {
        if ready.revents & Int16(POLLERR) == 0 { state.withLock { $0.count.answer() } }
        close(ready.fd)
        attempts.removeAll { $0 == ready.fd }
      }
      if attempts.count > 200 { close(attempts.removeFirst()) }
    }
    for socket in attempts { close(socket) }
  }
}
