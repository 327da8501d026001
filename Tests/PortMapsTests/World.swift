import PortMaps
import TestSupport

/// A random start on a random host. Few values, so that they collide often.
struct World {
  var container: Container
  var networks: [ResolvedNetwork]
  var containers: [HostModel.Listener]
  var programs: [HostModel.Listener]
  var ephemeral: EphemeralPorts

  init(seed: UInt64) throws(RequestError) {
    var random = SeededGenerator(seed: seed)
    networks = []
    for name in ["alpha", "beta", "gamma"].shuffled(using: &random).prefix(random.pick([1, 1, 2, 3])) {
      networks.append(try Self.network(name, &random))
    }
    container = Container(
      source: "default", id: "web", name: "web",
      endpoints: networks.map { Endpoint($0.network, priority: random.pick([-1, 0, 0, 1])) })
    for _ in 0..<random.pick([0, 1, 1, 2, 3, 5]) { container.publish.append(try Self.request(&random)) }
    container.publishAll = random.oneIn(3)
    container.expose = [
      ExposedPorts(PortRange(80, 82), .tcp), ExposedPorts(PortRange(81), random.pick([.tcp, .udp])),
    ]
    ephemeral = EphemeralPorts(range: PortRange(8003, 8011), reserved: [PortRange(8005, random.pick([8005, 8006]))])
    if random.oneIn(2) { ephemeral.last[.tcp] = UInt16.random(in: 8000...8012, using: &random) }
    containers = []
    programs = []
    for _ in 0..<random.pick([0, 1, 3]) { containers.append(Self.listener(&random)) }
    for _ in 0..<random.pick([0, 1, 3]) { programs.append(Self.listener(&random)) }
  }

  var host: HostModel {
    let host = HostModel()
    (host.containers, host.programs) = (containers, programs)
    return host
  }

  private static let hostAddresses: [IPAddress] = ["0.0.0.0", "127.0.0.1", "192.0.2.10", "::", "::1", "2001:db8::10"]

  private static func network(
    _ name: String, _ random: inout SeededGenerator
  ) throws(RequestError) -> ResolvedNetwork {
    let isInternal = random.oneIn(8)
    var options: [String: String] = [:]
    for family in AddressFamily.allCases {
      let modes: [GatewayMode] = [.nat, .nat, .natUnprotected, .routed] + (isInternal ? [.isolated] : [])
      options["gateway_mode_\(family.name)"] = random.pick(modes).rawValue
    }
    if random.oneIn(2) { options["host_binding_ipv4"] = random.pick(hostAddresses).description }
    let network = Network(
      name, driver: random.oneIn(8) ? .macvlan : .bridge,
      families: random.pick([[.ipv4, .ipv6], [.ipv4, .ipv6], [.ipv4], [.ipv6]]), isInternal: isInternal,
      options: options)
    return try ResolvedNetwork(network)
  }

  private static func request(_ random: inout SeededGenerator) throws(RequestError) -> PublishRequest {
    let first = UInt16.random(in: 80...82, using: &random)
    let containerPorts = random.oneIn(4) ? PortRange(first, first + random.pick([1, 2])) : PortRange(first)
    let host = UInt16.random(in: 8000...8008, using: &random)
    let length: UInt16 = containerPorts.isSingle ? random.pick([0, 0, 1, 3]) : UInt16(containerPorts.count - 1)
    return try PublishRequest(
      hostAddress: random.oneIn(2) ? random.pick(hostAddresses) : nil,
      hostPorts: random.oneIn(3) ? nil : PortRange(host, host + length), containerPorts: containerPorts,
      transport: random.pick([.tcp, .tcp, .udp]), allowFrom: random.oneIn(5) ? ["198.51.100.0/24"] : [])
  }

  private static func listener(_ random: inout SeededGenerator) -> HostModel.Listener {
    let address = random.pick(hostAddresses)
    let port = UInt16.random(in: 8000...8010, using: &random)
    return HostModel.Listener(
      address: address, transport: random.pick([.tcp, .udp]), ports: port...(port + random.pick([0, 2])),
      isDualStack: address == "::" && random.oneIn(2))
  }
}
