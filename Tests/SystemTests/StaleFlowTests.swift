import Feed
import PortMaps
import TestSupport
import Testing

/// NAT is decided by a flow's first packet: what a change makes stale must end, and nothing else.
@Suite struct StaleFlowTests {
  private func publish(
    _ node: Node, _ network: String, _ agent: AgentProgram, _ transports: [TransportProtocol] = [.udp, .tcp]
  ) throws {
    let ports = transports.map { #""5300:80/\#($0)""# }.joined(separator: ",")
    try agent.succeed(
      #"{"event":"container.start","container":{"id":"\#(node)","networks":[{"network":"\#(network)","#
        + #""ipv4":"\#(node.ipv4)","ipv6":"\#(node.ipv6)"}],"publish":[\#(ports)]}}"#)
  }

  /// Stale flows end after the reply, so the first packets may still take the old way: asks until `wanted` comes.
  private func eventually(_ flow: Flow, _ wanted: String?, _ comment: Comment? = nil) {
    let deadline = ContinuousClock.now + .seconds(10)
    var answer = flow.ask("hello").text
    while answer != wanted, .now < deadline { answer = flow.ask("hello").text }
    #expect(answer == wanted, comment)
  }

  @Test(arguments: AddressFamily.allCases)
  func aUDPFlowFollowsItsPort(family: AddressFamily) async throws {
    let topology = try await Topology()
    let agent = try AgentProgram(in: topology.host.namespace)
    try agent.create(.web)
    try agent.create(.back)
    let (host, client) = (topology.host.address(family), topology.remote)
    // One socket all the time: to the kernel it is one flow.
    let flow = try Flow(.udp, to: host, 5300, from: client.namespace, seconds: 1)
    // Nobody is there yet: the flow is tracked as one to the host itself.
    #expect(flow.ask("hello").text == nil)
    try publish(topology.web, "web-net", agent)
    eventually(flow, "web saw \(client.address(family)): hello")
    try agent.succeed(#"{"event":"container.stop","container":"web"}"#)
    try publish(topology.other, "back-net", agent)
    eventually(flow, "other saw \(client.address(family)): hello")
    try agent.succeed(#"{"event":"container.stop","container":"other"}"#)
    eventually(flow, nil)
  }

  @Test func aFlowThatCouldNotBeEndedIsTriedAgain() async throws {
    let topology = try await Topology()
    let agent = try AgentProgram(in: topology.host.namespace)
    try agent.create(.web)
    let flow = try Flow(.udp, to: topology.host.ipv4, 5300, from: topology.remote.namespace, seconds: 1)
    #expect(flow.ask("hello").text == nil)
    func limit(_ descriptors: String) async throws {
      try await agent.namespace.command("prlimit", "--pid", "\(agent.process)", "--nofile=\(descriptors):4096")
    }
    try await limit("1")
    try publish(topology.web, "web-net", agent)
    try agent.waitForLog("could not end stale flows")
    #expect(flow.ask("hello").text == nil)
    try await limit("4096")
    eventually(flow, "web saw \(topology.remote.ipv4): hello")
  }

  /// One that needs no translation goes on as well, past whoever has the address next.
  @Test(arguments: AddressFamily.allCases)
  func aFlowStraightToTheContainerEndsWithItsPort(family: AddressFamily) async throws {
    let topology = try await Topology()
    let agent = try AgentProgram(in: topology.host.namespace)
    try agent.create(.web)
    let (web, client) = (topology.web, topology.routed)
    let answer = "web saw \(client.address(family)): hello"
    let reset = #"{"event":"container.stop","container":"web","reset":true}"#
    for (transport, stop) in [(.udp, #"{"event":"container.stop","container":"web"}"#), (.tcp, reset)]
      as [(TransportProtocol, String)]
    {
      try publish(web, "web-net", agent)
      let flow = try Flow(transport, to: web.address(family), 80, from: client.namespace, seconds: 1)
      eventually(flow, answer)
      // Another port comes and goes.
      try agent.succeed(#"{"event":"container.publish","container":"web","publish":["5301:81/udp"]}"#)
      try agent.succeed(#"{"event":"container.unpublish","container":"web","publish":["5301:81/udp"]}"#)
      #expect(flow.ask("hello").text == answer)
      try agent.succeed(stop)
      eventually(flow, nil, "\(transport)")
    }
  }

  @Test(arguments: AddressFamily.allCases)
  func tcpFinishesUnlessItIsReset(family: AddressFamily) async throws {
    let topology = try await Topology()
    let agent = try AgentProgram(in: topology.host.namespace)
    try agent.create(.web)
    let (host, client) = (topology.host.address(family), topology.remote)
    let answer = Answer.text("web saw \(client.address(family)): hello")

    try publish(topology.web, "web-net", agent)
    let left = try Flow(.tcp, to: host, 5300, from: client.namespace)
    #expect(left.ask("hello") == answer)
    try agent.succeed(#"{"event":"container.stop","container":"web"}"#)
    #expect(left.ask("hello") == answer, "a flow of a removed mapping is left to finish")
    #expect(ask(.tcp, host, 5300, from: client.namespace, seconds: 1).text == nil)

    // With tcp alone, too.
    try publish(topology.web, "web-net", agent, [.tcp])
    let reset = try Flow(.tcp, to: host, 5300, from: client.namespace, seconds: 1)
    #expect(reset.ask("hello") == answer)
    try agent.succeed(#"{"event":"container.stop","container":"web","reset":true}"#)
    eventually(reset, nil, "reset ends it")
  }
}
