import Feed
import PortMaps
import TestSupport
import Testing

/// What the host's own ::1 needs to reach a published port: it comes and goes with bridges and networks. That it does its
/// work is in the matrix, that nobody else can use it among the attackers.
@Suite(.timeLimit(.minutes(2))) struct LoopbackTests {
  /// Routes and the ingress chains' names, as ip(8) and nft(8) list them.
  private func installed(_ host: NetworkNamespace) async throws -> [String] {
    let routes = try await host.command("ip", "-6", "route", "show", "table", "local", "proto", "112")
    let table = try await host.command("nft", "list", "ruleset", "netdev")
    return (routes.split(separator: "\n") + table.matches(of: /chain \S+/).map(\.output)).map { line in
      line.split(separator: " ").prefix(4).joined(separator: " ")
    }
  }

  @Test(arguments: [false, true])
  func aBridgeThatComesBackIsReached(bridgeNetfilter: Bool) async throws {
    let topology = try await Topology(bridgeNetfilter: bridgeNetfilter)
    let (host, bridge) = (topology.host.namespace, Plan.bridge)
    let agent = try AgentProgram(in: host)
    try agent.create(.web)
    try agent.start(topology.web, publish: ["[::1]:8080:80", "[::1]:8080:80/udp"])
    for change in [
      [], ["link set \(bridge) down", "link set \(bridge) up"],
      [
        "link del \(bridge)", "link add \(bridge) type bridge", "link set \(bridge) up",
        "link set v-web master \(bridge)",
      ],
    ] {
      let lines = change + (change.isEmpty ? [] : ["address add \(BridgeNetwork.web.gateway(.ipv6))/64 dev \(bridge)"])
      try await host.command("ip", "-batch", "-", input: lines.joined(separator: "\n"))
      // What the kernel told before this question, the agent has heard when it answers.
      #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true), "\(change)")
      #expect(try await installed(host) == ["local ::1 dev \(bridge)", "chain ingress_\(bridge)"], "\(change)")
      for transport in [TransportProtocol.tcp, .udp] {
        #expect(
          ask(transport, "::1", 8080, from: host) == .text("web saw \(BridgeNetwork.web.gateway(.ipv6)): hello"),
          "\(transport) after \(change)")
      }
    }
  }

  private static func create(
    bridge: String = "br-a", subnets: String = #""172.18.0.0/16","fd00::/64""#, more: String = ""
  )
    -> String
  {
    #"{"event":"network.create","network":{"id":"net","bridge":"\#(bridge)","subnets":[\#(subnets)]\#(more)}}"#
  }

  @Test(arguments: [
    (create(bridge: "br-b"), ["local ::1 dev br-b", "chain ingress_br-b"]), (create(more: #","internal":true"#), []),
    (create(subnets: #""172.18.0.0/16""#), []),
    (create(more: #","options":{"com.docker.network.bridge.gateway_mode_ipv6":"routed"}"#), []),
    (#"{"event":"network.remove","network":"net"}"#, []),
  ])
  func itGoesWithItsReason(change: String, left: [String]) async throws {
    let agent = try await running()
    try agent.succeed(Self.create())
    #expect(try await installed(agent.namespace) == ["local ::1 dev br-a", "chain ingress_br-a"])
    try agent.succeed(change)
    #expect(try await installed(agent.namespace) == left)
    #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))
  }

  /// One route a bridge: their keys differ in nothing else.
  @Test func everyBridgeHasItsOwn() async throws {
    let agent = try await running()
    try agent.succeed(Self.create())
    try agent.succeed(Self.create(bridge: "br-b").replacing("net\"", with: "other\""))
    #expect(
      Set(try await installed(agent.namespace)) == [
        "local ::1 dev br-a", "local ::1 dev br-b", "chain ingress_br-a", "chain ingress_br-b",
      ])
  }

  /// What is left of a network that went while no agent was there, and what is missing.
  @Test func aStartPutsItRight() async throws {
    let agent = try await running()
    try agent.succeed(Self.create())
    let before = try await installed(agent.namespace)
    agent.kill()
    try await agent.namespace.command(
      "ip", "-batch", "-",
      input: """
        route del local ::1 dev br-a table local
        route add local ::1 dev br-b table local metric 2048 proto 112
        """)
    try await agent.namespace.command(
      "nft", "add chain netdev pmagent ingress_br-b; flush chain netdev pmagent ingress_br-a")
    try agent.start()
    #expect(try await installed(agent.namespace) == before)
    #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))
  }

  @Test func aHostWithoutItSaysSo() async throws {
    let host = try NetworkNamespace()
    try await host.command("ip", "link", "set", "lo", "up")
    try await host.command("sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=1")
    let agent = try AgentProgram(in: host)
    let degraded = { try agent.succeed(#"{"query":"status"}"#)["degraded"]?.description ?? "" }
    // Nobody wants it yet.
    #expect(try degraded() == "[]")
    try agent.succeed(Self.create())
    #expect(try degraded().contains("ipv6-loopback-unsupported"))
    #expect(try degraded().contains("net.ipv6.conf.lo.disable_ipv6 is 1"))
    for (publish, warnings) in [
      ("[::1]:8080:80", ["ipv6-loopback-unsupported"]), ("127.0.0.1:8080:80", []), ("8080:80", []),
    ] {
      let reply = try agent.succeed(
        #"{"event":"container.start","container":{"id":"web","networks":[{"network":"net","ipv4":"172.18.0.2","#
          + #""ipv6":"fd00::2"}],"publish":["\#(publish)"]}}"#)
      #expect(reply.warningCodes.filter { $0.contains("loopback") } == warnings, "\(publish): \(reply)")
    }
    #expect(try await installed(host) == [])
  }

  private func running() async throws -> AgentProgram {
    let host = try NetworkNamespace()
    try await host.command("ip", "link", "set", "lo", "up")
    for bridge in ["br-a", "br-b"] {
      try await host.command("ip", "link", "add", bridge, "type", "bridge")
      try await host.command("ip", "link", "set", bridge, "up")
    }
    return try AgentProgram(in: host)
  }
}
