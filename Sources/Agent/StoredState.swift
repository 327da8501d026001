import Feed
import Netfilter
import PortMaps
import Storage

/// What the database alone tells, for the commands that work while the agent is down. Read-only.
package struct StoredState {
  private let store: Store
  private let networks: Networks
  private let policy: FilterPolicy
  private let awaiting: Set<Int64>

  /// Fails with `StoreError`.
  package static func open(_ configuration: Configuration) throws -> StoredState {
    let store = try Store.open(at: configuration.database, access: .readOnly)
    var networks = Networks()
    for network in try store.networks() {
      networks.set(try ResolvedNetwork(network, defaultBind: configuration.ip), id: network.id)
    }
    return StoredState(
      store: store, networks: networks, policy: try store.filterPolicy(configuration), awaiting: try store.awaiting())
  }

  /// Those that are installed are `live`: whether their host addresses are there, and who else has their ports, only a running
  /// agent knows.
  package func mappings(_ filter: MappingFilter) throws -> [Mapping] {
    try store.mappings(filter, networks) { binding, record in
      [(binding, awaiting.contains(record.row) ? record.awaitingState : .live)]
    }
  }

  package func networkDescriptions() throws -> [NetworkDescription] { try store.describe(networks) }

  /// Fails with `unknown-container`.
  package func inspect(_ reference: String) throws -> Inspection { try store.inspect(reference) }

  /// What the agent would install, as text that `nft -f` loads.
  package func ruleset() throws -> String {
    var elements = policy.elements + networks.all.flatMap { $0.elements(policy) }
    try store.forEachContainer(.bindings) { if !awaiting.contains($0.row) { $0.addElements(to: &elements) } }
    elements.removeCoveredSources()
    return NftText.ruleset(difference(from: [], to: elements).additions)
  }
}

/// `pmagent teardown`: the way back from an agent to a host without one.
package enum Teardown {
  /// Removes the kernel table and puts the sysctls back that the agent had set. The database stays as it is.
  ///
  /// Returns what was done, a line each. Fails with `StoreError` when an agent is running, `KernelError` when the kernel
  /// refuses.
  package static func run(_ configuration: Configuration) throws -> [String] {
    // Opening to read never creates a database, which would know nothing of what an agent has set.
    _ = try Store.open(at: configuration.database, access: .readOnly)
    let store = try Store.open(at: configuration.database, access: .readWrite)
    // Held until the end: no agent may start in between.
    let lock = try NamespaceLock.take()
    let kernel = try KernelRuleset.open()
    let wasThere = try kernel.deleteTable()
    try LoopbackPath(on: kernel).remove()
    try rejoin(store, configuration)
    var lines = [Skeleton.family, "ip6"].map {
      "\(wasThere ? "removed" : "there was no") table \($0) \(Skeleton.table)"
    }
    let isOfThisBoot = try store.setting("boot_id") == Version.bootID
    for (name, previous) in try store.sysctls() {
      let sysctl = Sysctl(path: name)
      if let value = sysctl.value, !isOfThisBoot {
        lines.append("sysctl \(name) stays \(value): the host has booted since the agent set it")
      } else if sysctl.value == nil {
        lines.append("sysctl \(name) is gone")
      } else {
        try sysctl.set(previous)
        lines.append("sysctl \(name) = \(previous)")
      }
      try store.forgetSysctl(name: name)
    }
    lines.append("the database \(configuration.database) stays: the agent restores its mappings when it starts")
    lock.release()
    return lines
  }

  /// Ports that were kept apart are no longer.
  private static func rejoin(_ store: Store, _ configuration: Configuration) throws {
    let ports = try BridgePorts.open()
    for network in try store.networks() {
      guard let bridge = try ResolvedNetwork(network, defaultBind: configuration.ip).separatedBridge else { continue }
      try ports.set(BridgePorts.Settings(isIsolated: false), ofPortsOf: bridge)
    }
  }
}
