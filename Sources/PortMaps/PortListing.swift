/// A container's ports as `docker inspect` shows them under `NetworkSettings.Ports`.
package struct PortListing: Sendable, Equatable {
  package struct Binding: Sendable, Equatable {
    package var address: IPAddress
    /// `nil` for a routed family: Docker prints an empty `HostPort`.
    package var hostPort: UInt16?
    package init(address: IPAddress, hostPort: UInt16?) { (self.address, self.hostPort) = (address, hostPort) }
  }
  package struct Row: Sendable, Equatable {
    package var port: ContainerPort
    /// `nil`: exposed, not published.
    package var bindings: [Binding]?
    package init(port: ContainerPort, bindings: [Binding]?) { (self.port, self.bindings) = (port, bindings) }
  }

  package var rows: [Row]
  package init(rows: [Row]) { self.rows = rows }

  /// Rows in the order of their text, as Go prints the keys of a map; in each, IPv4 before IPv6, then by host port.
  package init(bindings: [PortMaps.Binding], expose: [ExposedPorts] = []) {
    var published: [ContainerPort: [Binding]] = [:]
    for binding in bindings {
      for (offset, port) in binding.containerPorts.ports.enumerated() {
        published[ContainerPort(port, binding.transport), default: []].append(
          Binding(address: binding.hostAddress, hostPort: binding.hostPorts.map { $0.first + UInt16(offset) }))
      }
    }
    var rows = published.map { Row(port: $0.key, bindings: $0.value.sorted()) }
    for exposed in Set(expose.flatMap { range in range.ports.ports.map { ContainerPort($0, range.transport) } })
    where published[exposed] == nil {
      rows.append(Row(port: exposed, bindings: nil))
    }
    self.rows = rows.map { (key: $0.port.description, row: $0) }.sorted { $0.key < $1.key }.map(\.row)
  }
}

extension PortListing.Binding: Comparable {
  package static func < (a: Self, b: Self) -> Bool {
    (a.address.family, a.hostPort ?? .max, a.address) < (b.address.family, b.hostPort ?? .max, b.address)
  }
}
