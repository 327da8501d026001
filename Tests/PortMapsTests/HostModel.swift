import PortMaps
import TestSupport

/// A host's ports in memory, with the kernel's rules for bind(2) without SO_REUSEADDR.
final class HostModel {
  struct Listener {
    var address: IPAddress
    var transport: TransportProtocol
    var ports: ClosedRange<UInt16>
    /// On `::` without IPV6_V6ONLY: has 0.0.0.0 as well.
    var isDualStack = false

    func occupies(_ key: HostPort) -> Bool {
      transport == key.transport && ports.contains(key.port)
        && (address.overlaps(key.address) || isDualStack && key.address.family == .ipv4)
    }
  }

  /// Ports of other containers and of programs.
  var containers: [Listener] = []
  var programs: [Listener] = []
  /// What a `hold` of a port answers besides.
  var note: (HostPort) -> PortNote? = { _ in nil }
  private(set) var held: [HostPort] = []
  /// Ports given back that were not held.
  private(set) var strayReleases: [HostPort] = []

  var hostPorts: HostPorts {
    HostPorts(
      owner: { [self] key in containers.contains { $0.occupies(key) } ? { "other" } : nil },
      hold: { [self] key, _ in
        if programs.contains(where: { $0.occupies(key) }) { return .inUse { "nginx (pid 4711)" } }
        if held.contains(where: {
          $0.transport == key.transport && $0.port == key.port && $0.address.overlaps(key.address)
        }) {
          return .inUse { "a socket of ours" }
        }
        held.append(key)
        return .taken(note(key))
      },
      release: { [self] key in
        guard let index = held.firstIndex(of: key) else { return strayReleases.append(key) }
        held.remove(at: index)
      })
  }
}

extension HostModel.Listener {
  init(_ inUse: PortsInUse) throws(RequestError) {
    self.init(
      address: IPAddress(stringLiteral: inUse.address), transport: try PublishRequest.transport(inUse.transport),
      ports: inUse.ports, isDualStack: inUse.isDualStack)
  }
}

extension Binding {
  /// One binding for each port of a run.
  var expanded: [Binding] {
    containerPorts.ports.enumerated().map { offset, port in
      var single = self
      single.containerPorts = PortRange(port)
      single.hostPorts = hostPorts.map { PortRange($0.first + UInt16(offset)) }
      return single
    }
  }

  var actual: [ActualBinding] {
    expanded.map {
      ActualBinding(
        transport: "\(transport)", containerPort: $0.containerPorts.first, hostAddress: "\(hostAddress)",
        hostPort: $0.hostPorts?.first)
    }
  }
}

extension Network {
  /// A network with a subnet of each family that is asked for.
  init(
    _ name: String, driver: NetworkDriver = .bridge, families: [AddressFamily] = [.ipv4, .ipv6],
    isInternal: Bool = false, options: [String: String] = [:]
  ) {
    self.init(
      source: "default", id: name, name: name, driver: driver, bridge: driver == .bridge ? "br-\(name)" : nil,
      isInternal: isInternal,
      subnets: families.map { $0 == .ipv4 ? "172.19.0.0/16" : "fdf8:b88e:bb5c:3483::/64" },
      options: Dictionary(uniqueKeysWithValues: options.map { (NetworkOptions.bridgePrefix + $0, $1) }))
  }
}

extension Endpoint {
  init(_ network: Network, priority: Int = 0) {
    self.init(
      network: network.id, ipv4: network.has(.ipv4) ? "172.19.0.2" : nil,
      ipv6: network.has(.ipv6) ? "fdf8:b88e:bb5c:3483::2" : nil, gatewayPriority: priority)
  }
}

/// A start under test, with what it needs.
final class Start {
  var container: Container
  var networks: [ResolvedNetwork]
  var ephemeral = EphemeralPorts()

  init(_ networks: [(Network, priority: Int)], _ publish: [PublishRequest]) throws {
    self.networks = try networks.map { try ResolvedNetwork($0.0) }
    container = Container(
      source: "default", id: "web", name: "web", endpoints: networks.map { Endpoint($0.0, priority: $0.priority) },
      publish: publish)
  }

  convenience init(_ network: Network, _ publish: [PublishRequest]) throws { try self.init([(network, 0)], publish) }

  func resolve(previous: [Binding] = [], with ports: HostPorts) throws(RequestError) -> Resolution {
    try PortMaps.resolve(container, on: networks, previous: previous, ephemeral: &ephemeral, hostPorts: ports)
  }

  func resolve(
    previous: [Binding] = [], on host: HostModel = HostModel()
  ) throws(RequestError) -> Resolution {
    try resolve(previous: previous, with: host.hostPorts)
  }
}
