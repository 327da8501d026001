import Logging
import PortMaps
import Storage

/// What the agent reads and sets on the host besides its table. What it sets it records, so that `teardown` can put the
/// old value back.
struct Host {
  let store: Store
  let log: Logger

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

  /// Forwarding, without which no published port of that family reaches a container.
  func enableForwarding() {
    for sysctl in [Sysctl.ipForward, .ipv6Forwarding] { set(sysctl, to: "1") }
  }

  /// Lets the host reach ports published on 127.0.0.1 through the network's bridge. The guard chain is in place already.
  func prepare(_ network: ResolvedNetwork) {
    guard network.isFiltered, let bridge = network.network.bridge, network.network.has(.ipv4),
      network.options.mode(.ipv4).translates
    else { return }
    set(.routeLocalnet(bridge), to: "1")
  }

  /// Absent is fine: the bridge may not be there yet, the kernel may lack IPv6.
  private func set(_ sysctl: Sysctl, to value: String) {
    guard let previous = sysctl.value, previous != value else { return }
    do {
      try store.recordSysctl(name: sysctl.name, previous: previous)
      try sysctl.set(value)
      log.info("sysctl set", metadata: ["name": "\(sysctl.name)", "value": "\(value)", "previous": "\(previous)"])
    } catch {
      log.error("could not set \(sysctl.name) to \(value)", metadata: ["error": "\(error)"])
    }
  }
}
