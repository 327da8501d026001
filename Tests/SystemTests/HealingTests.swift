import Feed
import PortMaps
import TestSupport
import Testing

/// A table that someone flushed or edited while the agent runs: the next event notices and puts all of it back.
@Suite struct HealingTests {
  @Test(arguments: ["flush ruleset", "delete table inet pmagent", "flush map inet pmagent any4"])
  func anEventHealsTheTable(edit: String) async throws {
    let topology = try await Topology()
    let agent = try AgentProgram(in: topology.host.namespace, configuration: "owner = false")
    try agent.create(.web)
    try agent.start(topology.web, publish: ["8080:80"])
    try await topology.host.namespace.command(["nft"] + edit.split(separator: " ").map(String.init))
    // Stopping needs elements that are gone; starting needs sets that are.
    try agent.start(topology.neighbour, publish: ["8081:80"])
    try agent.succeed(#"{"event":"container.stop","container":"web"}"#)
    try agent.start(topology.web, publish: ["8080:80"])
    #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))
    for (port, node) in [(8080, topology.web), (8081, topology.neighbour)] as [(UInt16, Node)] {
      let answer = ask(.tcp, topology.host.ipv4, port, from: topology.remote.namespace)
      #expect(answer == .text("\(node) saw \(topology.remote.ipv4): hello"))
    }
  }
}
