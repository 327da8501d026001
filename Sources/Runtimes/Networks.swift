import Feed
import PortMaps

extension Dialect {
  /// Understands one network of the answers to `networks` and `network`.
  func network(_ part: Part, source: String) throws(UnexpectedAnswer) -> RuntimeNetwork {
    switch engine {
    case .docker: try Self.dockerNetwork(part, source)
    case .podman: try Self.podmanNetwork(part, source)
    }
  }

  private static func dockerNetwork(_ part: Part, _ source: String) throws(UnexpectedAnswer) -> RuntimeNetwork {
    let (id, name) = (try part["Id"].string(), try part["Name"].string())
    var options = try strings(part["Options"])
    let prefix = NetworkOptions.bridgePrefix
    // The daemon says so of its default bridge whenever it has iptables=false, whatever it was told.
    if options[prefix + "default_bridge"] == "true" { options[prefix + "enable_ip_masquerade"] = nil }
    // An empty name is none, and the daemon chooses.
    let bridge = options.removeValue(forKey: prefix + "name").flatMap { $0.isEmpty ? nil : $0 }
    return RuntimeNetwork(
      id: id, name: name,
      network: network(
        id, name, driver: try part["Driver"].string(), bridge: bridge ?? "br-\(id.prefix(12))",
        isInternal: try part["Internal"].bool(), subnets: try subnets(part["IPAM"]["Config"], "Subnet"), options, source
      ))
  }

  /// Podman refuses options of networks that it does not know, and keeps labels as they are: those that look like
  /// Docker's options are read as such.
  private static func podmanNetwork(_ part: Part, _ source: String) throws(UnexpectedAnswer) -> RuntimeNetwork {
    let (id, name) = (try part["id"].string(), try part["name"].string())
    let options = try strings(part["labels"]).filter { $0.key.hasPrefix("com.docker.network.") }
    return RuntimeNetwork(
      id: id, name: name,
      network: network(
        id, name, driver: try part["driver"].string(), bridge: try part["network_interface"].string(),
        isInternal: try part["internal"].bool(), subnets: try subnets(part["subnets"], "subnet"), options, source))
  }

  private static func network(
    _ id: String, _ name: String, driver: String, bridge: String, isInternal: Bool, subnets: [IPPrefix],
    _ options: [String: String], _ source: String
  ) -> Network? {
    guard let driver = NetworkDriver(rawValue: driver), [.bridge, .macvlan, .ipvlan].contains(driver),
      driver != .bridge || !subnets.isEmpty
    else { return nil }
    return Network(
      source: source, id: id, name: name.utf8.count <= 128 ? name : id, driver: driver,
      bridge: driver == .bridge ? bridge : nil, isInternal: isInternal, subnets: subnets, options: options)
  }

  private static func strings(_ part: Part) throws(UnexpectedAnswer) -> [String: String] {
    var strings: [String: String] = [:]
    for (key, value) in try part.members() { strings[key] = try value.string() }
    return strings
  }

  private static func subnets(_ list: Part, _ key: String) throws(UnexpectedAnswer) -> [IPPrefix] {
    var subnets: [IPPrefix] = []
    for element in try list.elements() {
      let text = try element[key].string()
      if text.isEmpty { continue }
      guard let prefix = IPPrefix(parsing: text) else { throw element[key].unexpected("a subnet") }
      subnets.append(prefix)
    }
    return subnets
  }
}
