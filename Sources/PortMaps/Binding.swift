/// One published port, or consecutive ones of the same request, as the kernel is to honour it: a *mapping* to the operator.
///
/// `hostPorts` and `containerPorts` have the same count and pair up in order.
package struct Binding: Sendable, Hashable {
  /// Id of the network whose endpoint publishes it.
  package var network: String
  package var mode: GatewayMode
  package var transport: TransportProtocol
  /// The address asked for; `0.0.0.0`/`::` = all of the family, and always that for a routed family.
  package var hostAddress: IPAddress
  /// `nil` for a routed family: no host port exists.
  package var hostPorts: PortRange?
  package var containerAddress: IPAddress
  package var containerPorts: PortRange
  /// Position in the container's `publish`; `nil` for a port that `publish_all` published.
  package var request: Int?
  /// Only these sources may use it; empty = everyone.
  package var allowFrom: [IPPrefix]

  package init(
    network: String, mode: GatewayMode, transport: TransportProtocol, hostAddress: IPAddress, hostPorts: PortRange?,
    containerAddress: IPAddress, containerPorts: PortRange, request: Int?, allowFrom: [IPPrefix] = []
  ) {
    (self.network, self.mode, self.transport) = (network, mode, transport)
    (self.hostAddress, self.hostPorts) = (hostAddress, hostPorts)
    (self.containerAddress, self.containerPorts) = (containerAddress, containerPorts)
    (self.request, self.allowFrom) = (request, allowFrom)
  }

  package var family: AddressFamily { containerAddress.family }

  /// `count` of its ports, from the one `offset` after its first.
  package func part(from offset: Int, count: Int) -> Binding {
    func part(_ ports: PortRange) -> PortRange {
      let first = ports.first + UInt16(offset)
      return PortRange(first, first + UInt16(count - 1))
    }
    var binding = self
    binding.hostPorts = hostPorts.map(part)
    binding.containerPorts = part(containerPorts)
    return binding
  }
}
