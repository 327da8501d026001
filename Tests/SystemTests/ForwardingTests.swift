import Feed
import Glibc
import PortMaps
import TestSupport
import Testing

/// The host as a router between `remote` and `routed`, which have nothing to do with containers.
@Suite struct ForwardingTests {
  struct Case: Sendable, CustomStringConvertible {
    let description: String
    var configuration = ""
    /// Whether the host forwarded before the agent came.
    var before: [AddressFamily: Bool] = [:]
    /// Whether packets pass from `routed` to `remote`, and back.
    var onward: [AddressFamily: Bool] = [:]
    var backward: [AddressFamily: Bool] = [:]

    init(
      _ description: String, configuration: String = "", before: (Bool, Bool), onward: (Bool, Bool),
      backward: (Bool, Bool)
    ) {
      (self.description, self.configuration) = (description, configuration)
      self.before = [.ipv4: before.0, .ipv6: before.1]
      self.onward = [.ipv4: onward.0, .ipv6: onward.1]
      self.backward = [.ipv4: backward.0, .ipv6: backward.1]
    }
  }

  static let (none, both) = ((false, false), (true, true))

  @Test(arguments: [
    Case("turned on by us, so closed", before: none, onward: none, backward: none),
    Case("IPv4 was on", before: (true, false), onward: (true, false), backward: (true, false)),
    Case("IPv6 was on", before: (false, true), onward: (false, true), backward: (false, true)),
    Case("a router before us stays one", before: both, onward: both, backward: both),
    Case(
      "one pair, one direction", configuration: #"forward_allow = [["v-routed", "v-remote"]]"#, before: none,
      onward: both, backward: none),
    Case("open all the same", configuration: "ip_forward_no_drop = true", before: none, onward: both, backward: both),
  ])
  func foreignForwarding(_ row: Case) async throws {
    let topology = try await router(before: row.before)
    let (host, remote, routed) = (topology.host.namespace, topology.remote, topology.routed)
    let agent = try AgentProgram(in: host, configuration: row.configuration)
    try agent.create(.web)
    try agent.start(topology.web, publish: ["8080:80", "8080:80/udp"])
    #expect(try await forwarding(host) == ["1", "1"])
    var cells: [(question: Question, expected: Answer?)] = []
    for (family, transport) in PacketTests.flows {
      for (client, server, isOpen) in [
        (routed, remote, row.onward[family] == true), (remote, routed, row.backward[family] == true),
      ] {
        cells.append(
          (
            Question(client, Target(transport, server.address(family), Topology.port), mustAnswer: isOpen),
            isOpen ? .text("\(server) saw \(client.address(family)): hello") : nil
          ))
      }
      // What it does for containers is the same in every row.
      for client in [remote, routed] {
        cells.append(
          (
            Question(client, Target(transport, topology.host.address(family), 8080), mustAnswer: true),
            .text("web saw \(client.address(family)): hello")
          ))
      }
      cells.append(
        (
          Question(topology.web, Target(transport, remote.address(family), Topology.port), mustAnswer: true),
          .text("remote saw \(topology.host.address(family)): hello")
        ))
    }
    for (cell, answer) in zip(cells, try ask(cells.map(\.question))) {
      #expect(
        cell.expected == nil ? answer.text == nil : answer == cell.expected,
        "\(cell.question.from) → \(cell.question.target)")
    }
    agent.terminate()
    _ = try await teardown(agent)
    #expect(try await forwarding(host) == AddressFamily.allCases.map { row.before[$0] == true ? "1" : "0" })
    let localnet = try await host.command("sysctl", "-n", "net.ipv4.conf.\(BridgeNetwork.web.bridge).route_localnet")
    #expect(localnet == "0\n")
    #expect(try await host.command("nft", "list", "tables").contains("pmagent") == false)
  }

  /// A network of one family turns on that one, and is closed in the other, whatever its containers listen on there.
  @Test(arguments: [false, true])
  func onlyTheFamiliesOfTheNetworksAreTurnedOn(ipv6: Bool) async throws {
    let topology = try await router(before: [.ipv6: ipv6])
    let (host, web, routed) = (topology.host, topology.web, topology.routed)
    let agent = try AgentProgram(in: host.namespace)
    try agent.succeed(
      #"{"event":"network.create","network":{"id":"n4","bridge":"br-web","subnets":["172.18.0.0/16"]}}"#)
    try agent.succeed(
      #"{"event":"container.start","container":{"id":"web","networks":[{"network":"n4","ipv4":"172.18.0.2"}],"#
        + #""publish":["8080:80","8080:80/udp"]}}"#)
    #expect(try await forwarding(host.namespace) == ["1", ipv6 ? "1" : "0"])
    let targets = [TransportProtocol.tcp, .udp].flatMap { transport in
      [
        Target(transport, host.ipv6, 8080), Target(transport, web.ipv6, Topology.port),
        Target(transport, web.ipv6, Topology.unpublished),
      ]
    }
    let control = Target(.tcp, host.ipv4, 8080)
    for client in [routed, topology.other] {
      #expect(try client.ask(targets, control: control).allSatisfy { $0.text == nil }, "\(client)")
    }
  }

  @Test func checkOnlyWarns() async throws {
    let topology = try await router(before: [.ipv6: true])
    let agent = try AgentProgram(in: topology.host.namespace, configuration: #"ip_forward = "check""#)
    let reply = try agent.create(.web)
    #expect(reply.warningCodes == ["forwarding-disabled"], "\(reply)")
    #expect(try await forwarding(topology.host.namespace) == ["0", "1"])
    agent.terminate()
    _ = try await teardown(agent)
    #expect(try await forwarding(topology.host.namespace) == ["0", "1"])
  }

  /// By a crash, by other options of the network, by what happens to other containers.
  @Test func establishedFlowsSurvive() async throws {
    let topology = try await Topology()
    let (host, remote, web) = (topology.host, topology.remote, topology.web)
    let agent = try AgentProgram(in: host.namespace)
    try agent.create(.web)
    try agent.start(web, publish: ["8080:80", "8080:80/udp"])
    let flows = try PacketTests.flows.map { family, transport in
      (
        try Flow(transport, to: host.address(family), 8080, from: remote.namespace),
        seen: "web saw \(remote.address(family)): "
      )
    }
    let outwards = try PacketTests.flows.map { family, transport in
      (
        try Flow(transport, to: remote.address(family), Topology.port, from: web.namespace),
        seen: "remote saw \(host.address(family)): "
      )
    }
    func check(_ moment: String) {
      for (flow, seen) in flows + outwards { #expect(flow.ask(moment) == .text(seen + moment)) }
    }
    check("at first")
    agent.kill()
    check("while no agent runs")
    try agent.start()
    check("after a restart")
    try agent.create(.back)
    try agent.start(topology.other, on: .back, publish: ["8081:80", "8081:80/udp"])
    try agent.stop(topology.other)
    check("after others came and went")
    for options in [["enable_icc": "false"], ["enable_ip_masquerade": "false"], ["host_ipv4": "\(host.ipv4)"]] {
      try agent.create(.web, options: options)
      check("after \(options)")
    }
  }

  // MARK: Support

  private func router(before: [AddressFamily: Bool]) async throws -> Topology {
    let topology = try await Topology()
    try await topology.host.namespace.command(
      "sysctl", "-qw", "net.ipv4.ip_forward=\(before[.ipv4] == true ? 1 : 0)",
      "net.ipv6.conf.all.forwarding=\(before[.ipv6] == true ? 1 : 0)")
    try await topology.remote.namespace.command(
      "ip", "-batch", "-",
      input: "route add 198.51.100.0/24 via \(Plan.host4)\nroute add 2001:db8:100::/64 via \(Plan.host6)")
    return topology
  }

  private func forwarding(_ host: NetworkNamespace) async throws -> [String] {
    try await host.command("sysctl", "-n", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
      .split(separator: "\n").map(String.init)
  }

  private func teardown(_ agent: AgentProgram) async throws -> String {
    try await agent.command("teardown", "--database", agent.database, "--config", agent.configuration)
  }
}
