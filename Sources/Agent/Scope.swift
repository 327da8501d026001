import Logging
import PortMaps
import Storage

/// What a round of events touched: each container and network as it was before and as it is now.
///
/// From it alone follow the kernel's change, what watchers are told, which sockets go, and how to undo all of it.
struct Scope {
  struct Key: Hashable {
    var source: String
    var id: String
  }
  struct Change<Value> {
    var before: Value?
    var after: Value?
  }

  private(set) var containers: [Key: Change<ContainerRecord>] = [:]
  private(set) var networks: [String: Change<ResolvedNetwork>] = [:]
  /// Rows of containers that had been waiting for their source, so that nothing of them was installed before.
  private(set) var confirmed: Set<Int64> = []
  /// `nil`: not touched.
  private(set) var policyBefore: FilterPolicy?
  /// Kernel settings that were recorded with the round, to be changed after it.
  private(set) var intendedSysctls: [String] = []
  /// The number of the first stale flow recorded with the round.
  private(set) var firstStaleFlow: Int64?
  /// What is to be logged once the round has happened.
  private(set) var lines: [(level: Logger.Level, message: Logger.Message, metadata: Logger.Metadata)] = []
  let journal = Journal()

  /// Ports that were not held before; a class, because port choice fills it through a closure.
  final class Journal {
    var held: [HostPort] = []
  }

  private var isUntouched: Bool {
    isEmpty && confirmed.isEmpty && policyBefore == nil && intendedSysctls.isEmpty && firstStaleFlow == nil
      && lines.isEmpty && journal.held.isEmpty
  }
  var isEmpty: Bool { containers.isEmpty && networks.isEmpty }

  mutating func note(container key: Key, before: ContainerRecord?, after: ContainerRecord?) {
    containers[key] = Change(before: containers[key].map(\.before) ?? before, after: after)
  }

  mutating func note(network id: String, before: ResolvedNetwork?, after: ResolvedNetwork?) {
    networks[id] = Change(before: networks[id].map(\.before) ?? before, after: after)
  }

  mutating func note(confirmed row: Int64) { confirmed.insert(row) }

  mutating func note(policyBefore policy: FilterPolicy) { policyBefore = policyBefore ?? policy }

  mutating func note(intendedSysctls names: [String]) { intendedSysctls += names }

  mutating func note(firstStaleFlow number: Int64?) { firstStaleFlow = firstStaleFlow ?? number }

  mutating func log(_ message: Logger.Message, _ metadata: Logger.Metadata, level: Logger.Level = .info) {
    lines.append((level, message, metadata))
  }

  mutating func log(_ warning: Warning, about metadata: Logger.Metadata) {
    log("\(warning.message)", metadata.merging(["code": "\(warning.code.rawValue)"]) { $1 }, level: .warning)
  }

  /// `later` happened after everything in here.
  mutating func merge(_ later: Scope) {
    if isUntouched {
      self = later
      return
    }
    for (key, change) in later.containers { note(container: key, before: change.before, after: change.after) }
    for (id, change) in later.networks { note(network: id, before: change.before, after: change.after) }
    if let policy = later.policyBefore { note(policyBefore: policy) }
    confirmed.formUnion(later.confirmed)
    note(intendedSysctls: later.intendedSysctls)
    note(firstStaleFlow: later.firstStaleFlow)
    journal.held += later.journal.held
    lines += later.lines
  }
}

extension ContainerRecord {
  var key: Scope.Key { Scope.Key(source: container.source, id: container.id) }
  func addElements(to elements: inout [Element]) { bindings.addElements(name: container.name, to: &elements) }
  /// The host ports of all bindings, one by one.
  var hostPorts: some Sequence<HostPort> { bindings.lazy.flatMap(\.allHostPorts) }
}

extension [ContainerRecord] {
  /// In row order, as a recovery reads them: of containers that publish one container port the first names the element.
  var elements: [PortMaps.Element] {
    var elements: [PortMaps.Element] = []
    // A port has two of them, but for those with sources.
    elements.reserveCapacity(2 * reduce(0) { $0 + $1.bindings.reduce(0) { $0 + $1.containerPorts.count } })
    for record in sorted(by: { $0.row < $1.row }) { record.addElements(to: &elements) }
    elements.removeCoveredSources()
    return elements
  }
}
