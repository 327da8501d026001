import Feed
import PortMaps

extension Mapping {
  /// Fails with `UnknownAnswer`.
  init(_ json: JSON) throws {
    guard let container = json["container"]?.string, let name = json["name"]?.string,
      let network = json["network"]?.string,
      let transport = json["protocol"]?.string.flatMap({ TransportProtocol(parsing: $0) }),
      let mode = json["mode"]?.string.flatMap(GatewayMode.init(rawValue:)),
      let hostAddress = json["host_ip"]?.string.flatMap({ IPAddress(parsing: $0) }),
      let hostPort = json["host_port"], hostPort == .null || hostPort.port != nil,
      let containerAddress = json["container_ip"]?.string.flatMap({ IPAddress(parsing: $0) }),
      let containerPort = json["container_port"]?.port,
      let state = State(json)
    else { throw UnknownAnswer(part: "mapping") }
    self.init(
      container: container, name: name, network: network,
      binding: Binding(
        network: network, mode: mode, transport: transport, hostAddress: hostAddress,
        hostPorts: hostPort.port.map { PortRange($0) }, containerAddress: containerAddress,
        containerPorts: PortRange(containerPort), request: nil),
      state: state)
  }

  /// `0.0.0.0:8000-8009->80-89/tcp`. A routed port has no host port: there it is the container's own address that is
  /// reached, `172.18.0.2:80/tcp`.
  var ports: String {
    let inside = "\(binding.containerPorts)/\(binding.transport)"
    guard let hostPorts = binding.hostPorts else { return "\(binding.containerAddress.bracketed):\(inside)" }
    return "\(binding.hostAddress.bracketed):\(hostPorts)->\(inside)"
  }

  /// Sorted for people, consecutive ports that differ in nothing else in one.
  static func rows(_ mappings: [Mapping]) -> [Mapping] {
    var rows: [Mapping] = []
    for mapping in mappings.sorted(by: { $0.isInRun(before: $1) }) {
      if let last = rows.last, let longer = last.joined(mapping) {
        rows[rows.count - 1] = longer
      } else {
        rows.append(mapping)
      }
    }
    return rows.sorted { $0.isListed(before: $1) }
  }

  /// An order in which the ports of a run are neighbours: a run has one distance between host and container ports.
  private func isInRun(before other: Mapping) -> Bool {
    let (a, b) = (binding, other.binding)
    let (this, that) = ((container, network), (other.container, other.network))
    if this != that { return this < that }
    let (addresses, others) = ((a.hostAddress, a.containerAddress), (b.hostAddress, b.containerAddress))
    if addresses != others { return addresses < others }
    return (a.transport, a.distance, a.containerPorts) < (b.transport, b.distance, b.containerPorts)
  }

  private func isListed(before other: Mapping) -> Bool {
    let (a, b) = (binding, other.binding)
    let (this, that) = ((name, container), (other.name, other.container))
    if this != that { return this < that }
    let (ports, others) = ((a.containerPorts, a.transport), (b.containerPorts, b.transport))
    if ports != others { return ports < others }
    return (a.hostAddress, a.distance, network) < (b.hostAddress, b.distance, other.network)
  }

  /// Both as one run, if they are.
  private func joined(_ next: Mapping) -> Mapping? {
    guard Int(next.binding.containerPorts.first) == Int(binding.containerPorts.last) + 1,
      next.binding.distance == binding.distance
    else { return nil }
    var run = self
    run.binding.containerPorts = PortRange(binding.containerPorts.first, next.binding.containerPorts.last)
    if let ports = binding.hostPorts, let nextPorts = next.binding.hostPorts {
      run.binding.hostPorts = PortRange(ports.first, nextPorts.last)
    }
    var same = next
    (same.binding.containerPorts, same.binding.hostPorts) = (run.binding.containerPorts, run.binding.hostPorts)
    return same == run ? run : nil
  }
}

extension Mapping.State {
  fileprivate init?(_ json: JSON) {
    let reason = json["reason"]?.string ?? ""
    switch json["state"]?.string {
    case "live": self = .live
    case "pending": self = .pending(reason: reason)
    case "degraded": self = .degraded(reason: reason)
    default: return nil
    }
  }

  var name: String {
    switch self {
    case .live: "live"
    case .pending: "pending"
    case .degraded: "degraded"
    }
  }

  var reason: String? {
    switch self {
    case .live: nil
    case .pending(let reason), .degraded(let reason): reason
    }
  }
}

extension Binding {
  fileprivate var distance: Int { hostPorts.map { Int($0.first) - Int(containerPorts.first) } ?? .max }
}

extension JSON {
  fileprivate var port: UInt16? { integer.flatMap { UInt16(exactly: $0) }.flatMap { $0 > 0 ? $0 : nil } }
}
