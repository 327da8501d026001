import Feed
import Logging
import NIOCore
import PortMaps

/// One time of following a runtime: from connecting to its socket and the agent's until either connection ends.
///
///     events    first, from a second that has begun already; drained as they come, whatever else goes on
///     lists     then; what happens between the two is in both
///     a look    at one container after the other, in the order of what made us look
///
/// Belongs to its event loop.
final class RuntimeSession {
  private let source: String
  private let http: HTTPClient
  private let health: RuntimeHealth
  private let log: Logger
  private let onEnd: (RuntimeSession, any Error) -> Void

  private var tracker: Tracker
  private var dialect: Dialect?
  private var feed: FeedConnection?
  private var stream: (any Channel)?
  private var isOver = false

  /// What to look at, in this order.
  private var queue = CircularBuffer<Tracker.Subject>()
  private var queued: Set<Tracker.Subject> = []
  private var lookingAt: Tracker.Subject?
  /// Something happened to it since the daemon was asked.
  private var isOutdated = false

  private var nextSnapshot: Scheduled<Void>?
  private var delay = BackOff(first: .milliseconds(100), last: .seconds(60))
  /// When the stream began, and how many events it has repeated since.
  private var began: Int64 = 0
  private var repeated = 0
  /// When the runtime has said that a container started, until its mappings are live.
  private var starts: [String: Int64] = [:]

  /// Docker and Podman keep as many events: when all of them are repeated, there may have been more.
  private static let memoryOfDaemon = 256
  /// An event that comes this late, in nanoseconds, has waited in a queue that may have overflowed.
  private static let suspiciousLag: Int64 = 5_000_000_000
  /// Requests the agent may leave unanswered before we look at anything more.
  private static let pipeline = 256

  init(
    source: String, http: HTTPClient, health: RuntimeHealth, log: Logger,
    onEnd: @escaping (RuntimeSession, any Error) -> Void
  ) {
    (self.source, self.http, self.health, self.log, self.onEnd) = (source, http, health, log, onEnd)
    tracker = Tracker(source: source)
  }

  // MARK: Beginning and end

  func begin(agentSocket: String) {
    let since = Int(WallClock.now() / 1_000_000_000)
    get("/version") { [self] answer in
      let dialect = try Dialect(version: answer)
      self.dialect = dialect
      FeedConnection.connect(
        to: agentSocket, source: source, on: http.loop, onReply: { [weak self] in self?.answered($0, $1) },
        onEnd: { [weak self] in self?.end($0) }
      ).whenComplete { [weak self] result in
        self?.attempt {
          let feed = try result.get()
          self?.connected(feed, dialect, since: since)
        }
      }
    }
  }

  private func connected(_ feed: FeedConnection, _ dialect: Dialect, since: Int) {
    if isOver { return feed.close() }
    self.feed = feed
    http.follow(
      dialect.events(since: since), onLine: { [weak self] in self?.received($0) },
      onEnd: { [weak self] in self?.end($0) }
    ).assumeIsolated().whenComplete { [weak self] result in
      self?.attempt {
        let stream = try result.get()
        self?.following(stream, dialect)
      }
    }
  }

  private func following(_ stream: any Channel, _ dialect: Dialect) {
    if isOver { return stream.close(promise: nil) }
    self.stream = stream
    began = WallClock.now()
    let runtime = "\(dialect.engine.rawValue) \(dialect.version)"
    health.note {
      ($0.runtime, $0.isConnected, $0.since, $0.problem) = (runtime, true, WallClock.now(), nil)
    }
    log.notice("following a runtime", metadata: ["source": "\(source)", "runtime": "\(runtime)"])
    takeSnapshot()
  }

  func end(_ error: any Error) {
    if isOver { return }
    isOver = true
    nextSnapshot?.cancel()
    feed?.close()
    stream?.close(promise: nil)
    onEnd(self, error)
  }

  /// Ends the session when `body` fails.
  private func attempt(_ body: () throws -> Void) {
    do { try body() } catch { end(error) }
  }

  /// Asks the daemon; a failure ends the session.
  private func get(_ target: String, _ body: @escaping (Part) throws -> Void) {
    http.get(target).assumeIsolated().whenComplete { [weak self] result in
      guard let self, !isOver else { return }
      attempt {
        let bytes = try result.get()
        trace(target, bytes)
        try body(try Part(parsing: bytes))
      }
    }
  }

  /// What the daemon says, word for word; `RecordingTests` replays it.
  private func trace(_ what: String, _ bytes: [UInt8]) {
    log.trace("the runtime says", metadata: ["what": "\(what)", "json": "\(String(decoding: bytes, as: UTF8.self))"])
  }

  // MARK: Events

  private func received(_ line: [UInt8]) {
    if isOver { return }
    trace("event", line)
    do {
      let event = try RuntimeEvent(parsing: line)
      note(event)
      perform(tracker.receive(event))
    } catch {
      log.warning("an event could not be read", metadata: ["source": "\(source)", "error": "\(error)"])
      perform([.takeSnapshot])
    }
  }

  private func note(_ event: RuntimeEvent) {
    let lag = WallClock.now() - event.time
    health.note {
      $0.events += 1
      $0.lag = lag
    }
    if case .containerStarted(let id) = event.kind { starts[id] = event.time }
    if case .containerDied(let id) = event.kind { starts[id] = nil }
    if event.time < began { repeated += 1 }
    if lag > Self.suspiciousLag || repeated == Self.memoryOfDaemon {
      repeated = 0
      log.warning("events may have been lost", metadata: ["source": "\(source)", "lag": "\(lag / 1_000_000) ms"])
      perform([.takeSnapshot])
    }
  }

  // MARK: Actions

  private func perform(_ actions: [Tracker.Action]) {
    for action in actions {
      switch action {
      case .look(let subject) where subject == lookingAt: isOutdated = true
      case .look(let subject): if queued.insert(subject).inserted { queue.append(subject) }
      case .distrust(let subject): if subject == lookingAt { isOutdated = true }
      case .announce(let event): feed?.send(event)
      case .takeSnapshot: scheduleSnapshot()
      }
    }
    lookAtNext()
  }

  private func lookAtNext() {
    guard !isOver, lookingAt == nil, let dialect, let feed, feed.waiting < Self.pipeline,
      let subject = queue.popFirst()
    else { return }
    lookingAt = subject
    queued.remove(subject)
    let target =
      switch subject {
      case .container(let id): dialect.container(id)
      case .network(let reference): dialect.network(reference)
      }
    http.get(target).assumeIsolated().whenComplete { [weak self] result in
      guard let self, !isOver else { return }
      lookingAt = nil
      if isOutdated {
        isOutdated = false
        perform([.look(subject)])
      } else {
        switch result {
        case .success(let bytes): trace(target, bytes)
        case .failure(let error): trace(target, Array("\(error)".utf8))
        }
        perform(tracker.found(finding(result, subject, dialect), lookingAt: subject))
      }
    }
  }

  private func finding(
    _ result: Result<[UInt8], any Error>, _ subject: Tracker.Subject, _ dialect: Dialect
  ) -> Tracker.Finding {
    do {
      let part = try Part(parsing: try result.get())
      switch subject {
      case .container: return .container(try dialect.container(part))
      case .network: return .network(try dialect.network(part, source: source))
      }
    } catch HTTPError.status(404, _) {
      return .gone
    } catch {
      log.warning(
        "the runtime could not be asked", metadata: ["source": "\(source)", "of": "\(subject)", "error": "\(error)"])
      return .unreadable
    }
  }

  // MARK: Snapshots

  private func scheduleSnapshot() {
    if nextSnapshot != nil || isOver { return }
    nextSnapshot = http.loop.assumeIsolated().scheduleTask(in: delay.next()) { [weak self] in
      self?.nextSnapshot = nil
      self?.takeSnapshot()
    }
  }

  private func takeSnapshot() {
    guard let dialect, !isOver else { return }
    if tracker.isTakingSnapshot { return scheduleSnapshot() }
    perform(tracker.beginSnapshot())
    get(dialect.networks) { [self] answer in
      let parts = try answer.elements()
      let networks = parts.compactMap { network($0, dialect) }
      get(dialect.containers) { [self] answer in
        let running = try answer.elements().map { (part) throws(UnexpectedAnswer) in try part["Id"].string() }
        perform(tracker.listed(networks, running: running, isComplete: networks.count == parts.count))
      }
    }
  }

  private func network(_ part: Part, _ dialect: Dialect) -> RuntimeNetwork? {
    do {
      return try dialect.network(part, source: source)
    } catch {
      log.warning("a network could not be read", metadata: ["source": "\(source)", "error": "\(error)"])
      return nil
    }
  }

  // MARK: Replies

  private func answered(_ event: Event, _ refusal: Refusal?) {
    if isOver { return }
    if let refusal {
      log.warning(
        "the agent has refused what a runtime has",
        metadata: ["source": "\(source)", "code": "\(refusal.code)", "reason": "\(refusal.message)"])
      let actions = tracker.refused(event, refusal)
      if actions.contains(.takeSnapshot) { health.note { $0.problem = "\(refusal.code): \(refusal.message)" } }
      return perform(actions)
    }
    switch event {
    case .containerStart(let container):
      if let started = starts.removeValue(forKey: container.id) {
        let duration = WallClock.now() - started
        health.note { $0.startToLive = duration }
        log.debug("live", metadata: ["container": "\(container.name)", "us": "\(duration / 1000)"])
      }
    case .snapshotEnd:
      if tracker.refused == 0 {
        health.note { $0.problem = nil }
        delay.reset()
      }
    default: break
    }
    lookAtNext()
  }
}
