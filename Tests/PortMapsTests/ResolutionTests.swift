import TestSupport
import Testing

@testable import PortMaps

@Suite struct ResolutionTests {
  // MARK: Which families a request reaches

  struct Reach: Sendable, CustomTestStringConvertible {
    var request: String
    var defaultBind: String
    var ipv4: String?
    var ipv6: String?
    var testDescription: String { "\(request) under \"\(defaultBind)\"" }
  }

  private static let defaultBinds = ["", "0.0.0.0", "127.0.0.1", "192.0.2.10", "::", "::1", "2001:db8::10"]

  private static let reaches =
    [
      Reach(request: "8080:80", defaultBind: "", ipv4: "0.0.0.0", ipv6: "::"),
      Reach(request: "8080:80", defaultBind: "0.0.0.0", ipv4: "0.0.0.0", ipv6: "::"),
      Reach(request: "8080:80", defaultBind: "127.0.0.1", ipv4: "127.0.0.1"),
      Reach(request: "8080:80", defaultBind: "192.0.2.10", ipv4: "192.0.2.10"),
      Reach(request: "8080:80", defaultBind: "::", ipv6: "::"),
      Reach(request: "8080:80", defaultBind: "::1", ipv6: "::1"),
      Reach(request: "8080:80", defaultBind: "2001:db8::10", ipv6: "2001:db8::10"),
    ]
    + defaultBinds.flatMap { bind in
      [
        Reach(request: "0.0.0.0:8080:80", defaultBind: bind, ipv4: "0.0.0.0"),
        Reach(request: "127.0.0.1:8080:80", defaultBind: bind, ipv4: "127.0.0.1"),
        Reach(request: "[::]:8080:80", defaultBind: bind, ipv6: "::"),
        Reach(request: "[::1]:8080:80", defaultBind: bind, ipv6: "::1"),
      ]
    }

  @Test(arguments: reaches)
  func families(_ reach: Reach) throws {
    for (mode4, mode6) in [("nat", "nat"), ("routed", "nat-unprotected"), ("nat", "routed"), ("routed", "routed")] {
      for families: [AddressFamily] in [[.ipv4, .ipv6], [.ipv4], [.ipv6]] {
        let network = Network(
          "net", families: families,
          options: [
            "gateway_mode_ipv4": mode4, "gateway_mode_ipv6": mode6, "host_binding_ipv4": reach.defaultBind,
          ])
        let bindings = try Start(network, [PublishRequest(parsing: reach.request)]).resolve().bindings
        var expected: [String] = []
        if let host = reach.ipv4, families.contains(.ipv4) {
          expected.append(mode4 == "routed" ? "80/tcp -> 0.0.0.0:" : "80/tcp -> \(host):8080")
        }
        if let host = reach.ipv6, families.contains(.ipv6) {
          expected.append(mode6 == "routed" ? "80/tcp -> [::]:" : "80/tcp -> [\(host)]:8080")
        }
        #expect(Set(bindings.flatMap(\.actual).map(\.description)) == Set(expected), "\(mode4) \(mode6) \(families)")
      }
    }
  }

  /// Each network on which the container's ports are, or would be, says so; a gateway that has another one does not.
  @Test(arguments: [
    (modes: ["nat", "nat"], warned: ["a"]), (modes: ["nat", "routed"], warned: ["a", "b"]),
    (modes: ["routed", "routed"], warned: ["a", "b"]),
  ])
  func anIPv6DefaultBindOfAContainerWithoutIPv6(modes: [String], warned: [String]) throws {
    let networks = zip(["a", "b"], modes).map { name, mode in
      (
        Network(name, families: [.ipv4], options: ["gateway_mode_ipv4": mode, "host_binding_ipv4": "::1"]),
        priority: 0
      )
    }
    let resolution = try Start(networks, ["8080:80"]).resolve()
    #expect(resolution.bindings == [])
    #expect(resolution.warnings.map(\.code) == warned.map { _ in .defaultBindIPv6IPv4Container })
    for (warning, name) in zip(resolution.warnings, warned) { #expect(warning.message.contains("network \(name):")) }
  }

  // MARK: Which endpoint

  struct Gateway: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var networks: [(Network, priority: Int)]
    /// The network of the IPv4 and of the IPv6 binding; `nil` = none.
    var ipv4: String?
    var ipv6: String?
  }

  private static let gateways = [
    Gateway(testDescription: "by name", networks: [(Network("b"), 0), (Network("a"), 0)], ipv4: "a", ipv6: "a"),
    Gateway(testDescription: "by priority", networks: [(Network("a"), 0), (Network("b"), 1)], ipv4: "b", ipv6: "b"),
    Gateway(
      testDescription: "by priority, extremes", networks: [(Network("a"), .min), (Network("b"), .max)], ipv4: "b",
      ipv6: "b"),
    Gateway(
      testDescription: "internal never", networks: [(Network("a", isInternal: true), 9), (Network("b"), 0)],
      ipv4: "b", ipv6: "b"),
    Gateway(
      testDescription: "one for each family",
      networks: [(Network("a", families: [.ipv6]), 0), (Network("b", families: [.ipv4]), 1)], ipv4: "b", ipv6: "a"),
    Gateway(
      testDescription: "macvlan is the gateway and publishes nothing",
      networks: [(Network("a"), 0), (Network("b", driver: .macvlan), 1)]),
    Gateway(
      testDescription: "a macvlan of one family",
      networks: [(Network("a"), 0), (Network("b", driver: .macvlan, families: [.ipv6]), 1)], ipv4: "a"),
    Gateway(
      testDescription: "host and none are never gateways",
      networks: [(Network("a", driver: .host), 1), (Network("b", driver: .none), 1), (Network("c"), 0)], ipv4: "c",
      ipv6: "c"),
    Gateway(testDescription: "only internal", networks: [(Network("a", isInternal: true), 0)]),
  ]

  @Test(arguments: gateways)
  func gateway(_ row: Gateway) throws {
    let bindings = try Start(row.networks, ["8080:80"]).resolve().bindings
    #expect(bindings.filter { $0.family == .ipv4 }.map(\.network) == [row.ipv4].compactMap(\.self))
    #expect(bindings.filter { $0.family == .ipv6 }.map(\.network) == [row.ipv6].compactMap(\.self))
  }

  @Test func routedBindingsAreOnEveryRoutedNetwork() throws {
    let routed = ["gateway_mode_ipv4": "routed"]
    let networks = ["a", "b", "c"].map { (Network($0, families: [.ipv4], options: $0 == "b" ? [:] : routed), 0) }
    let resolution = try Start(networks, ["8080:80"]).resolve()
    #expect(Set(resolution.bindings.map(\.network)) == ["a", "c"])
    #expect(resolution.warnings.map(\.code) == [.routedHostPortIgnored, .routedHostPortIgnored])
  }

  @Test func theGatewaysDefaultBindIsTheOneThatWarns() throws {
    let other = Network("a", families: [.ipv4], options: ["host_binding_ipv4": "::1"])
    let gateway = Network("b", families: [.ipv4])
    #expect(try Start([(other, 0), (gateway, 1)], ["8080:80"]).resolve().warnings == [])
    #expect(
      try Start([(gateway, 0), (other, 1)], ["8080:80"]).resolve().warnings.map(\.code)
        == [.defaultBindIPv6IPv4Container])
  }

  // MARK: Runs

  @Test(arguments: [
    ("paired ranges", ["0.0.0.0:8000-8002:80-82"], ["8000-8002 > 80-82"]),
    ("ephemeral range", ["0.0.0.0::80-82"], ["32768-32770 > 80-82"]),
    ("two requests stay two", ["0.0.0.0:8000:80", "0.0.0.0:8001:81"], ["8000 > 80", "8001 > 81"]),
    ("the last port", ["0.0.0.0:65534-65535:65534-65535"], ["65534-65535 > 65534-65535"]),
  ])
  func runs(_ name: String, _ requests: [String], _ expected: [String]) throws {
    let requests = try requests.map { try PublishRequest(parsing: $0) }
    let bindings = try Start(Network("net"), requests).resolve().bindings
    #expect(bindings.map { "\($0.hostPorts, default: "-") > \($0.containerPorts)" } == expected)
  }

  @Test func aRunEndsWhereAPortIsMissing() throws {
    let host = HostModel()
    host.programs = [.init(address: "0.0.0.0", transport: .tcp, ports: 32769...32769)]
    let bindings = try Start(Network("net"), ["0.0.0.0::80-82"]).resolve(on: host).bindings
    #expect(bindings.map(\.hostPorts) == [PortRange(32768), PortRange(32770, 32771)])
    #expect(bindings.map(\.containerPorts) == [PortRange(80), PortRange(81, 82)])
  }

  @Test func routedRunsHaveNoHostPorts() throws {
    let network = Network("net", families: [.ipv6], options: ["gateway_mode_ipv6": "routed"])
    let bindings = try Start(network, ["80-82"]).resolve().bindings
    #expect(bindings.map(\.containerPorts) == [PortRange(80, 82)])
    #expect(bindings.map(\.hostPorts) == [nil])
  }

  @Test func publishAllKeepsNoRuns() throws {
    let start = try Start(Network("net", families: [.ipv4]), [])
    start.container.publishAll = true
    start.container.expose = [ExposedPorts(PortRange(80, 81), .tcp)]
    let bindings = try start.resolve().bindings
    #expect(bindings.map(\.containerPorts) == [PortRange(80), PortRange(81)])
    #expect(bindings.map(\.request) == [nil, nil])
  }

  @Test func sourcesFollowTheRequest() throws {
    var request: PublishRequest = "0.0.0.0:8080:80"
    request.allowFrom = ["198.51.100.0/24"]
    let bindings = try Start(Network("net"), [request, "0.0.0.0:8081:81"]).resolve().bindings
    #expect(bindings.map(\.allowFrom) == [["198.51.100.0/24"], []])
    #expect(bindings.map(\.request) == [0, 1])
  }
}
