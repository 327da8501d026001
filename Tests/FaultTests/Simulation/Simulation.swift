import CSQLite
import Feed
import Glibc
import Logging
import Netfilter
import PortMaps
import TestSupport

@testable import Agent
@testable import Storage

/// An agent with a real database and a model of the kernel, to which everything happens that can.
///
/// A step is an event, a fault or a death. After each round, and after each restart, what must always hold is checked.
final class Simulation {
  struct Broken: Error, CustomStringConvertible { let description: String }
  struct Counts {
    var (rounds, events, acknowledged, faults, edits, restarts, starts) = (0, 0, 0, 0, 0, 0, 0)
    var steps: Int { events + faults + edits + restarts }
  }
  typealias Sent = (source: String, event: Event)

  let directory: TemporaryDirectory
  var configuration = Agent.Configuration()
  let kernel = FakeKernel()
  let reaper = Reaper()
  var store: Store
  var mapper: PortMapper?
  var ruleset: FakeRuleset
  var model = Model()
  var generator: EventGenerator
  var counts = Counts()
  /// As of the last check.
  var stored: [Scope.Key: ContainerRecord] = [:]
  /// In a round that ends in a death, the containers as of each commit: a round that is refused is taken event by event.
  private var committed: [[Scope.Key: ContainerRecord]] = []
  private var isDying = false
  /// Somebody edited the table, which the agent cannot know before it reads all of it.
  var isTampered = false
  private let log = Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() }

  init(seed: UInt64, hold: HoldPolicy) throws {
    generator = EventGenerator(random: SeededGenerator(seed: seed))
    directory = try TemporaryDirectory(in: "/dev/shm")
    configuration.holdPorts = hold
    configuration.ipForward = generator.random.oneIn(2) ? .check : .enable
    store = try Store.open(at: directory.path + "/state.db", access: .readWrite)
    ruleset = kernel.open()
    kernel.dies = { [reaper] moment in reaper.passes("\(moment)") }
    observe()
    try restart()
  }

  private func observe() {
    store.beforeCommit = { [unowned self] in
      try reaper.commits()
      if isDying { committed.append(try records()) }
    }
  }

  /// Makes `steps` steps; throws what does not hold.
  func run(steps: Int) throws {
    while counts.steps < steps {
      let random = Int.random(in: 0..<100, using: &generator.random)
      // As a busy agent has them, and as an idle one has.
      let events = someEvents(upTo: generator.random.oneIn(3) ? 200 : 1)
      do {
        switch random {
        case ..<6: try crash(during: events)
        case ..<18: try round(events, faults: faults())
        case ..<21: edit()
        case ..<24: try reconcile()
        default: try round(events)
        }
      } catch let broken as Broken {
        throw Broken(description: "step \(counts.steps): \(broken)\nround: \(events)")
      }
    }
  }

  private func someEvents(upTo most: Int) -> [Sent] {
    (0..<Int.random(in: 1...most, using: &generator.random)).map { _ in generator.event() }
  }

  // MARK: What happens

  private func incoming(_ sent: Sent) -> PortMapper.Incoming {
    PortMapper.Incoming(
      connection: connection(of: sent.source), decoded: .request(Request(.event(sent.event, source: sent.source))))
  }

  private func connection(of source: String) -> ConnectionID {
    ConnectionID(number: EventGenerator.sources.firstIndex(of: source) ?? 9)
  }

  func round(_ events: [Sent], faults: () -> Void = {}) throws {
    faults()
    counts.rounds += 1
    counts.events += events.count
    guard let replies = replies(to: events), let mapper else { return try died(during: events, isWhole: false) }
    for (sent, reply) in zip(events, replies) {
      if case .changed = reply { counts.acknowledged += 1 }
      model.take(sent.event, sent.source, connection(of: sent.source), reply)
    }
    (kernel.faults, kernel.unreadable, reaper.storeFaults) = ([], [], [])
    mapper.repairIfOwed()
    try check(mapper)
    if let last = events.last, case .changed(_, let ports?, _)? = replies.last,
      let key = last.event.container(last.source),
      let record = stored[key]
    {
      let listing = PortListing(bindings: record.bindings, expose: record.container.expose)
      if listing != ports { throw Broken(description: "answered \(ports), stored \(listing)") }
    }
  }

  /// `nil`: the agent ends without any.
  private func replies(to events: [Sent]) -> [Reply]? {
    guard let replies = mapper?.replies(to: events.map(incoming)), mapper?.failure == nil else { return nil }
    return replies
  }

  private func faults() -> () -> Void {
    var random = generator.random
    defer { generator.random = random }
    let errors = [EEXIST, ENOENT, ENFILE, EPERM, ENOMEM, ERESTART, EINVAL]
    let faults = (0..<Int.random(in: 0...4, using: &random)).map { _ -> FakeKernel.Fault? in
      switch Int.random(in: 0..<7, using: &random) {
      case 0, 1: .refused(random.pick(errors))
      case 2: .notSent(random.pick([EMSGSIZE, ENOBUFS]))
      case 3: .lostAnswers(committed: true)
      case 4: .lostAnswers(committed: false)
      case 5: .interrupted(random.pick([3, 16]))
      default: nil
      }
    }
    let unreadable = random.oneIn(4) ? [random.pick([EBUSY, EIO])] : []
    // The last two: SQLITE_IOERR_FSYNC and SQLITE_IOERR_WRITE of <sqlite3.h>, macros that Swift cannot import.
    let codes = [SQLITE_FULL, SQLITE_BUSY, SQLITE_IOERR | 4 << 8, SQLITE_IOERR | 3 << 8]
    let storeFaults = random.oneIn(3) ? [nil, random.pick(codes)].shuffled(using: &random) : []
    counts.faults += faults.count { $0 != nil } + unreadable.count + storeFaults.count { $0 != nil }
    return { [kernel, reaper] in
      (kernel.faults, kernel.unreadable, reaper.storeFaults) = (faults, unreadable, storeFaults)
    }
  }

  private func edit() {
    counts.edits += 1
    isTampered = true
    let foreign = Element(
      .any4, .port(.tcp, UInt16.random(in: 8000...8011, using: &generator.random)), .destination("10.9.9.9", 1))
    switch Int.random(in: 0..<6, using: &generator.random) {
    case 0: kernel.removeTable()
    case 1: kernel.deface()
    case 2, 3: kernel.insert(foreign)
    default:
      // In an order that a seed repeats.
      let identities = (kernel.table?.elements ?? [:]).keys.map { ("\($0)", $0) }.sorted { $0.0 < $1.0 }
      if let identity = identities.randomElement(using: &generator.random) { kernel.remove(identity.1) }
    }
  }

  private func reconcile() throws {
    guard let mapper else { return }
    counts.events += 1
    guard case .changed = mapper.replies(to: [incoming(("docker", .reconcile))])[0] else {
      throw Broken(description: "reconcile failed")
    }
    isTampered = false
    try check(mapper)
  }

  // MARK: Death

  private func crash(during events: [Sent]) throws {
    counts.events += events.count
    reaper.steps = Int.random(in: 0...5, using: &generator.random)
    (committed, isDying) = ([stored], true)
    _ = mapper?.replies(to: events.map(incoming))
    isDying = false
    // Not dead yet: it dies with its replies unread.
    if !reaper.isDead { reaper.kill() }
    try died(during: events, isWhole: true)
  }

  private func died(during events: [Sent], isWhole: Bool) throws {
    ruleset.kill()
    (kernel.faults, kernel.unreadable) = ([], [])
    mapper = nil
    if isWhole, !isTampered { try checkWholeness(committed) }
    try restart()
    guard let mapper else { return }
    // What was not answered may have happened or not.
    try checkUnanswered(events)
    model.connectionsClosed()
    try check(mapper)
  }

  /// Until one lives.
  private func restart() throws {
    counts.restarts += 1
    if store.failure != nil || generator.random.oneIn(30) { try reopen() }
    while true {
      counts.starts += 1
      reaper.revive()
      reaper.steps = generator.random.oneIn(3) ? Int.random(in: 0...3, using: &generator.random) : nil
      ruleset.kill()
      ruleset = kernel.open()
      do {
        mapper = try PortMapper.start(configuration, store, kernel: ruleset, lock: nil, log: log)
      } catch {
        guard reaper.isDead else { throw Broken(description: "the agent does not start: \(error)") }
        continue
      }
      if reaper.isDead { continue }
      reaper.revive()
      isTampered = false
      return
    }
  }

  /// The database as another process finds it.
  private func reopen() throws {
    mapper = nil
    let path = store.path
    // One at a time holds the lock.
    store = try Store.open(at: path + ".other", access: .readWrite)
    store = try Store.open(at: path, access: .readWrite)
    observe()
  }
}

extension PortMapper {
  /// To a round, in its order.
  func replies(to round: [Incoming]) -> [Reply] {
    var replies: [Reply] = []
    handle(round) { replies.append($0) }
    return replies
  }
}
