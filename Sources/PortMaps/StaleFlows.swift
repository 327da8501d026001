/// Tracked flows that go on past a change of a mapping, because NAT is decided by a flow's first packet only.
///
/// A client that sends udp from one port has *one* flow for ever; after the mapping has gone, or come, that flow still
/// leads where it led before. TCP flows end by themselves and are left alone unless someone asks.
package struct StaleFlows: Sendable, Hashable {
  package enum Kind: Sendable, Hashable {
    /// Flows that lead to the container that published the ports.
    case removed
    /// Flows to the same host ports that lead anywhere else, from before the container published them.
    case added
  }
  package var kind: Kind
  package var transport: TransportProtocol
  /// `0.0.0.0`/`::`: any address of the host.
  package var hostAddress: IPAddress
  package var hostPorts: PortRange
  package var containerAddress: IPAddress
  package var firstContainerPort: UInt16

  package init(
    _ kind: Kind, transport: TransportProtocol, hostAddress: IPAddress, hostPorts: PortRange,
    containerAddress: IPAddress, firstContainerPort: UInt16
  ) {
    (self.kind, self.transport, self.hostAddress, self.hostPorts) = (kind, transport, hostAddress, hostPorts)
    (self.containerAddress, self.firstContainerPort) = (containerAddress, firstContainerPort)
  }

  /// `nil` for a routed binding: nothing is translated.
  init?(_ kind: Kind, _ binding: Binding) {
    guard let hostPorts = binding.hostPorts else { return nil }
    self.init(
      kind, transport: binding.transport, hostAddress: binding.hostAddress, hostPorts: hostPorts,
      containerAddress: binding.containerAddress, firstContainerPort: binding.containerPorts.first)
  }

  /// What a container's change from `before` to `after` makes stale. `endsTCP`: the flows of what was removed end too.
  package static func of(from before: [Binding], to after: [Binding], endsTCP: Bool = false) -> [StaleFlows] {
    let ending = before.filter { endsTCP || $0.transport != .tcp }
    let beginning = after.filter { $0.transport != .tcp }
    // Nearly all of them are of tcp.
    if ending.isEmpty, beginning.isEmpty { return [] }
    let (old, new) = (Set(before), Set(after))
    return ending.filter { !new.contains($0) }.compactMap { .init(.removed, $0) }
      + beginning.filter { !old.contains($0) }.compactMap { .init(.added, $0) }
  }

  /// Whether a flow is one of them: sent to `destination`, answered by `source`.
  ///
  /// `isLocal`: whether an address is one of this host; a container's own queries to a server elsewhere are not ours.
  package func contains(
    _ transport: TransportProtocol, destination: (address: IPAddress, port: UInt16),
    source: (address: IPAddress, port: UInt16), isLocal: (IPAddress) -> Bool
  ) -> Bool {
    guard transport == self.transport, hostPorts.ports.contains(destination.port),
      destination.address.family == hostAddress.family,
      hostAddress.isAny || hostAddress == destination.address
    else { return false }
    let leadsToContainer =
      source.address == containerAddress && source.port == firstContainerPort + (destination.port - hostPorts.first)
    switch kind {
    case .removed: return leadsToContainer
    case .added: return !leadsToContainer && isLocal(destination.address)
    }
  }
}
