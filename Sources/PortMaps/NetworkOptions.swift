/// What a network's options mean, parsed once: gateway modes, default bind and the packet filter's switches.
///
/// Docker's documentation of the bridge driver lists the keys; unknown ones under `com.docker.network.bridge.` warn.
package struct NetworkOptions: Sendable, Hashable {
  package var modes: [AddressFamily: GatewayMode] = [:]
  /// `host_binding_ipv4`, which in spite of its name may be of either family; unset = `0.0.0.0`, which reaches both.
  package var defaultBind: IPAddress = .any(.ipv4)
  package var isDefaultBridge = false
  package var allowsInterContainerCommunication = true
  package var masquerades = true
  package var trustedInterfaces: [String] = []
  /// `host_ipv4`, `host_ipv6`: the source address of outgoing packets instead of the outgoing interface's.
  package var sources: [AddressFamily: IPAddress] = [:]
  package var warnings: [Warning] = []

  package func mode(_ family: AddressFamily) -> GatewayMode { modes[family] ?? .nat }

  package static let bridgePrefix = "com.docker.network.bridge."
  private static let sourceKeys: [String: AddressFamily] = [
    "com.docker.network.host_ipv4": .ipv4, "com.docker.network.host_ipv6": .ipv6,
  ]

  /// Fails with `unknown-gateway-mode`, `isolated-needs-internal`, `bad-default-bind` or `bad-option`.
  package init(of network: Network) throws(RequestError) {
    for (key, value) in network.options.sorted(by: { $0.key < $1.key }) {
      do {
        if key.hasPrefix(Self.bridgePrefix) {
          try read(String(key.dropFirst(Self.bridgePrefix.count)), value, of: network)
        } else if let family = Self.sourceKeys[key] {
          sources[family] = try Self.source(value, family)
        }
      } catch {
        throw RequestError(
          error.code, "network \(network.name): option \(key): \(error.message)", field: "options.\(key)")
      }
    }
    if let family = AddressFamily.allCases.first(where: { mode($0) == .isolated }), !network.isInternal {
      throw RequestError(
        .isolatedNeedsInternal,
        "network \(network.name): gateway mode isolated (\(family.title)) needs \"internal\": true", field: "options")
    }
  }

  private mutating func read(_ key: String, _ value: String, of network: Network) throws(RequestError) {
    switch key {
    case "gateway_mode_ipv4": modes[.ipv4] = try Self.mode(value)
    case "gateway_mode_ipv6": modes[.ipv6] = try Self.mode(value)
    case "host_binding_ipv4": defaultBind = try Self.defaultBind(value)
    case "enable_icc": allowsInterContainerCommunication = try Self.bool(value)
    case "enable_ip_masquerade": masquerades = try Self.bool(value)
    case "default_bridge": isDefaultBridge = try Self.bool(value)
    case "trusted_host_interfaces":
      trustedInterfaces = value.split(separator: ":").map(String.init)
      if let bad = trustedInterfaces.first(where: { !Network.isInterfaceName($0) }) {
        throw RequestError(
          .badOption, "\"\(bad)\" is not an interface name (1-15 bytes without blanks, \"/\", \"*\" or quotes)")
      }
    case "name", "inhibit_ipv4", "mtu": break
    default:
      warnings.append(
        Warning(.unknownOption, "network \(network.name): option \(Self.bridgePrefix)\(key) is not known"))
    }
  }

  private static func mode(_ value: String) throws(RequestError) -> GatewayMode {
    if value.isEmpty { return .nat }
    guard let mode = GatewayMode(rawValue: value) else {
      throw RequestError(
        .unknownGatewayMode, "gateway mode \"\(value)\" is not one of nat, nat-unprotected, routed, isolated")
    }
    return mode
  }

  private static func defaultBind(_ value: String) throws(RequestError) -> IPAddress {
    if value.isEmpty { return .any(.ipv4) }
    guard let address = IPAddress(parsing: value) else {
      throw RequestError(.badDefaultBind, "\"\(value)\" is not an IPv4 or IPv6 literal")
    }
    return address
  }

  private static func source(_ value: String, _ family: AddressFamily) throws(RequestError) -> IPAddress {
    guard let address = IPAddress(parsing: value), address.family == family, !address.isAny else {
      throw RequestError(.badOption, "\"\(value)\" is not an \(family.title) address of this host")
    }
    return address
  }

  /// What Go's `strconv.ParseBool` accepts, as Docker does.
  private static func bool(_ value: String) throws(RequestError) -> Bool {
    switch value {
    case "1", "t", "T", "TRUE", "true", "True": return true
    case "0", "f", "F", "FALSE", "false", "False": return false
    default: throw RequestError(.badOption, "\"\(value)\" is not true or false")
    }
  }
}

extension Network {
  /// What the kernel accepts as an interface name (`dev_valid_name` in net/core/dev.c: it takes byte 0xa0 for a blank),
  /// without what nft(8) cannot quote or takes for a wildcard.
  package static func isInterfaceName(_ name: String) -> Bool {
    (1...15).contains(name.utf8.count) && name != "." && name != ".."
      && name.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7f && $0 != 0xa0 && !"/:*\"\\".utf8.contains($0) }
  }
}

/// A network together with what its options mean.
package struct ResolvedNetwork: Sendable, Hashable {
  package var network: Network
  package var options: NetworkOptions

  /// `defaultBind`: the agent's `ip` setting, used by the default bridge unless the network has its own.
  package init(_ network: Network, defaultBind: IPAddress? = nil) throws(RequestError) {
    self.network = network
    options = try NetworkOptions(of: network)
    if options.isDefaultBridge, let defaultBind,
      network.options[NetworkOptions.bridgePrefix + "host_binding_ipv4", default: ""].isEmpty
    {
      options.defaultBind = defaultBind
    }
  }

  /// Only such a network can be a container's gateway: its traffic leaves the bridge.
  package var canBeGateway: Bool { !network.isInternal && network.driver != .host && network.driver != .none }
  package var isFiltered: Bool { network.driver == .bridge }
}
