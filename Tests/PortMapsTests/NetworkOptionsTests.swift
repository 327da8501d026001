import PortMaps
import TestSupport
import Testing

@Suite struct NetworkOptionsTests {
  @Test func defaults() throws {
    let options = try NetworkOptions(of: Network("net"))
    #expect(options.mode(.ipv4) == .nat && options.mode(.ipv6) == .nat)
    #expect(options.defaultBind == "0.0.0.0")
    #expect(options.allowsInterContainerCommunication && options.masquerades && !options.isDefaultBridge)
    #expect(options.trustedInterfaces == [] && options.sources == [:] && options.warnings == [])
  }

  @Test(arguments: GatewayMode.allCases)
  func modesAreIndependent(_ mode: GatewayMode) throws {
    let options = try NetworkOptions(
      of: Network("net", isInternal: true, options: ["gateway_mode_ipv6": mode.rawValue, "gateway_mode_ipv4": ""]))
    #expect(options.mode(.ipv4) == .nat)
    #expect(options.mode(.ipv6) == mode)
  }

  @Test(arguments: [
    ("1", true), ("t", true), ("T", true), ("TRUE", true), ("true", true), ("True", true), ("0", false), ("f", false),
    ("F", false), ("FALSE", false), ("false", false), ("False", false),
  ])
  func booleans(_ text: String, _ value: Bool) throws {
    let options = try NetworkOptions(
      of: Network(
        "net", options: ["enable_icc": text, "enable_ip_masquerade": text, "default_bridge": text]))
    #expect(options.allowsInterContainerCommunication == value)
    #expect(options.masquerades == value)
    #expect(options.isDefaultBridge == value)
  }

  @Test(
    arguments: [
      ("", "0.0.0.0"), ("0.0.0.0", "0.0.0.0"), ("127.0.0.1", "127.0.0.1"), ("::", "::"), ("::1", "::1"),
      ("::ffff:127.0.0.1", "127.0.0.1"),
    ] as [(String, IPAddress)])
  func defaultBinds(_ text: String, _ address: IPAddress) throws {
    #expect(try NetworkOptions(of: Network("net", options: ["host_binding_ipv4": text])).defaultBind == address)
  }

  @Test(arguments: [
    ("gateway_mode_ipv4", "NAT", "unknown-gateway-mode", "gateway mode \"NAT\" is not one of"),
    ("gateway_mode_ipv6", "bridge", "unknown-gateway-mode", "gateway mode \"bridge\" is not one of"),
    ("host_binding_ipv4", "localhost", "bad-default-bind", "\"localhost\" is not an IPv4 or IPv6 literal"),
    ("host_binding_ipv4", "[::1]", "bad-default-bind", "\"[::1]\" is not an IPv4 or IPv6 literal"),
    ("host_binding_ipv4", "127.0.0.1/8", "bad-default-bind", "\"127.0.0.1/8\" is not an IPv4 or IPv6 literal"),
    ("enable_icc", "yes", "bad-option", "\"yes\" is not true or false"),
    ("enable_ip_masquerade", "", "bad-option", "\"\" is not true or false"),
    ("default_bridge", "TrUe", "bad-option", "\"TrUe\" is not true or false"),
    ("trusted_host_interfaces", "eth0:eth0/1", "bad-option", "\"eth0/1\" is not an interface name"),
    ("trusted_host_interfaces", "a-name-too-long1", "bad-option", "\"a-name-too-long1\" is not an interface name"),
  ])
  func refused(_ key: String, _ value: String, _ code: String, _ message: String) throws {
    let error = #expect(throws: RequestError.self) {
      try NetworkOptions(of: Network("net", options: [key: value]))
    }
    let fullKey = "com.docker.network.bridge.\(key)"
    #expect(error?.code.rawValue == code)
    #expect(error?.field == "options.\(fullKey)")
    #expect(error?.message.hasPrefix("network net: option \(fullKey): \(message)") == true, "\(error?.message ?? "")")
  }

  @Test(arguments: AddressFamily.allCases)
  func isolatedNeedsInternal(_ family: AddressFamily) throws {
    var network = Network("net", families: [.ipv4], options: ["gateway_mode_\(family.name)": "isolated"])
    let error = #expect(throws: RequestError.self) { try NetworkOptions(of: network) }
    #expect(error?.code == .isolatedNeedsInternal)
    #expect(error?.message.contains(family.title) == true)
    network.isInternal = true
    #expect(try NetworkOptions(of: network).mode(family) == .isolated)
  }

  @Test func sourceAddresses() throws {
    var network = Network("net")
    network.options = ["com.docker.network.host_ipv4": "192.0.2.10", "com.docker.network.host_ipv6": "2001:db8::10"]
    #expect(try NetworkOptions(of: network).sources == [.ipv4: "192.0.2.10", .ipv6: "2001:db8::10"])
    for bad in ["", "0.0.0.0", "2001:db8::10", "eth0"] {
      network.options = ["com.docker.network.host_ipv4": bad]
      let error = #expect(throws: RequestError.self) { try NetworkOptions(of: network) }
      #expect(error?.code == .badOption)
      #expect(error?.message.contains("\"\(bad)\" is not an IPv4 address") == true)
    }
  }

  @Test func trustedInterfaces() throws {
    let network = Network("net", options: ["trusted_host_interfaces": "eth0::wg0:"])
    #expect(try NetworkOptions(of: network).trustedInterfaces == ["eth0", "wg0"])
  }

  @Test func unknownKeysOfOursWarn() throws {
    var network = Network("net", options: ["enable_ICC": "x", "name": "br0", "mtu": "x", "inhibit_ipv4": "x"])
    network.options["com.docker.network.driver.mtu"] = "9000"
    network.options["com.example"] = "x"
    let warnings = try NetworkOptions(of: network).warnings
    #expect(warnings.map(\.code) == [.unknownOption])
    #expect(warnings.first?.message.contains("com.docker.network.bridge.enable_ICC") == true)
  }

  @Test func theAgentsDefaultBindIsForTheDefaultBridge() throws {
    let bind: IPAddress = "192.0.2.10"
    let rows: [([String: String], IPAddress)] = [
      ([:], "0.0.0.0"), (["default_bridge": "true"], bind),
      (["default_bridge": "true", "host_binding_ipv4": ""], bind),
      (["default_bridge": "true", "host_binding_ipv4": "::1"], "::1"),
      (["default_bridge": "true", "host_binding_ipv4": "0.0.0.0"], "0.0.0.0"),
    ]
    for (options, expected) in rows {
      #expect(try ResolvedNetwork(Network("net", options: options), defaultBind: bind).options.defaultBind == expected)
    }
  }

  @Test(arguments: [
    ("eth0", true), ("br-0123456789ab", true), ("é", true), ("", false), (".", false), ("..", false), ("a/b", false),
    ("a:b", false), ("a b", false), ("a\tb", false), ("a\0", false), ("sixteen-bytes-xx", false), ("a*", false),
    ("a\"b", false), ("a\\", false), ("à", false),
  ])
  func interfaceNames(_ name: String, _ isName: Bool) { #expect(Network.isInterfaceName(name) == isName) }
}
