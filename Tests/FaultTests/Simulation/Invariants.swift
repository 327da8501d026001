import Feed
import Netfilter
import PortMaps
import TestSupport

@testable import Agent
@testable import Storage

// What must hold whenever the agent rests.
extension Simulation {
  func records() throws -> [Scope.Key: ContainerRecord] {
    var records: [Scope.Key: ContainerRecord] = [:]
    try store.forEachContainer { records[$0.key] = $0 }
    return records
  }

  func check(_ mapper: PortMapper) throws {
    stored = try records()
    let networks = try store.networks()
    try checkPromises(networks)
    try checkMemory(mapper, networks)
    try checkOwners()
    if !isTampered { try checkKernel(mapper, networks) }
    model.checked()
  }

  /// What was acknowledged is stored, and nothing else; the revision does not go back.
  private func checkPromises(_ networks: [Network]) throws {
    for (key, container) in model.containers where stored[key] == nil {
      guard model.mayBeEvicted(key) else { throw Broken(description: "lost: \(container)") }
      model.containers[key] = nil
    }
    for (key, record) in stored where !model.accepts(record.container, key) {
      throw Broken(
        description: "stored: \(record.container), acknowledged: \(String(describing: model.containers[key]))")
    }
    for network in networks where !model.accepts(network) {
      throw Broken(
        description: "stored: \(network), acknowledged: \(String(describing: model.networks[network.id]))")
    }
    for network in model.networks.values where !networks.contains(where: { $0.id == network.id }) {
      guard model.mayBeEvicted(network) else { throw Broken(description: "lost: \(network)") }
      model.networks[network.id] = nil
    }
    let revision = try store.revision
    guard revision >= model.revision else {
      throw Broken(description: "revision \(revision) after \(model.revision) was answered")
    }
    model.revision = revision
  }

  /// Networks and port owners in memory are those of the database.
  private func checkMemory(_ mapper: PortMapper, _ networks: [Network]) throws {
    let networks = networks.sorted { $0.name < $1.name }
    guard mapper.networks.all.map(\.network) == networks else {
      throw Broken(description: "in memory: \(mapper.networks.all), stored: \(networks)")
    }
    var owned: [HostPort: Int64] = [:]
    for record in stored.values {
      for port in record.hostPorts {
        owned[port] = record.row
        guard mapper.table.owner(of: port) == record.row else {
          throw Broken(description: "\(port) of \(record.container.name) belongs to somebody else in memory")
        }
      }
    }
    for port in UInt16(8000)...8011 {
      for transport in TransportProtocol.allCases {
        for family in AddressFamily.allCases {
          let place = HostPort(.any(family), transport, port)
          let owner = mapper.table.owner(of: place)
          let isOwned = owned.keys.contains {
            $0.port == port && $0.transport == transport && $0.address.family == family
          }
          if (owner != nil) != isOwned { throw Broken(description: "in memory \(place) is owned: \(owner != nil)") }
        }
      }
    }
  }

  /// Each element that translates has one owner.
  private func checkOwners() throws {
    var owners: [Element.Identity: Scope.Key] = [:]
    for (key, record) in stored {
      for element in [record].elements where element.value != .none {
        if let other = owners.updateValue(key, forKey: element.identity) {
          throw Broken(description: "\(element) belongs to \(key) and \(other)")
        }
      }
    }
  }

  /// The kernel has the projection of the database and `list` answers with it.
  private func checkKernel(_ mapper: PortMapper, _ networks: [Network]) throws {
    let policy = try store.filterPolicy(configuration)
    var elements = policy.elements
    for network in networks {
      elements += try ResolvedNetwork(network, defaultBind: configuration.ip).elements(policy)
    }
    elements += Array(stored.values).elements
    let want = difference(from: [], to: elements).additions
    let have = kernel.table.map { Array($0.elements.values) } ?? []
    let change = difference(from: have, to: want)
    guard change.isEmpty, kernel.table?.skeletonIsCurrent == true else {
      throw Broken(description: "in the kernel too much: \(change.removals), missing: \(change.additions)")
    }
    guard !mapper.owesRepair else { throw Broken(description: "the table is right and said to be in need of repair") }
    guard case .mappings(let mappings) = mapper.answer(.list(MappingFilter()), of: .init(number: 0)) else {
      throw Broken(description: "list failed")
    }
    let (listed, bindings) = (mappings.map(\.binding), stored.values.flatMap(\.bindings))
    guard listed.count == bindings.count, Set(listed) == Set(bindings) else {
      throw Broken(description: "listed: \(listed), stored: \(bindings)")
    }
  }

  /// Where the agent died, the kernel has all that translates for a container, as of some commit, or none of it.
  func checkWholeness(_ commits: [[Scope.Key: ContainerRecord]]) throws {
    let have = Dictionary(
      grouping: kernel.table?.elements.values.filter { $0.value.isTranslation } ?? [], by: \.comment
    ).mapValues(Set.init)
    for key in Set(commits.flatMap(\.keys)) {
      let whole = commits.map { Set([$0[key]].compactMap(\.self).elements.filter { $0.value.isTranslation }) }
      let found = have["\(key.source)-\(key.id)"] ?? []
      guard whole.contains(found) else { throw Broken(description: "\(key) is there in part: \(found)") }
    }
  }

  /// After a death each container of the round is what some of its events make of it, the others what they were.
  func checkUnanswered(_ events: [Sent]) throws {
    let ids = { (reference: String) in reference.hasPrefix("net-") ? ["n1", "n2", "n3", "n4"] : [reference] }
    let isSnapshot =
      events.contains { [.snapshotBegin, .snapshotEnd].contains($0.event) } || !model.snapshots.isEmpty
    let after = try records()
    for key in Set(model.containers.keys).union(after.keys) {
      // One that a snapshot evicted may have been started anew.
      var states: Set<Container?> = isSnapshot ? [model.containers[key], nil] : [model.containers[key]]
      for (source, event) in events where event.container(source) == key {
        for state in states { states.formUnion(event.states(after: state, ids)) }
      }
      guard states.contains(after[key]?.container) else {
        throw Broken(description: "after a death \(key) is \(String(describing: after[key])), of \(states)")
      }
      model.containers[key] = after[key]?.container
    }
    let networks = try store.networks()
    var known = model.networks.values.map { $0 }
    for case .networkCreate(let network) in events.map(\.event) { known.append(network) }
    guard Set(networks).isSubset(of: known) else { throw Broken(description: "networks \(networks) of \(known)") }
    let isRemoval = isSnapshot || events.contains { if case .networkRemove = $0.event { true } else { false } }
    for network in model.networks.values where !isRemoval && !networks.contains(where: { $0.id == network.id }) {
      throw Broken(description: "lost: \(network)")
    }
    model.networks = Dictionary(uniqueKeysWithValues: networks.map { ($0.id, $0) })
  }
}

extension Element.Value {
  fileprivate var isTranslation: Bool { if case .destination = self { true } else { false } }
}
