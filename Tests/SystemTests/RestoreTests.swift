import Feed
import PortMaps
import Storage
import TestSupport
import Testing

/// The first start after a boot. A boot leaves the database and takes the kernel's table.
@Suite(.timeLimit(.minutes(2))) struct RestoreTests {
  @Test func byDefaultStoredMappingsAreBackAtOnce() async throws {
    let (topology, agent) = try await published("")
    try await reboot(agent)
    try agent.start()
    #expect(try states(agent) == ["web": "live", "neighbour": "live"])
    #expect(ask(.tcp, topology.host.ipv4, 8080, from: topology.remote.namespace).isText)
  }

  @Test(arguments: ["restore = \"confirm\"", "[source.default]\nrestore = \"confirm\""])
  func mappingsWaitForTheirSource(_ configuration: String) async throws {
    let (topology, agent) = try await published(configuration)
    let table = try await agent.table()
    try await reboot(agent)
    try agent.start()
    #expect(try states(agent) == ["web": "pending", "neighbour": "pending"])
    let answer = ask(.tcp, topology.host.ipv4, 8080, from: topology.remote.namespace)
    #expect(!answer.isText, "\(answer)")
    let status = try agent.succeed(#"{"query":"status"}"#)
    #expect(status["in_sync"] == .bool(true))
    #expect(status["degraded"]?.description.contains("awaiting-source") == true)

    // Nor without the agent.
    let command = [AgentProgram.path, "ls", "--json", "--database", agent.database]
    #expect(try await topology.host.namespace.command(command).contains(#""state":"live""#) == false)
    let ruleset = [AgentProgram.path, "ruleset", "--database", agent.database]
    #expect(try await topology.host.namespace.command(ruleset).contains("8080") == false)

    // Their ports are theirs all the same.
    let rival = try agent.send(start("rival", topology.other, "8080:80"))
    #expect(rival["error"]?["code"] == .string("port-already-allocated"))

    // Another start of the same boot changes nothing about it.
    agent.kill()
    try agent.start()
    #expect(try states(agent) == ["web": "pending", "neighbour": "pending"])

    try agent.succeed(#"{"event":"snapshot.begin"}"#)
    try agent.create(.web)
    let revision = try agent.succeed(#"{"query":"hello"}"#)["revision"]
    let reply = try agent.start(topology.web, publish: ["8080:80"])
    #expect(reply["revision"] != revision, "it is a change: pending to live")
    #expect(ask(.tcp, topology.host.ipv4, 8080, from: topology.remote.namespace).isText)
    #expect(try states(agent) == ["web": "live", "neighbour": "pending"])
    try agent.succeed(#"{"event":"snapshot.end"}"#)
    #expect(try states(agent) == ["web": "live"])
    try agent.start(topology.neighbour, publish: ["8081:80"])
    expectSameLines(try await agent.table(), table)
    // What was confirmed once is, for this boot.
    agent.kill()
    try agent.start()
    #expect(try states(agent) == ["web": "live", "neighbour": "live"])
  }

  @Test(arguments: [
    #"{"event":"container.stop","container":"web"}"#,
    #"{"event":"container.publish","container":"web","publish":["9090:80"]}"#,
    #"{"event":"container.unpublish","container":"web","publish":["8080:80"]}"#,
    #"{"event":"container.publish","container":"web","publish":["8080:80"]}"#,
  ])
  func whateverItsSourceSaysOfAContainerConfirmsIt(_ line: String) async throws {
    let (_, agent) = try await published("restore = \"confirm\"")
    try await reboot(agent)
    try agent.start()
    try agent.succeed(line)
    #expect(try !states(agent).contains { $0 == ("web", "pending") })
    #expect(try states(agent)["neighbour"] == "pending")
    #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))
  }

  /// A changed network places its containers anew; that says nothing of whether they run.
  @Test func aChangedNetworkConfirmsNobody() async throws {
    let (_, agent) = try await published("restore = \"confirm\"")
    try await reboot(agent)
    try agent.start()
    try agent.create(.web, options: ["enable_icc": "false"])
    #expect(try states(agent) == ["web": "pending", "neighbour": "pending"])
    #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))
  }

  @Test func aChangeOfMindIsHonoured() async throws {
    let (_, agent) = try await published("restore = \"confirm\"")
    try await reboot(agent)
    try agent.start()
    try agent.restart(configuration: "")
    #expect(try states(agent) == ["web": "live", "neighbour": "live"])
  }

  @Test func watchersAreTold() async throws {
    let (topology, agent) = try await published("restore = \"confirm\"")
    try await reboot(agent)
    try agent.start()
    let watcher = try agent.client()
    try watcher.send(#"{"query":"watch"}"#)
    while try watcher.receive()?["change"] != .string("ready") {}
    try agent.start(topology.web, publish: ["8080:80"])
    // So that there is something to receive in any case.
    try agent.stop(topology.neighbour)
    let line = try #require(try watcher.receive())
    #expect(line["change"] == .string("changed"))
    #expect(line["state"] == .string("live"))
  }

  // MARK: Support

  private func published(_ configuration: String) async throws -> (Topology, AgentProgram) {
    let topology = try await Topology()
    let agent = try AgentProgram(in: topology.host.namespace, configuration: configuration)
    try agent.create(.web)
    try agent.start(topology.web, publish: ["8080:80"])
    try agent.start(topology.neighbour, publish: ["8081:80"])
    return (topology, agent)
  }

  private func start(_ id: String, _ node: Node, _ publish: String) -> String {
    #"{"event":"container.start","container":{"id":"\#(id)","networks":[{"network":"\#(BridgeNetwork.web.name)","#
      + #""ipv4":"172.18.0.77"}],"publish":["\#(publish)"]}}"#
  }

  private func reboot(_ agent: AgentProgram) async throws {
    agent.kill()
    try await agent.namespace.command("nft", "flush", "ruleset")
    try await agent.namespace.command("sysctl", "-q", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
    try Database(agent.database).execute("UPDATE setting SET value = 'an earlier boot' WHERE name = 'boot_id'")
  }

  /// By container; of all its mappings, which agree.
  private func states(_ agent: AgentProgram) throws -> [String: String] {
    var states: [String: String] = [:]
    guard case .array(let mappings)? = try agent.succeed(#"{"query":"list"}"#)["mappings"] else { return [:] }
    for mapping in mappings {
      guard case .string(let name)? = mapping["name"], case .string(let state)? = mapping["state"] else { continue }
      #expect(states[name, default: state] == state)
      states[name] = state
    }
    return states
  }
}
