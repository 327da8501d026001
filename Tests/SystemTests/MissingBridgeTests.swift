import Feed
import PortMaps
import TestSupport
import Testing

/// A bridge that somebody deletes under containers that run.
@Suite(.timeLimit(.minutes(2))) struct MissingBridgeTests {
  @Test func aMissingBridgeIsReportedUntilItIsBack() async throws {
    let topology = try await Topology()
    let (host, bridge) = (topology.host.namespace, Plan.bridge)
    let agent = try AgentProgram(in: host)
    try agent.create(.web)
    try agent.start(topology.web, publish: ["8080:80"])
    let degraded = { try agent.succeed(#"{"query":"status"}"#)["degraded"]?.description ?? "" }
    #expect(try degraded() == "[]")

    try await host.command("ip", "link", "del", bridge)
    try agent.waitForLog("a bridge is missing", bridge)
    #expect(try degraded().contains(#""code":"bridge-missing""#))
    #expect(try degraded().contains("network web-net: this host has no bridge \(bridge)"))
    #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))

    agent.kill()
    try agent.start()
    #expect(try read(agent.log).ranges(of: "a bridge is missing").count == 2, "a start says so too")
    #expect(try degraded().contains("bridge-missing"))

    try await host.command(
      "ip", "-batch", "-",
      input: """
        link add \(bridge) type bridge
        link set \(bridge) up
        link set v-web master \(bridge)
        address add \(BridgeNetwork.web.gateway(.ipv4))/16 dev \(bridge)
        """)
    try agent.waitForLog("a bridge is back", bridge)
    #expect(try degraded() == "[]")
    #expect(ask(.tcp, topology.host.ipv4, 8080, from: topology.remote.namespace).isText)
  }

  /// Podman removes a network's bridge with its last container.
  @Test func nobodyMissesTheBridgeOfNoContainers() async throws {
    let host = try NetworkNamespace()
    let agent = try AgentProgram(in: host)
    try agent.create(.web)
    #expect(try agent.succeed(#"{"query":"status"}"#)["degraded"] == .array([]))
  }
}
