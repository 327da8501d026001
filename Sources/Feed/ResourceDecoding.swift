import PortMaps

// Networks, containers and what they consist of, as requests spell them. `source` is not part of them: the request
// carries it, and the event's decoding fills it in.

extension Network: WireDecodable {
  private static let bridgeOption = "com.docker.network.bridge.name"

  init(wire value: JSON) throws(RequestError) {
    let fields = try Fields(
      value, of: "a network", ["id", "name", "driver", "bridge", "internal", "subnets", "options"])
    let id: Label = try fields.required("id")
    let name: Label = try fields.optional("name") ?? id
    let driver: NetworkDriver = try fields.optional("driver") ?? .bridge
    let options: Options = try fields.optional("options") ?? Options(values: [:])
    let bridge = try Self.bridge(fields.optional("bridge"), options.values)
    let subnets: [IPPrefix] = try fields.optional("subnets") ?? []
    if driver == .bridge, bridge == nil {
      throw RequestError(
        .badRequest,
        "the interface name is missing; a bridge network gives it as bridge or as option \(Self.bridgeOption)",
        field: "bridge")
    }
    if driver == .bridge, subnets.isEmpty {
      throw RequestError(.badRequest, "a bridge network needs at least one subnet", field: "subnets")
    }
    try limit(subnets.count, "subnets", field: "subnets")
    self.init(
      source: Identifier.defaultSource.text, id: id.text, name: name.text, driver: driver,
      // The other drivers have none, whatever their source says.
      bridge: driver == .bridge ? bridge : nil,
      isInternal: try fields.optional("internal") ?? false, subnets: subnets, options: options.values)
  }

  private static func bridge(
    _ field: InterfaceName?, _ options: [String: String]
  ) throws(RequestError) -> String? {
    guard let text = options[bridgeOption] else { return field?.text }
    let option = try at("options.\(bridgeOption)") { () throws(RequestError) in
      try InterfaceName(wire: .string(text))
    }
    if let field, field.text != option.text {
      throw RequestError(
        .badOption, "\"\(option.text)\" is not the interface that bridge names, \"\(field.text)\"; give one of them",
        field: "options.\(bridgeOption)")
    }
    return option.text
  }
}

extension NetworkDriver: WireDecodable {
  init(wire value: JSON) throws(RequestError) {
    guard let driver = Self(rawValue: try String(wire: value)) else {
      throw .mismatch(value, expected: "one of \(Self.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    self = driver
  }
}

private struct Options: WireDecodable {
  var values: [String: String]
}

extension Options {
  init(wire value: JSON) throws(RequestError) {
    guard case .object(let members) = value else { throw .mismatch(value, expected: "an object with strings") }
    try limit(members.count, "options")
    values = [:]
    for (key, value) in members {
      let key = try String(wire: .string(key))
      values[key] = try at(key) { () throws(RequestError) in try String(wire: value) }
    }
  }
}

extension Container: WireDecodable {
  init(wire value: JSON) throws(RequestError) {
    let fields = try Fields(
      value, of: "a container", ["id", "name", "generation", "networks", "publish", "expose", "publish_all"])
    let id: Identifier = try fields.required("id")
    let name: Label = try fields.optional("name") ?? Label(text: id.text)
    let generation: Generation? = try fields.optional("generation")
    let endpoints: [Endpoint] = try fields.optional("networks") ?? []
    try limit(endpoints.count, "networks", field: "networks")
    let publish: [PublishRequest] = try fields.optional("publish") ?? []
    let expose: [ExposedPorts] = try fields.optional("expose") ?? []
    try at("publish") { () throws(RequestError) in
      try limitPorts(of: publish, expose)
    }
    self.init(
      source: Identifier.defaultSource.text, id: id.text, name: name.text, generation: generation?.number,
      endpoints: endpoints, publish: publish, expose: expose, publishAll: try fields.optional("publish_all") ?? false)
  }
}

extension Endpoint: WireDecodable {
  init(wire value: JSON) throws(RequestError) {
    let fields = try Fields(value, of: "an endpoint", ["network", "ipv4", "ipv6", "gateway_priority"])
    let network: Label = try fields.required("network")
    func address(_ key: String, _ family: AddressFamily) throws(RequestError) -> IPAddress? {
      guard let address: IPAddress = try fields.optional(key) else { return nil }
      guard address.family == family else {
        throw RequestError(.badAddress, "\"\(address)\" is not an \(family.title) address", field: key)
      }
      return address
    }
    self.init(
      network: network.text, ipv4: try address("ipv4", .ipv4), ipv6: try address("ipv6", .ipv6),
      gatewayPriority: try fields.optional("gateway_priority") ?? 0)
  }
}

// MARK: Ports

extension PublishRequest: WireDecodable {
  init(wire value: JSON) throws(RequestError) {
    switch value {
    case .string: try self.init(parsing: String(wire: value))
    case .object: try self.init(object: value)
    default: throw .mismatch(value, expected: "a string like \"8080:80/tcp\" or an object with container_port")
    }
  }

  private init(object value: JSON) throws(RequestError) {
    let fields = try Fields(
      value, of: "a published port", ["container_port", "host_ip", "host_port", "protocol", "allow_from"])
    let container: PortText = try fields.required("container_port")
    let containerPorts = try at("container_port") { () throws(RequestError) in
      try container.ports("container port")
    }
    let address: HostAddress? = try fields.optional("host_ip")
    let host: PortText? = try fields.optional("host_port")
    let hostPorts = try at("host_port") { () throws(RequestError) in
      try PublishRequest.hostPorts(host?.text ?? "", for: containerPorts)
    }
    let sources: [IPPrefix]? = try fields.optional("allow_from")
    let allowFrom = sources ?? []
    try limit(allowFrom.count, "sources", field: "allow_from")
    if let sources, sources.isEmpty {
      throw RequestError(
        .badPublish, "allow_from is empty, so nobody could use the port: name sources, or leave it out for everyone",
        field: "allow_from")
    }
    try self.init(
      hostAddress: address?.address, hostPorts: hostPorts, containerPorts: containerPorts,
      transport: try fields.optional("protocol") ?? .tcp, allowFrom: allowFrom)
  }
}

extension ExposedPorts: WireDecodable {
  init(wire value: JSON) throws(RequestError) {
    let parts = try String(wire: value).split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    let ports = try PortText(text: String(parts[0])).ports("exposed port")
    self.init(ports, parts.count == 2 ? try PublishRequest.transport(String(parts[1])) : .tcp)
  }
}

extension TransportProtocol: WireDecodable {
  init(wire value: JSON) throws(RequestError) { self = try PublishRequest.transport(String(wire: value)) }
}

/// `80`, `"80"` or `"80-90"`.
private struct PortText: WireDecodable {
  var text: String
}

extension PortText {
  init(wire value: JSON) throws(RequestError) {
    switch value {
    case .integer(let number): text = String(number)
    case .string: text = try String(wire: value)
    default: throw .mismatch(value, expected: "a port number or a string FIRST-LAST")
    }
  }

  func ports(_ what: String) throws(RequestError) -> PortRange {
    guard let ports = try PublishRequest.ports(text, what) else {
      throw RequestError(.badPublish, "\(what) \"\(text)\" is not in 1-65535")
    }
    return ports
  }
}

private struct HostAddress: WireDecodable {
  var address: IPAddress?
  init(wire value: JSON) throws(RequestError) { address = try PublishRequest.address(String(wire: value)) }
}

// MARK: Addresses

extension IPAddress: WireDecodable {
  init(wire value: JSON) throws(RequestError) {
    guard let address = IPAddress(parsing: try String(wire: value)) else {
      throw RequestError(.badAddress, "\(value.quoted) is not an IPv4 or IPv6 address")
    }
    self = address
  }
}

extension IPPrefix: WireDecodable {
  init(wire value: JSON) throws(RequestError) {
    guard let prefix = IPPrefix(parsing: try String(wire: value)) else {
      throw RequestError(.badAddress, "\(value.quoted) is not an IPv4 or IPv6 prefix like 172.18.0.0/16")
    }
    self = prefix
  }
}

// MARK: Limits

func limitPorts(of publish: [PublishRequest], _ expose: [ExposedPorts] = []) throws(RequestError) {
  let count = publish.reduce(0) { $0 + $1.containerPorts.count } + expose.reduce(0) { $0 + $1.ports.count }
  guard count <= Limits.ports else {
    throw RequestError(.limitExceeded, "\(count) ports in one request, \(Limits.ports) are accepted")
  }
  let restricted = publish.reduce(0) { $0 + $1.containerPorts.count * $1.allowFrom.count }
  guard restricted <= Limits.restrictedPorts else {
    throw RequestError(
      .limitExceeded,
      "\(restricted) pairs of a port and a source in allow_from in one request, \(Limits.restrictedPorts) are accepted: "
        + "name wider sources or fewer ports")
  }
}

private func limit(_ count: Int, _ what: String, field: String? = nil) throws(RequestError) {
  guard count <= Limits.attachments else {
    throw RequestError(.limitExceeded, "\(count) \(what), \(Limits.attachments) are accepted", field: field)
  }
}
