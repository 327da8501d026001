/// Where a container is attached to a network.
package struct Endpoint: Sendable, Hashable {
  /// Id of the network. On its way in it may be a name; the agent replaces it with the id.
  package var network: String
  package var ipv4: IPAddress?
  package var ipv6: IPAddress?
  /// The endpoint with the highest priority is the container's gateway (Docker's `gw-priority`).
  package var gatewayPriority: Int

  package init(network: String, ipv4: IPAddress? = nil, ipv6: IPAddress? = nil, gatewayPriority: Int = 0) {
    (self.network, self.ipv4, self.ipv6, self.gatewayPriority) = (network, ipv4, ipv6, gatewayPriority)
  }

  package func address(_ family: AddressFamily) -> IPAddress? { family == .ipv4 ? ipv4 : ipv6 }
}

/// Exposed ports of an image, `9000/tcp` or `9000-9010/udp`: listed, and published only by `publish_all`.
package struct ExposedPorts: Sendable, Hashable {
  package var ports: PortRange
  package var transport: TransportProtocol
  package init(_ ports: PortRange, _ transport: TransportProtocol) { (self.ports, self.transport) = (ports, transport) }
  package var description: String { "\(ports)/\(transport)" }
}

/// A running container as its source described it: what is wanted, before anything is resolved.
package struct Container: Sendable, Hashable {
  /// The feed that speaks for it; ids belong to a source.
  package var source: String
  package var id: String
  package var name: String
  /// Grows with every start of the container; a stop of an older generation is ignored. `nil` when the source has none.
  package var generation: Int?
  package var endpoints: [Endpoint]
  package var publish: [PublishRequest]
  package var expose: [ExposedPorts]
  package var publishAll: Bool

  package init(
    source: String, id: String, name: String, generation: Int? = nil, endpoints: [Endpoint],
    publish: [PublishRequest] = [], expose: [ExposedPorts] = [], publishAll: Bool = false
  ) {
    (self.source, self.id, self.name, self.generation) = (source, id, name, generation)
    (self.endpoints, self.publish, self.expose, self.publishAll) = (endpoints, publish, expose, publishAll)
  }
}
