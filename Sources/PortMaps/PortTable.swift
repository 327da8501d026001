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
  private typealias Claim = (address: IPAddress, owner: Owner)

  /// Those of one port. Nearly always there is one, which needs no memory of its own.
  private struct Claims {
    var first: Claim?
    var others: [Claim] = []

    func owner(of address: IPAddress) -> Owner? {
      if let first, first.address.overlaps(address) { return first.owner }
      return others.first { $0.address.overlaps(address) }?.owner
    }

    mutating func add(_ claim: Claim) {
      if first == nil { first = claim } else { others.append(claim) }
    }

    mutating func remove(_ address: IPAddress) {
      others.removeAll { $0.address == address }
      if first?.address == address { first = others.popLast() }
    }
  }

  /// By the port on any address of the family, because a port has few addresses and many a port has none.
  private var claims: [HostPort: Claims] = [:]

  func owner(of port: HostPort) -> Owner? { claims[port.onAnyAddress]?.owner(of: port.address) }

  mutating func claim(_ port: HostPort, for owner: Owner) {
    claims[port.onAnyAddress, default: Claims()].add((port.address, owner))
  }

  mutating func release(_ port: HostPort) {
    guard let index = claims.index(forKey: port.onAnyAddress) else { return }
    claims.values[index].remove(port.address)
    if claims.values[index].first == nil { claims.remove(at: index) }
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
