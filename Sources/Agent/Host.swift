import Feed
import Logging
import PortMaps
import Storage

/// What the agent reads and sets on the host besides its table.
///
/// A setting is recorded with the value found *before* it is changed, so that no crash loses what `teardown` has to put
/// back. Records of an earlier boot mean nothing: the kernel forgot them.
struct Host {
  let store: Store
  let log: Logger
  let loopback: HostLoopback
  let bridgePorts: HostBridgePorts

  // MARK: Ports

  func readEphemeralPorts(_ ephemeral: inout EphemeralPorts) {
    if let bounds = Sysctl.localPortRange.value?.split(whereSeparator: \.isWhitespace).compactMap({ UInt16($0) }),
      bounds.count == 2, 1 <= bounds[0], bounds[0] <= bounds[1]
    {
      ephemeral.range = PortRange(bounds[0], bounds[1])
    }
    // "32768-32769,40000", the format of ip-sysctl's ip_local_reserved_ports.
    ephemeral.reserved = (Sysctl.localReservedPorts.value ?? "").split(separator: ",").compactMap { part in
      let bounds = part.split(separator: "-").compactMap { UInt16($0) }
      guard let first = bounds.first, let last = bounds.last, first >= 1, first <= last else { return nil }
      return PortRange(first, last)
    }
  }

  // MARK: Sysctls

  /// Whether the agent has started before since the host booted.
  func isOfThisBoot() throws(StoreError) -> Bool { try store.setting("boot_id") == Version.bootID }

  /// Returns whether this is the first start since the host booted.
  func forgetEarlierBoot() throws(StoreError) -> Bool {
    let earlier = try store.setting("boot_id")
    if earlier == Version.bootID { return false }
    for (name, _) in try store.sysctls() { try store.forgetSysctl(name: name) }
    try store.setSetting("boot_id", Version.bootID)
    return earlier != nil
  }

  /// Records the intent to turn on forwarding for the families of `networks` where it is off. Returns the names of the sysctls
  /// that were not recorded before.
  func intendForwarding(for networks: [ResolvedNetwork]) throws(StoreError) -> [String] {
    let families = AddressFamily.allCases.filter { family in
      networks.contains { $0.isFiltered && $0.network.has(family) } && Sysctl.forwarding(family).value == "0"
    }
    if families.isEmpty { return [] }
    let recorded = try store.sysctls().map(\.name)
    let new = families.map { Sysctl.forwarding($0).name }.filter { !recorded.contains($0) }
    for name in new { try store.recordSysctl(name: name, previous: "0") }
    return new
  }

  /// Carries out what `intendForwarding` recorded; by then the filter drops what the host did not forward before.
  func enableIntendedForwarding() throws(StoreError) {
    let recorded = try store.sysctls().map(\.name)
    for family in AddressFamily.allCases where recorded.contains(Sysctl.forwarding(family).name) {
      set(.forwarding(family), to: "1")
    }
  }

  /// Lets the host reach ports published on 127.0.0.1 through the network's bridge. The guard chain is in place already.
  func prepare(_ network: ResolvedNetwork) {
    guard let sysctl = routeLocalnet(of: network), let previous = sysctl.value, previous != "1" else { return }
    do {
      try store.recordSysctl(name: sysctl.name, previous: previous)
      set(sysctl, to: "1")
    } catch {
      log.error("could not record \(sysctl.name), which stays \(previous)", metadata: ["error": "\(error)"])
    }
  }

  /// A network has changed, come or gone: what only the old one needed is put back.
  func prepare(_ network: ResolvedNetwork?, insteadOf old: ResolvedNetwork?) {
    let sysctl = old.flatMap(routeLocalnet)
    if let sysctl, sysctl != network.flatMap(routeLocalnet) { restore(sysctl) }
    bridgePorts.prepare(network, insteadOf: old)
    if let network { prepare(network) }
  }

  private func restore(_ sysctl: Sysctl) {
    do {
      guard let previous = try store.sysctls().first(where: { $0.name == sysctl.name })?.previous else { return }
      if sysctl.value != nil { set(sysctl, to: previous) }
      try store.forgetSysctl(name: sysctl.name)
    } catch {
      log.error("could not put \(sysctl.name) back", metadata: ["error": "\(error)"])
    }
  }

  private func routeLocalnet(of network: ResolvedNetwork) -> Sysctl? {
    guard network.isFiltered, let bridge = network.network.bridge, network.network.has(.ipv4),
      !network.network.isInternal, network.options.mode(.ipv4).translates
    else { return nil }
    return .routeLocalnet(bridge)
  }

  /// Absent is fine: the bridge may not be there yet, the kernel may lack IPv6.
  private func set(_ sysctl: Sysctl, to value: String) {
    guard let previous = sysctl.value, previous != value else { return }
    do {
      try sysctl.set(value)
      log.info("sysctl set", metadata: ["name": "\(sysctl.name)", "value": "\(value)", "previous": "\(previous)"])
    } catch {
      log.error("could not set \(sysctl.name) to \(value)", metadata: ["error": "\(error)"])
    }
  }

  // MARK: Warnings

  /// For `pmagent status`.
  func closedForwarding(
    for networks: [ResolvedNetwork], _ configuration: Configuration
  ) -> [Status.Degradation] {
    AddressFamily.allCases.compactMap { closedForwarding($0, for: networks, configuration) }
      .map { Status.Degradation(code: Warning.Code.forwardingDisabled.rawValue, message: $0) }
  }

  /// Why nothing reaches the containers of `networks` over `family`; `nil` when it is forwarded, or need not be.
  private func closedForwarding(
    _ family: AddressFamily, for networks: [ResolvedNetwork], _ configuration: Configuration
  ) -> String? {
    let sysctl = Sysctl.forwarding(family)
    guard networks.contains(where: { $0.isFiltered && !$0.network.isInternal && $0.network.has(family) }),
      sysctl.value == "0"
    else { return nil }
    let remedy =
      configuration.ipForward == .check
      ? "set it to 1, or ip_forward = \"enable\"" : "somebody turned it off, pmagent reconcile turns it on"
    return "\(sysctl.name) is 0, so no packet reaches containers over \(family.title): \(remedy)"
  }

  /// What of the host keeps `network` from working as its options say.
  func warnings(about network: ResolvedNetwork, _ configuration: Configuration) -> [Warning] {
    guard network.isFiltered, let bridge = network.network.bridge else { return [] }
    var warnings: [Warning] = []
    for family in AddressFamily.allCases where network.network.has(family) {
      if configuration.ipForward == .check, let reason = closedForwarding(family, for: [network], configuration) {
        warnings.append(Warning(.forwardingDisabled, "network \(network.network.name): \(reason)"))
      }
      if network.options.mode(family) == .isolated, let address = address(of: bridge, family) {
        warnings.append(
          Warning(
            .isolatedBridgeHasAddress,
            "network \(network.network.name): bridge \(bridge) has the \(family.title) address \(address), through which "
              + "containers of an isolated network reach the host: remove it"))
      }
    }
    return warnings
  }

  private func address(of interface: String, _ family: AddressFamily) -> IPAddress? {
    do {
      return try localAddresses(of: interface).sorted().first { $0.family == family && !$0.isLinkLocal }
    } catch {
      log.error("could not read the addresses of \(interface)", metadata: ["error": "\(error)"])
      return nil
    }
  }
}

extension Store {
  /// The policy that `configuration` and the sysctls changed so far make.
  func filterPolicy(_ configuration: Configuration) throws(StoreError) -> FilterPolicy {
    let recorded = try sysctls().map(\.name)
    let closed = AddressFamily.allCases.filter { recorded.contains(Sysctl.forwarding($0).name) }
    return FilterPolicy(
      allowsDirectRouting: configuration.directRouting == .allow,
      closedForwarding: configuration.ipForwardNoDrop ? [] : Set(closed), forwardAllow: configuration.forwardAllow)
  }
}
