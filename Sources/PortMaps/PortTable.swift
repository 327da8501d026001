/// Which host ports our containers own. One lookup per port and address, whatever the number of mappings.
///
/// It mirrors the `binding` table of the database, where a trigger enforces the same.
package struct PortTable: Sendable {
  private var claims = PortClaims<Int64>()

  package init() {}

  /// Who owns `port`, counting overlaps of "any address" and specific ones; `nil` when it is free.
  package func owner(of port: HostPort) -> Int64? { claims.owner(of: port) }

  /// Precondition: the ports are free.
  package mutating func claim(_ binding: Binding, for owner: Int64) {
    for port in binding.allHostPorts { claims.claim(port, for: owner) }
  }

  package mutating func release(_ binding: Binding) {
    for port in binding.allHostPorts { claims.release(port) }
  }
}

/// Owners of host ports. `0.0.0.0` and `::` conflict with every address of their family; families and protocols are
/// independent.
struct PortClaims<Owner: Sendable>: Sendable {
  /// By the port on any address of the family, because a port has few addresses and many a port has none.
  private var owners: [HostPort: [(address: IPAddress, owner: Owner)]] = [:]

  func owner(of port: HostPort) -> Owner? {
    owners[port.onAnyAddress]?.first { $0.address.overlaps(port.address) }?.owner
  }

  mutating func claim(_ port: HostPort, for owner: Owner) {
    owners[port.onAnyAddress, default: []].append((port.address, owner))
  }

  mutating func release(_ port: HostPort) {
    let rest = owners[port.onAnyAddress, default: []].filter { $0.address != port.address }
    owners[port.onAnyAddress] = rest.isEmpty ? nil : rest
  }
}

extension HostPort {
  fileprivate var onAnyAddress: HostPort { HostPort(.any(address.family), transport, port) }
}

extension Binding {
  /// Its host ports one by one; none for a routed family.
  package var allHostPorts: [HostPort] {
    hostPorts.map { $0.ports.map { HostPort(hostAddress, transport, $0) } } ?? []
  }
}
