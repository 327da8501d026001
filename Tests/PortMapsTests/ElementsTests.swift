import TestSupport
import Testing

@testable import PortMaps

/// Elements as nft(8) writes them, behind the name of their set.
private func text(_ elements: [Element]) -> [String] {
  elements.map { "\($0.set.rawValue) { \(NftText.element($0)) }" }
}

@Suite struct NetworkElementsTests {
  private func elements(
    _ network: Network, _ policy: FilterPolicy = FilterPolicy()
  ) throws -> [String] { text(try ResolvedNetwork(network).elements(policy)) }

  private let base = [
    "bridges { \"br-net\" comment \"net\" }",
    "icc { \"br-net\" . \"br-net\" comment \"net\" }",
    "direct { \"br-net\" comment \"net\" }",
  ]
  private let nat4 = [
    "to_bridge4 { \"br-net\" comment \"net\" : goto to_nat }",
    "hairpin4 { \"br-net\" . 172.19.0.0/16 comment \"net\" }",
    "masquerade4 { \"br-net\" comment \"net\" }",
  ]
  /// A family that the network does not have.
  private let closed4 = ["to_bridge4 { \"br-net\" comment \"net\" : goto to_internal }"]
  private let closed6 = ["to_bridge6 { \"br-net\" comment \"net\" : goto to_internal }"]
  private let nat6 = [
    "to_bridge6 { \"br-net\" comment \"net\" : goto to_nat }",
    "hairpin6 { \"br-net\" . fdf8:b88e:bb5c:3483::/64 comment \"net\" }",
    "masquerade6 { \"br-net\" comment \"net\" }",
  ]

  @Test func nat() throws { #expect(try elements(Network("net")) == base + nat4 + nat6) }

  @Test func oneFamily() throws {
    #expect(try elements(Network("net", families: [.ipv4])) == base + nat4 + closed6)
    #expect(try elements(Network("net", families: [.ipv6])) == base + closed4 + nat6)
  }

  @Test func natUnprotected() throws {
    let network = Network("net", families: [.ipv4], options: ["gateway_mode_ipv4": "nat-unprotected"])
    #expect(
      try elements(network)
        == base + ["to_bridge4 { \"br-net\" comment \"net\" : goto to_nat_unprotected }"] + nat4.dropFirst() + closed6)
  }

  @Test func routed() throws {
    let network = Network("net", options: ["gateway_mode_ipv6": "routed"])
    #expect(
      try elements(network) == base + nat4 + ["to_bridge6 { \"br-net\" comment \"net\" : goto to_routed }"])
  }

  @Test(arguments: ["nat", "nat-unprotected", "routed", "isolated"])
  func internalInWhateverMode(_ mode: String) throws {
    let network = Network("net", isInternal: true, options: ["gateway_mode_ipv4": mode, "gateway_mode_ipv6": mode])
    #expect(
      try elements(network) == [
        base[0], "internal { \"br-net\" comment \"net\" }", base[1], base[2],
        "to_bridge4 { \"br-net\" comment \"net\" : goto to_internal }",
        "to_bridge6 { \"br-net\" comment \"net\" : goto to_internal }",
      ])
  }

  @Test func withoutInterContainerCommunication() throws {
    #expect(
      try elements(Network("net", families: [.ipv4], options: ["enable_icc": "false"])) == [base[0], base[2]] + nat4
        + closed6)
  }

  @Test func withoutDirectRouting() throws {
    let policy = FilterPolicy(allowsDirectRouting: false)
    #expect(try elements(Network("net", families: [.ipv4]), policy) == base.dropLast() + nat4 + closed6)
  }

  @Test func withoutMasquerading() throws {
    var network = Network("net", options: ["enable_ip_masquerade": "false"])
    network.options["com.docker.network.host_ipv4"] = "192.0.2.10"
    #expect(try elements(network) == base + nat4.dropLast() + nat6.dropLast())
  }

  @Test func withASourceAddress() throws {
    var network = Network("net")
    network.options["com.docker.network.host_ipv4"] = "192.0.2.10"
    #expect(
      try elements(network)
        == base + nat4.dropLast() + ["source4 { \"br-net\" comment \"net\" : 192.0.2.10 }"] + nat6)
  }

  @Test func trustedInterfaces() throws {
    let network = Network("net", families: [.ipv4], options: ["trusted_host_interfaces": "wg0:eth0:wg0"])
    #expect(
      try elements(network)
        == base + [
          "trusted { \"eth0\" . \"br-net\" comment \"net\" }", "trusted { \"wg0\" . \"br-net\" comment \"net\" }",
        ]
        + nat4 + closed6)
  }

  @Test func subnetsThatOverlapAreJoined() throws {
    var network = Network("net", families: [.ipv4])
    network.subnets += ["172.19.4.0/24", "172.20.0.0/24", "172.19.0.0/16"]
    #expect(
      try elements(network).filter { $0.hasPrefix("hairpin") } == [
        "hairpin4 { \"br-net\" . 172.19.0.0/16 comment \"net\" }",
        "hairpin4 { \"br-net\" . 172.20.0.0/24 comment \"net\" }",
      ])
  }

  @Test(arguments: [NetworkDriver.macvlan, .ipvlan, .host, .none])
  func nothingForOtherDrivers(_ driver: NetworkDriver) throws {
    var network = Network("net", driver: driver)
    network.bridge = "br-net"
    #expect(try elements(network) == [])
  }
}

@Suite struct BindingElementsTests {
  private func binding(
    _ host: IPAddress, _ hostPorts: PortRange?, _ ports: PortRange, _ transport: TransportProtocol = .tcp,
    mode: GatewayMode = .nat, allowFrom: [IPPrefix] = []
  ) -> Binding {
    Binding(
      network: "net", mode: mode, transport: transport, hostAddress: host, hostPorts: hostPorts,
      containerAddress: host.family == .ipv4 ? "172.19.0.2" : "fd00::2", containerPorts: ports, request: 0,
      allowFrom: allowFrom)
  }

  @Test func everyAddress() {
    #expect(
      text(binding("0.0.0.0", PortRange(8080), PortRange(80)).elements(name: "web")) == [
        "any4 { tcp . 8080 comment \"web\" : 172.19.0.2 . 80 }",
        "published4 { 172.19.0.2 . tcp . 80 comment \"web\" }",
      ])
    #expect(
      text(binding("::", PortRange(53), PortRange(5353), .udp).elements(name: "dns")) == [
        "any6 { udp . 53 comment \"dns\" : fd00::2 . 5353 }",
        "published6 { fd00::2 . udp . 5353 comment \"dns\" }",
      ])
  }

  @Test func oneAddress() {
    #expect(
      text(binding("192.0.2.10", PortRange(8080), PortRange(80), .sctp).elements(name: "web")) == [
        "exact4 { 192.0.2.10 . sctp . 8080 comment \"web\" : 172.19.0.2 . 80 }",
        "published4 { 172.19.0.2 . sctp . 80 comment \"web\" }",
      ])
  }

  @Test(arguments: ["127.0.0.1", "127.8.8.8", "::1"] as [IPAddress])
  func aLoopbackAddressIsForTheHostOnly(_ address: IPAddress) {
    for allowFrom: [IPPrefix] in [[], ["0.0.0.0/0", "::/0"]] {
      let elements = binding(address, PortRange(8080), PortRange(80), allowFrom: allowFrom).elements(name: "web")
      let sets = FamilySets(address.family)
      #expect(elements.map(\.set) == [allowFrom.isEmpty ? sets.exact : sets.restricted])
    }
  }

  @Test func routed() {
    #expect(
      text(binding("::", nil, PortRange(80, 81), mode: .routed).elements(name: "web")) == [
        "published6 { fd00::2 . tcp . 80 comment \"web\" }", "published6 { fd00::2 . tcp . 81 comment \"web\" }",
      ])
  }

  @Test func ranges() {
    #expect(
      text(binding("0.0.0.0", PortRange(65534, 65535), PortRange(80, 81)).elements(name: "")) == [
        "any4 { tcp . 65534 : 172.19.0.2 . 80 }", "published4 { 172.19.0.2 . tcp . 80 }",
        "any4 { tcp . 65535 : 172.19.0.2 . 81 }", "published4 { 172.19.0.2 . tcp . 81 }",
      ])
  }

  @Test func sources() {
    let allowFrom: [IPPrefix] = ["198.51.100.0/24", "10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8", "2001:db8::/32"]
    #expect(
      text(binding("0.0.0.0", PortRange(8080), PortRange(80), allowFrom: allowFrom).elements(name: "web")) == [
        "restricted4 { 10.0.0.0/8 . 0.0.0.0/0 . tcp . 8080 comment \"web\" : 172.19.0.2 . 80 }",
        "restricted4 { 198.51.100.0/24 . 0.0.0.0/0 . tcp . 8080 comment \"web\" : 172.19.0.2 . 80 }",
        "allowed4 { 10.0.0.0/8 . 172.19.0.2/32 . tcp . 80 comment \"web\" }",
        "allowed4 { 198.51.100.0/24 . 172.19.0.2/32 . tcp . 80 comment \"web\" }",
      ])
    #expect(
      text(binding("2001:db8::10", PortRange(8080), PortRange(80), allowFrom: allowFrom).elements(name: "web")) == [
        "restricted6 { 2001:db8::/32 . 2001:db8::10/128 . tcp . 8080 comment \"web\" : fd00::2 . 80 }",
        "allowed6 { 2001:db8::/32 . fd00::2/128 . tcp . 80 comment \"web\" }",
      ])
  }

  @Test func sourcesOfTheOtherFamilyOnly() {
    let allowFrom: [IPPrefix] = ["2001:db8::/32"]
    #expect(binding("0.0.0.0", PortRange(8080), PortRange(80), allowFrom: allowFrom).elements(name: "web") == [])
  }

  @Test func twoRequestsForOneContainerPort() {
    let bindings = [
      binding("0.0.0.0", PortRange(8080), PortRange(80)), binding("0.0.0.0", PortRange(8081), PortRange(80)),
    ]
    #expect(
      text(difference(from: [], to: bindings.elements(name: "web")).additions) == [
        "any4 { tcp . 8080 comment \"web\" : 172.19.0.2 . 80 }", "published4 { 172.19.0.2 . tcp . 80 comment \"web\" }",
        "any4 { tcp . 8081 comment \"web\" : 172.19.0.2 . 80 }",
      ])
  }

  @Test func twoRequestsForOneContainerPortWithOverlappingSources() {
    let bindings = [
      binding("0.0.0.0", PortRange(8080), PortRange(80), allowFrom: ["10.1.0.0/16", "192.0.2.0/24"]),
      binding("0.0.0.0", PortRange(8081), PortRange(80), allowFrom: ["10.0.0.0/8", "192.0.2.0/24"]),
      binding("0.0.0.0", PortRange(8082), PortRange(81), allowFrom: ["10.1.0.0/16"]),
    ]
    #expect(
      text(difference(from: [], to: bindings.elements(name: "")).additions.filter { $0.set == .allowed4 }) == [
        "allowed4 { 192.0.2.0/24 . 172.19.0.2/32 . tcp . 80 }", "allowed4 { 10.0.0.0/8 . 172.19.0.2/32 . tcp . 80 }",
        "allowed4 { 10.1.0.0/16 . 172.19.0.2/32 . tcp . 81 }",
      ])
    #expect(bindings.elements(name: "").count { $0.set == .restricted4 } == 5)
  }

  @Test(arguments: [
    ("web", "web"),
    ("", ""),
    (String(repeating: "x", count: 127), String(repeating: "x", count: 127)),
    (String(repeating: "x", count: 128), String(repeating: "x", count: 127)),
    // A character is kept whole or not at all.
    (String(repeating: "x", count: 126) + "é", String(repeating: "x", count: 126)),
    (String(repeating: "é", count: 80), String(repeating: "é", count: 63)),
    ("a\" ; drop", "a ; drop"),
    ("a\"\u{301}b", "ab"),
    ("a\nb\0c\u{7f}d", "abcd"),
  ])
  func comments(_ name: String, _ comment: String) { #expect(Element.comment(name) == comment) }
}

extension Binding {
  fileprivate func elements(name: String) -> [Element] { [self].elements(name: name) }
}
