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

  /// Flows through the host's ports; `nil` for a routed binding, which has none.
  private init?(_ kind: Kind, _ binding: Binding) {
    guard let hostPorts = binding.hostPorts else { return nil }
    self.init(
      kind, transport: binding.transport, hostAddress: binding.hostAddress, hostPorts: hostPorts,
      containerAddress: binding.containerAddress, firstContainerPort: binding.containerPorts.first)
  }

  /// Flows straight to the container's ports.
  private init(straightTo binding: Binding) {
    self.init(
      .removed, transport: binding.transport, hostAddress: binding.containerAddress, hostPorts: binding.containerPorts,
      containerAddress: binding.containerAddress, firstContainerPort: binding.containerPorts.first)
  }

  /// What a container's change from `before` to `after` makes stale. `endsTCP`: the flows of what was removed end too.
  package static func of(from before: [Binding], to after: [Binding], endsTCP: Bool = false) -> [StaleFlows] {
    let ending = before.filter { endsTCP || $0.transport != .tcp }
    let beginning = after.filter { $0.transport != .tcp }
    // Nearly all of them are of tcp.
    if ending.isEmpty, beginning.isEmpty { return [] }
    let new = ending.isEmpty ? [] : Set(after.flatMap(\.ways))
    let old = beginning.isEmpty ? [] : Set(before.flatMap(\.ways))
    var stale: [StaleFlows] = []
    for binding in ending {
      stale += binding.parts(whose: \.through, isNotIn: new).compactMap { StaleFlows(.removed, $0) }
      // What is published on a loopback address is for the host itself.
      if binding.hostAddress.isLoopback { continue }
      stale += binding.parts(whose: \.straight, isNotIn: new).map(StaleFlows.init(straightTo:))
    }
    for binding in beginning {
      stale += binding.parts(whose: \.through, isNotIn: old).compactMap { StaleFlows(.added, $0) }
    }
    return stale
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

/// A way to a container's port, with all that decides where a flow on it leads and who may use it.
private struct Way: Hashable {
  var transport: TransportProtocol
  /// `nil`: straight to the container.
  var host: HostPort?
  var containerAddress: IPAddress
  var containerPort: UInt16
  var allowFrom: [IPPrefix]
}

extension Binding {
  /// Of a single port.
  fileprivate var through: Way {
    Way(
      transport: transport, host: hostPorts.map { HostPort(hostAddress, transport, $0.first) },
      containerAddress: containerAddress, containerPort: containerPorts.first, allowFrom: allowFrom)
  }

  /// Of a single port.
  fileprivate var straight: Way {
    var way = through
    way.host = nil
    return way
  }

  /// Those of each port: flows straight to it go on while it is published in whatever way.
  fileprivate var ways: [Way] {
    (0..<containerPorts.count).flatMap { offset in
      let port = part(from: offset, count: 1)
      return hostAddress.isLoopback ? [port.through] : [port.through, port.straight]
    }
  }

  /// Its runs of ports.
  fileprivate func parts(whose way: (Binding) -> Way, isNotIn ways: Set<Way>) -> [Binding] {
    if ways.isEmpty { return [self] }
    let offsets = (0..<containerPorts.count).filter { !ways.contains(way(part(from: $0, count: 1))) }
    return offsets.chunked { $0 + 1 == $1 }.map { part(from: $0[$0.startIndex], count: $0.count) }
  }
}
