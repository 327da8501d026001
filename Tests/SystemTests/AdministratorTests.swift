import Feed
import PortMaps
import TestSupport
import Testing

/// The administrator's own rules, and the size of ours.
@Suite struct AdministratorTests {
  /// A table of the administrator's, and who still reaches the container through what.
  struct Case: Sendable, CustomStringConvertible {
    let description: String
    let chain: String
    let isDropped: @Sendable (AddressFamily, TransportProtocol, UInt16) -> Bool
  }

  @Test(arguments: [
    // Before our translation the packet has the address and port that the client asked.
    Case(
      description: "drop before translation",
      chain: "type filter hook prerouting priority -150; ip daddr \(Plan.host4) tcp dport 8080 drop"
    ) {
      ($0, $1, $2) == (.ipv4, .tcp, 8080)
    },
    Case(
      description: "drop in forward, before us",
      chain: "type filter hook forward priority -10; ip6 daddr \(Plan.container6) udp dport 80 drop"
    ) {
      ($0, $1) == (.ipv6, .udp) && $2 != Topology.unpublished
    },
    Case(
      description: "drop in forward, after us",
      chain: "type filter hook forward priority 10; ip daddr \(Plan.container4) udp dport 80 drop"
    ) {
      ($0, $1) == (.ipv4, .udp) && $2 != Topology.unpublished
    },
    Case(description: "accept opens nothing", chain: "type filter hook forward priority -10; policy accept; accept") {
      _, _, _ in false
    },
  ])
  func aDropWinsAndAnAcceptDoesNot(_ row: Case) async throws {
    let topology = try await Topology()
    let (host, web, routed) = (topology.host, topology.web, topology.routed)
    let agent = try AgentProgram(in: host.namespace)
    try agent.create(.web)
    try agent.start(web, publish: ["8080:80", "8080:80/udp", "8081:80", "8081:80/udp"])
    try await host.namespace.command(
      "nft", "-f", "-", input: "table inet admin {\nchain rules {\n\(row.chain.replacing("; ", with: "\n"))\n}\n}\n")
    var cells: [(question: Question, isOpen: Bool)] = []
    for (family, transport) in PacketTests.flows {
      for (address, port) in [
        (host.address(family), 8080 as UInt16), (host.address(family), 8081), (web.address(family), Topology.port),
        (web.address(family), Topology.unpublished),
      ] {
        let isOpen = port != Topology.unpublished && !row.isDropped(family, transport, port)
        cells.append((Question(routed, Target(transport, address, port), mustAnswer: isOpen), isOpen))
      }
    }
    for (cell, answer) in zip(cells, try ask(cells.map(\.question))) {
      #expect((answer.text?.hasPrefix("web saw ") == true) == cell.isOpen, "\(cell.question.target): \(answer)")
    }
  }

  @Test func theNumberOfRulesIsConstant() async throws {
    let host = try NetworkNamespace()
    let agent = try AgentProgram(in: host, configuration: #"hold_ports = "none""#)
    let count = { try await host.command("nft", "-a", "-t", "list", "table", "inet", "pmagent").count("# handle ") }
    let empty = try await count()
    #expect(empty > 50)
    var lines: [String] = []
    for number in 0..<1000 {
      let prefixes = "10.\(number / 250).\(number % 250)"
      lines.append(
        #"{"event":"network.create","network":{"id":"n\#(number)","bridge":"br\#(number)","subnets":["\#(prefixes).0/24"]}}"#
      )
    }
    for number in 0..<10 {
      let first = 20000 + number * 1000
      lines.append(
        #"{"event":"container.start","container":{"id":"c\#(number)","networks":[{"network":"n\#(number)","ipv4":"10.0.\#(number).2"}],"#
          + #""publish":["\#(first)-\#(first + 999):1000-1999"]}}"#)
    }
    for reply in try agent.client().ask(lines) { #expect(reply["ok"] == .bool(true), "\(reply)") }
    let status = try agent.succeed(#"{"query":"status"}"#)
    #expect(status["mappings"] == .integer(10000) && status["networks"] == .integer(1000), "\(status)")
    #expect(status["in_sync"] == .bool(true))
    #expect(try await count() == empty)
  }

  @Test func withoutAFirewallEverythingIsListedAndNothingInstalled() async throws {
    let topology = try await Topology()
    let agent = try AgentProgram(in: topology.host.namespace, configuration: "firewall = false")
    let before = try await sysctls(topology.host.namespace)
    try agent.create(.web)
    let reply = try agent.start(topology.web, publish: ["8080:80"])
    #expect(
      reply["ports"]?.description
        == #"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}]}"#)
    #expect(try agent.succeed(#"{"query":"list"}"#).mappings?.count == 2)
    #expect(try await topology.host.namespace.command("nft", "list", "ruleset") == "")
    #expect(try await sysctls(topology.host.namespace) == before)
    #expect(ask(.tcp, topology.host.ipv4, 8080, from: topology.remote.namespace, seconds: 1).text == nil)
    #expect(ask(.udp, "198.51.100.1", Topology.hostPort, from: topology.routed.namespace).text != nil)
  }

  /// Neither for drivers that have no bridge, nor once all is gone.
  @Test(arguments: ["macvlan", "ipvlan", "host", "none", "bridge"])
  func nothingIsLeftInTheTable(driver: String) async throws {
    let host = try NetworkNamespace()
    // Forwarding that is on already leaves no element behind.
    try await host.command("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    let agent = try AgentProgram(in: host)
    let list = { try await host.command("nft", "list", "ruleset") }
    let empty = try await list()
    #expect(empty.contains("table inet pmagent"))
    let bridge = driver == "bridge" ? #","bridge":"br0""# : ""
    try agent.succeed(
      #"{"event":"network.create","network":{"id":"n","driver":"\#(driver)","subnets":["10.0.0.0/24","fd00::/64"]\#(bridge)}}"#
    )
    try agent.succeed(
      #"{"event":"container.start","container":{"id":"c","networks":[{"network":"n","ipv4":"10.0.0.2","ipv6":"fd00::2"}],"#
        + #""publish":["8080:80",{"container_port":81,"host_port":8081,"allow_from":["10.0.0.0/8"]}]}}"#)
    #expect(try await list() == empty || driver == "bridge")
    try agent.succeed(#"{"event":"container.stop","container":"c"}"#)
    try agent.succeed(#"{"event":"network.remove","network":"n"}"#)
    #expect(try await list() == empty)
  }

  private func sysctls(_ host: NetworkNamespace) async throws -> String {
    try await host.command(
      "sysctl", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding",
      "net.ipv4.conf.\(BridgeNetwork.web.bridge).route_localnet")
  }
}

extension String {
  fileprivate func count(_ part: String) -> Int { split(separator: part, omittingEmptySubsequences: false).count - 1 }
}
