/// How a network's containers are reached from outside, per family (Docker's `gateway_mode_ipv4`/`_ipv6`).
package enum GatewayMode: String, Sendable, Hashable, CaseIterable {
  case nat
  case natUnprotected = "nat-unprotected"
  case routed
  case isolated
}

/// Docker's driver of a network. All are stored, so that containers can be on them; only a bridge gets elements.
package enum NetworkDriver: String, Sendable, Hashable, CaseIterable {
  /// The only driver whose traffic the agent filters and translates.
  case bridge
  case macvlan, ipvlan, host, none
}

/// A network as its source described it. `options` keeps Docker's own keys; `NetworkOptions` is what they mean.
package struct Network: Sendable, Hashable {
  package var source: String
  package var id: String
  package var name: String
  package var driver: NetworkDriver
  /// The bridge's interface name, 1-15 bytes; `nil` only for the other drivers.
  package var bridge: String?
  package var isInternal: Bool
  package var subnets: [IPPrefix]
  package var options: [String: String]

  package init(
    source: String, id: String, name: String, driver: NetworkDriver = .bridge, bridge: String?,
    isInternal: Bool = false,
    subnets: [IPPrefix], options: [String: String] = [:]
  ) {
    (self.source, self.id, self.name, self.driver) = (source, id, name, driver)
    (self.bridge, self.isInternal, self.subnets, self.options) = (bridge, isInternal, subnets, options)
  }

  package func has(_ family: AddressFamily) -> Bool { subnets.contains { $0.address.family == family } }
}
