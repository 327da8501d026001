// The core: events in, replies out. Plain synchronous code on one thread; only the feed waits.
//
// A round is the events that were waiting, from all clients:
//
//   record   every event in ONE SQLite transaction: a bad request leaves nothing behind
//   commit   from here on a crash replays it: restart converges the kernel to what is stored
//   converge the difference of what the round touched, in ONE nf_tables transaction
//   reply    "ok" therefore means durable and live
//
// When the kernel refuses a round, everything it touched is put back and its events are taken one by one, so that the
// poisonous one alone is refused. Stored networks, containers and bindings live in the database only; in memory are what
// every event needs (networks, the port table) and what no database can hold (sockets, watchers, open snapshots).
//
// It does not defend against a kernel that loses its table while running (see `reconcile`), nor against another writer
// of the database (see `Store`).

import CrashPoints
import Feed
import Logging
import Netfilter
import PortMaps
import Runtimes
import Storage

/// What is stored, what is installed, and what is held, kept in agreement. Belongs to one thread, on which it is made and called.
package final class PortMapper {
  /// One request of a round, or what could not be read as one.
  package typealias Incoming = FeedServer.Incoming

  let store: Store
  /// `nil` with `firewall = false`.
  let kernel: (any RulesetStore)?
  private let lock: NamespaceLock?
  let host: Host
  let log: Logger
  var configuration: Configuration
  var networks = Networks()
  var table = PortTable()
  let held = HeldPorts()
  var ephemeral = EphemeralPorts()
  /// Read once for a round, if anything of it needs them.
  private var hasReadEphemeralPorts = false
  var policy = FilterPolicy()
  /// By source.
  var snapshots: [String: Snapshot] = [:]
  /// Rows of the containers that are not installed before their source announces them.
  var awaiting: Set<Int64> = []
  /// When each source has completed its last snapshot, in nanoseconds since 1970; since the agent's start.
  var lastSnapshots: [String: Int64] = [:]
  /// Those that are followed.
  package var runtimes: [RuntimeHealth] = []
  /// Those the log has been told of.
  var missingBridges: Set<String> = []
  var watchers: Set<ConnectionID> = []
  /// Connections for which the table is left to an administrator.
  var administrators: Set<ConnectionID> = []
  /// Called with each change of a mapping, for every connection that watches.
  package var tellWatchers: ([ConnectionID], [(Change, Mapping)]) -> Void = { _, _ in }
  /// Open from its first use on: to close a socket of nfnetlink, the kernel waits until what the last transaction has removed is
  /// gone, up to 10 ms (`nft_rcv_nl_event`).
  private var conntrack: Conntrack?
  /// Whether the database may have flows that are still to be ended.
  package internal(set) var hasStaleFlows: Bool
  /// An attempt to end them has failed.
  private(set) var owesFlows = false
  /// The kernel's table may be another than what is stored, by an attempt of ours that failed half-way.
  var owesRepair = false
  /// Whether something is to be tried again that no event tells of.
  package var waits: Bool { !held.waiting.isEmpty || owesRepair || owesFlows }
  /// What is on disk is not known any more: an I/O error, or a refused change that could not be put back. The agent must
  /// end without another word; the next one replays the database.
  package var failure: (any Error)? { store.failure ?? undoFailure }
  private var undoFailure: (any Error)?
  /// The kernel's generation at which its table was last known to be what is stored; `nil` = not known to be.
  var verifiedGeneration: UInt32?

  init(
    store: Store, kernel: (any RulesetStore)?, lock: consuming NamespaceLock?, configuration: Configuration, log: Logger
  ) {
    (self.store, self.kernel, self.configuration, self.log) = (store, kernel, configuration, log)
    self.lock = lock
    hasStaleFlows = kernel != nil
    // A model of the kernel has no packets.
    let loopback = (kernel as? KernelRuleset).map { HostLoopback.open($0, log) } ?? .none(log)
    let ports = kernel is KernelRuleset ? HostBridgePorts.open(log) : .none(log)
    host = Host(store: store, log: log, loopback: loopback, bridgePorts: ports)
  }

  // MARK: Rounds

  /// Answers each request of `round`, in its order. A query sees the events before it, and none after it: `reply` is called
  /// before any later event is carried out, or told to those who watch.
  package func handle(_ round: [Incoming], reply: (Reply) -> Void) {
    var events: [Incoming] = []
    func commitEvents() {
      for answer in commit(events) { reply(answer) }
      events.removeAll()
    }
    for incoming in round {
      guard case .request(let request) = incoming.decoded else {
        events.append(incoming)
        continue
      }
      switch request.body {
      case .event(.reconcile, _):
        commitEvents()
        reply(reconcile())
      case .event(.maintenanceBegin, _):
        commitEvents()
        reply(beginMaintenance(incoming.connection))
      case .event(.maintenanceEnd, _):
        commitEvents()
        reply(endMaintenance(incoming.connection))
      case .event: events.append(incoming)
      case .query(let query):
        commitEvents()
        reply(answer(query, of: incoming.connection))
      }
    }
    commitEvents()
  }

  /// Its watch ends, its snapshots prune nothing, and the table it kept for an administrator is taken back.
  package func connectionClosed(_ connection: ConnectionID) {
    watchers.remove(connection)
    snapshots = snapshots.filter { $0.value.connection != connection }
    if administrators.contains(connection) { _ = endMaintenance(connection) }
  }

  private func commit(_ events: [Incoming]) -> [Reply] {
    if events.isEmpty { return [] }
    if failure != nil { return events.map { _ in .failed(Self.ending) } }
    repairIfOwed()
    var scope = Scope()
    let snapshotsBefore = snapshots
    let replies: [Reply]
    let change: RulesetChange
    do {
      (replies, change) = try record(events, &scope)
      crashPoint("round-committed")
    } catch let refusal as RequestError {
      restoreMemory(scope)
      if events.count == 1 { return [refused(refusal, events[0])] }
      // All of the round has been rolled back with it.
      snapshots = snapshotsBefore
      return events.flatMap { commit([$0]) }
    } catch {
      restoreMemory(scope)
      snapshots = snapshotsBefore
      return retry(events, after: error)
    }
    do {
      try converge(change)
    } catch {
      if heal(after: error) { return finish(scope, replies) }
      undo(scope)
      snapshots = snapshotsBefore
      if events.count > 1 { return events.flatMap { commit([$0]) } }
      noteAnnounced(by: events[0])
      return [.failed(refusal(of: error, "program the kernel"))]
    }
    return finish(scope, replies)
  }

  /// The database refused the round. On a full disk what removes is still possible.
  private func retry(_ events: [Incoming], after error: any Error) -> [Reply] {
    if failure == nil, (error as? StoreError)?.reason == .full {
      if events.count > 1 { return events.flatMap { commit([$0]) } }
      if case .request(let request)? = events.first?.decoded, case .event(let event, _) = request.body, event.removes,
        store.releaseReserve()
      {
        defer { store.keepReserve() }
        return commit(events)
      }
    }
    return events.map { event in
      noteAnnounced(by: event)
      return .failed(refusal(of: error, "record the event in the database"))
    }
  }

  private static let ending = RequestError(.shuttingDown, "the agent is ending: connect again when it has restarted")

  private func finish(_ scope: Scope, _ replies: [Reply]) -> [Reply] {
    for line in scope.lines { log.log(level: line.level, line.message, metadata: line.metadata) }
    settle(scope)
    return replies
  }

  /// The kernel may have refused because its table is not what it was: someone flushed or edited it. Then the way out is to
  /// make all of it what is stored. Returns whether that worked.
  private func heal(after error: any Error) -> Bool {
    log.warning("a change did not get into the kernel; reading the whole table", metadata: ["error": "\(error)"])
    do {
      try convergeEverything()
      return true
    } catch {
      log.error("the kernel's table could not be repaired either", metadata: ["error": "\(error)"])
      return false
    }
  }

  /// Records a round in one transaction. Returns what the kernel needs for it, too.
  ///
  /// Fails with the `RequestError` of an event that is refused after it has written.
  private func record(_ events: [Incoming], _ scope: inout Scope) throws -> ([Reply], RulesetChange) {
    hasReadEphemeralPorts = false
    return try store.transaction {
      defer { crashPoint("round-recorded") }
      let replies = try events.map { try record($0, &scope) }
      return (replies, try change(of: scope))
    }
  }

  /// Nearly every refusal comes before the event has written anything, so there is nothing of it to be rolled back.
  private func record(_ incoming: Incoming, _ scope: inout Scope) throws -> Reply {
    var touched = Scope()
    let changes = store.changeCount
    do {
      let reply = try apply(incoming, &touched)
      scope.merge(touched)
      return reply
    } catch {
      restoreMemory(touched)
      guard let refusal = error as? RequestError, store.changeCount == changes else { throw error }
      return refused(refusal, incoming)
    }
  }

  private func apply(_ incoming: Incoming, _ scope: inout Scope) throws -> Reply {
    noteAnnounced(by: incoming)
    switch incoming.decoded {
    case .failed(_, let error, _): throw error
    case .request(let request):
      guard case .event(let event, let source) = request.body else { preconditionFailure("not an event") }
      return try apply(event, from: source, on: incoming.connection, &scope)
    }
  }

  private func refused(_ error: RequestError, _ incoming: Incoming) -> Reply {
    var metadata: Logger.Metadata = ["code": "\(error.code.rawValue)", "reason": "\(error.message)"]
    if case .request(let request) = incoming.decoded, case .event(let event, let source) = request.body {
      (metadata["event"], metadata["source"]) = ("\(event.name)", "\(source)")
      if let subject = event.subject { metadata["subject"] = "\(subject)" }
    }
    log.notice("refused", metadata: metadata)
    return .failed(error)
  }

  /// Makes the kernel agree again, where an earlier attempt has failed.
  package func repairIfOwed() {
    guard owesRepair else { return }
    do {
      try convergeEverything()
    } catch {
      log.debug("the kernel's table still cannot be repaired", metadata: ["error": "\(error)"])
    }
  }

  func reconcile() -> Reply {
    var scope = Scope()
    do {
      try intendForwarding(for: networks.all, &scope)
      try convergeEverything()
      if kernel != nil { prepareHost() }
      return try unchanged()
    } catch {
      return .failed(refusal(of: error, "converge the kernel with the database"))
    }
  }

  // MARK: Converge

  /// What makes the kernel agree with the database where `scope` touched it.
  private func change(of scope: Scope) throws -> RulesetChange {
    guard kernel != nil, !scope.isEmpty else { return RulesetChange() }
    let policyBefore = scope.policyBefore ?? policy
    var (have, want): ([Element], [Element]) = ([], [])
    if policyBefore != policy { (have, want) = (policyBefore.elements, policy.elements) }
    for change in scope.networks.values {
      have += change.before?.elements(policyBefore) ?? []
      want += change.after?.elements(policy) ?? []
    }
    let neighbours = try neighbours(of: scope)
    have += elements(
      of: scope.containers.values.compactMap(\.before) + neighbours, except: awaiting.union(scope.confirmed))
    want += elements(of: scope.containers.values.compactMap(\.after) + neighbours, except: awaiting)
    return difference(from: have, to: want)
  }

  private func converge(_ change: RulesetChange) throws {
    guard let kernel, !change.isEmpty else { return }
    crashPoint("round-sending")
    try kernel.apply(change, skeleton: .keep)
    crashPoint("round-answered")
    verifiedGeneration = nil
  }

  /// Containers that `scope` did not touch and that share a container address with one it did. They may publish the same
  /// port of it, which is one element, and stays until the last of them goes.
  private func neighbours(of scope: Scope) throws -> [ContainerRecord] {
    var (rows, addresses): (Set<Int64>, Set<IPAddress>) = ([], [])
    for change in scope.containers.values {
      for record in [change.before, change.after].compactMap(\.self) {
        rows.insert(record.row)
        for binding in record.bindings { addresses.insert(binding.containerAddress) }
      }
    }
    return try store.containers(at: Array(addresses), otherThan: rows)
  }

  /// The kernel has the round: sockets of ports that nobody owns any more go, watchers learn of it.
  private func settle(_ scope: Scope) {
    if kernel != nil { setUpHost(for: Array(scope.networks.values)) }
    var wanted: Set<HostPort> = []
    if scope.containers.values.contains(where: { $0.before != nil }) {
      wanted = Set(scope.containers.values.flatMap { $0.after.map { Array($0.hostPorts) } ?? [] })
    }
    for record in scope.containers.values.compactMap(\.before) {
      for port in record.hostPorts where !wanted.contains(port) { held.release(port) }
    }
    if !watchers.isEmpty { tellWatchers(Array(watchers), changes(of: scope)) }
  }

  private func setUpHost(for networks: [Scope.Change<ResolvedNetwork>]) {
    // Those that went first: a new one may have the bridge of an old one.
    for network in networks.filter({ $0.after == nil }) + networks.filter({ $0.after != nil }) {
      host.prepare(network.after, insteadOf: network.before)
    }
    if networks.contains(where: { $0.after != nil }) { enableIntendedForwarding() }
    for bridge in networks.compactMap({ $0.before?.network.bridge }) where self.networks[bridge: bridge] == nil {
      missingBridges.remove(bridge)
    }
  }

  /// Ends the tracked flows that committed changes have made stale. Its cost grows with the kernel's table of flows, so it
  /// is called after the replies have gone; what it could not do stays recorded for the next time.
  package func endStaleFlows() {
    guard hasStaleFlows, kernel != nil else { return }
    hasStaleFlows = false
    do {
      let (stale, last) = try store.staleFlows()
      owesFlows = false
      if stale.isEmpty { return }
      let local = held.localAddresses
      if conntrack == nil { conntrack = try Conntrack.open() }
      let ended = try conntrack?.end(stale) { $0.isLoopback || local.contains($0) } ?? 0
      crashPoint("flows-ended")
      try store.forgetStaleFlows(through: last)
      crashPoint("flows-forgotten")
      if ended > 0 { log.info("stale flows ended", metadata: ["flows": "\(ended)"]) }
    } catch {
      conntrack = nil
      hasStaleFlows = true
      if !owesFlows { log.error("could not end stale flows, which is tried again", metadata: ["error": "\(error)"]) }
      owesFlows = true
    }
  }

  // MARK: Undo

  /// Puts memory back to what it was before `scope`.
  private func restoreMemory(_ scope: Scope) {
    for record in scope.containers.values.compactMap(\.after) { release(record) }
    for port in scope.journal.held { held.release(port) }
    for before in scope.containers.values.compactMap(\.before) {
      claim(before)
      rehold(before)
    }
    // All go before any comes back: one may have taken another's name.
    for id in scope.networks.keys { networks.set(nil, id: id) }
    for (id, change) in scope.networks { networks.set(change.before, id: id) }
    policy = scope.policyBefore ?? policy
    awaiting.formUnion(scope.confirmed)
  }

  /// The kernel refused what the database has recorded already: put it back, memory too.
  private func undo(_ scope: Scope) {
    restoreMemory(scope)
    do {
      try store.transaction {
        defer { crashPoint("round-undone") }
        for record in scope.containers.values.compactMap(\.after) { try store.remove(record) }
        // All go before any comes back: one may have taken another's name.
        for (id, change) in scope.networks where change.after != nil { try store.removeNetwork(id: id) }
        for before in scope.networks.values.compactMap(\.before) { try store.record(before.network) }
        for before in scope.containers.values.compactMap(\.before) { try putBack(before) }
        if let first = scope.firstStaleFlow { try store.dropStaleFlows(from: first) }
        for name in scope.intendedSysctls { try store.forgetSysctl(name: name) }
      }
    } catch {
      undoFailure = error
    }
  }

  /// Its row went with what took its place.
  private func putBack(_ record: ContainerRecord) throws {
    var new = record
    new.row = try store.record(record)
    if awaiting.remove(record.row) != nil {
      awaiting.insert(new.row)
      try store.holdBack(row: new.row)
    }
    release(record)
    claim(new)
  }

  // MARK: Memory

  func readEphemeralPorts() {
    if !hasReadEphemeralPorts { host.readEphemeralPorts(&ephemeral) }
    hasReadEphemeralPorts = true
  }
  func claim(_ record: ContainerRecord) {
    for binding in record.bindings { table.claim(binding, for: record.row) }
  }
  func release(_ record: ContainerRecord) {
    for binding in record.bindings { table.release(binding) }
  }

  /// What a client is told when a round failed for no fault of its request; logged here, once.
  func refusal(of error: any Error, _ doing: String) -> RequestError {
    log.error("could not \(doing)", metadata: ["error": "\(error)"])
    return switch error {
    case let error as RequestError: error
    case let error as KernelError:
      RequestError(.kernelRefused, "the kernel refused: \(error); nothing of the request remains")
    default: RequestError(.storageFailed, "the database failed: \(error); nothing of the request remains")
    }
  }
}
