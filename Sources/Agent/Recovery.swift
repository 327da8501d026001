import CrashPoints
import Feed
import Logging
import Netfilter
import PortMaps
import Storage

extension PortMapper {
  /// Opens the kernel and makes it agree with what is stored: the same `converge` an event ends in, only that its scope is
  /// everything.
  ///
  /// Fails with `StoreError` (damaged), `KernelError` (no permission), `NamespaceLock.Taken` (another agent).
  package static func start(
    _ configuration: Configuration, _ store: Store, tableSocket: CInt? = nil, log: Logger
  ) throws -> PortMapper {
    guard configuration.firewall else {
      removeTable(configuration, tableSocket, log)
      return try start(configuration, store, kernel: nil, lock: nil, log: log)
    }
    let lock = try NamespaceLock.take()
    let kernel = try openKernel(configuration, tableSocket, log)
    return try start(configuration, store, kernel: kernel, lock: lock, log: log)
  }

  /// Without a firewall nothing is installed, and what an earlier run has left, nobody would keep right.
  private static func removeTable(_ configuration: Configuration, _ socket: CInt?, _ log: Logger) {
    do {
      let lock = try NamespaceLock.take()
      let kernel = try openKernel(configuration, socket, log)
      let wasThere = try kernel.deleteTable()
      try LoopbackPath(on: kernel).remove()
      ServiceManager.forget(tableSocketName)
      if wasThere { log.notice("the table of an earlier run is removed: firewall = false") }
      lock.release()
    } catch is NamespaceLock.Taken {
      // It is another agent's.
    } catch {
      log.warning(
        "could not look for the table of an earlier run, which would go on publishing: run pmagent teardown",
        metadata: ["error": "\(error)"])
    }
  }

  /// The same on an open `kernel`; without a `lock`, the caller answers for being alone.
  static func start(
    _ configuration: Configuration, _ store: Store, kernel: (any RulesetStore)?, lock: consuming NamespaceLock?,
    log: Logger
  ) throws -> PortMapper {
    let mapper = PortMapper(store: store, kernel: kernel, lock: lock, configuration: configuration, log: log)
    try mapper.holdBackUnconfirmed()
    _ = mapper.held.addressesChanged(to: try localAddresses())
    let elements = try mapper.load()
    crashPoint("state-loaded")
    let installed = try kernel?.read(expecting: elements)
    try store.verify()
    var scope = Scope()
    try mapper.intendForwarding(for: mapper.networks.all, &scope)
    // The filter first: forwarding and `route_localnet` are only turned on when it is in place.
    try mapper.convergeEverything(elements, installed)
    if kernel != nil {
      crashPoint("filter-in-place")
      mapper.prepareHost()
      mapper.lookForBridges(of: mapper.networks.all)
    }
    return mapper
  }

  /// Returns the elements of all containers.
  private func load() throws -> [Element] {
    for network in try store.networks() {
      networks.set(try ResolvedNetwork(network, defaultBind: configuration.ip), id: network.id)
    }
    policy = try store.filterPolicy(configuration)
    var elements: [Element] = []
    try store.forEachContainer(.bindings) { record in
      claim(record)
      rehold(record)
      if kernel != nil, !awaiting.contains(record.row) { record.addElements(to: &elements) }
    }
    elements.removeCoveredSources()
    return elements
  }

  /// Holds what is not held yet of a stored container. A port that another program took meanwhile leaves a working mapping
  /// that is not held.
  func rehold(_ record: ContainerRecord) {
    let policy = configuration.holdPolicy(of: record.container.source)
    for binding in record.bindings where policy.holds(rangeOf: binding.containerPorts.count) {
      for port in binding.allHostPorts { held.retake(port) }
    }
  }

  /// Lets go of what an earlier configuration held of it.
  private func releaseUnheld(_ record: ContainerRecord) {
    let policy = configuration.holdPolicy(of: record.container.source)
    for binding in record.bindings where !policy.holds(rangeOf: binding.containerPorts.count) {
      for port in binding.allHostPorts { held.release(port) }
    }
  }

  /// Takes over another configuration; bindings of running containers stay. Returns the keys that differ and need a restart.
  ///
  /// Fails with `RequestError` when a stored network does not fit it any more, `KernelError` when the kernel refuses.
  package func reconfigure(_ new: Configuration) throws -> [String] {
    let (new, waiting) = new.keeping(configuration)
    let resolved = try networks.all.map { try ResolvedNetwork($0.network, defaultBind: new.ip) }
    let old = (configuration, policy, networks)
    var scope = Scope()
    do {
      configuration = new
      policy = try store.filterPolicy(new)
      for network in resolved { networks.set(network, id: network.network.id) }
      try intendForwarding(for: networks.all, &scope)
      try convergeEverything()
    } catch {
      (configuration, policy, networks) = old
      for name in scope.intendedSysctls { try store.forgetSysctl(name: name) }
      throw error
    }
    if kernel != nil { prepareHost() }
    try store.forEachContainer(.bindings) {
      releaseUnheld($0)
      rehold($0)
    }
    return waiting
  }

  func hostChanged(_ event: HostEvent) {
    switch event {
    case .link(let name, let master) where kernel != nil:
      if let network = networks[bridge: name] {
        host.prepare(network)
        if missingBridges.contains(name) { lookForBridges(of: [network]) }
      }
      if let network = master.flatMap({ networks[bridge: $0] }) { host.bridgePorts.prepare(name, of: network) }
    case .linkRemoved(let name) where kernel != nil:
      if let network = networks[bridge: name] { lookForBridges(of: [network]) }
    case .link, .linkRemoved: break
    case .addressAdded(let address): addressesChanged(to: held.localAddresses.union([address]))
    case .addressRemoved, .unknown:
      do {
        // Another interface may have the address too.
        addressesChanged(to: try localAddresses())
      } catch {
        log.error("could not read the host's addresses", metadata: ["error": "\(error)"])
      }
      if event == .unknown, kernel != nil {
        for network in networks.all { host.prepare(network, insteadOf: nil) }
        lookForBridges(of: networks.all)
      }
    }
  }

  private func addressesChanged(to addresses: Set<IPAddress>) {
    let changed = held.localAddresses.symmetricDifference(addresses)
    report(held.addressesChanged(to: addresses), on: changed)
  }

  /// Tries again for the ports that wait.
  package func retryWaiting() { report(held.retryWaiting()) }

  /// Reads the whole table and repairs it. Equal means that nothing is written.
  func convergeEverything(after foreign: ForeignChange? = nil) throws {
    guard let kernel else { return }
    owesRepair = true
    let elements = try containerElements()
    try convergeEverything(elements, kernel.read(expecting: elements), after: foreign)
  }

  /// The same from what has been read already: the elements of all containers, and the table.
  private func convergeEverything(
    _ elements: [Element], _ installed: InstalledRuleset?, after foreign: ForeignChange? = nil
  ) throws {
    guard let kernel else { return }
    owesRepair = true
    let want = wantedElements(elements)
    crashPoint("table-read")
    if let installed, installed.skeletonIsCurrent {
      let change = difference(from: installed.elements, to: want)
      if !change.isEmpty {
        try kernel.apply(change, skeleton: .keep)
        log.notice("kernel table repaired", metadata: change.metadata.merging(foreign.metadata) { $1 })
      }
    } else {
      try kernel.apply(difference(from: [], to: want), skeleton: .rebuild)
      log.notice(
        installed == nil ? "kernel table created" : "kernel table rebuilt: its chains, sets or rules were other ones",
        metadata: foreign.metadata.merging(["elements": "\(want.count)"]) { $1 })
    }
    crashPoint("table-repaired")
    owesRepair = false
    let isComplete = host.loopback.converge(after: foreign)
    for network in networks.all { host.bridgePorts.prepare(network) }
    verifiedGeneration = isComplete ? try kernel.generation() : nil
  }

  private func wantedElements(_ containers: [Element]) -> [Element] {
    policy.elements + networks.all.flatMap { $0.elements(policy) } + containers
  }

  private func containerElements() throws -> [Element] {
    var elements: [Element] = []
    try store.forEachContainer(.bindings) { if !awaiting.contains($0.row) { $0.addElements(to: &elements) } }
    elements.removeCoveredSources()
    return elements
  }

  /// Records that forwarding is to be turned on where `networks` need it, and what the filter then has to drop.
  func intendForwarding(for networks: [ResolvedNetwork], _ scope: inout Scope) throws {
    guard configuration.ipForward == .enable, kernel != nil else { return }
    scope.note(intendedSysctls: try host.intendForwarding(for: networks))
    let changed = try store.filterPolicy(configuration)
    guard changed != policy else { return }
    scope.note(policyBefore: policy)
    policy = changed
  }

  /// Sets what of the host the networks need, where it is not so, or no longer.
  func prepareHost() {
    enableIntendedForwarding()
    for network in networks.all { host.prepare(network) }
  }

  func enableIntendedForwarding() {
    // What an earlier configuration recorded is no longer meant.
    guard configuration.ipForward == .enable else { return }
    do {
      try host.enableIntendedForwarding()
    } catch {
      log.error("could not read which sysctls to set", metadata: ["error": "\(error)"])
    }
  }

  /// Whether the kernel's table is exactly what is stored. Reads the table only when some transaction has happened since
  /// it was last known to be.
  func kernelAgrees() throws -> Bool {
    guard let kernel else { return true }
    let generation = try kernel.generation()
    if generation == verifiedGeneration { return true }
    let want = wantedElements(try containerElements())
    guard let installed = try kernel.read(expecting: want), installed.skeletonIsCurrent,
      difference(from: installed.elements, to: want).isEmpty, try host.loopback.isInstalled()
    else { return false }
    verifiedGeneration = installed.generation
    return true
  }
}
