import Feed
import Glibc
import PortMaps
import TestSupport
import Testing

/// The agent comes and goes; mappings, flows and other people's rules stay.
@Suite(.timeLimit(.minutes(2))) struct LifeCycleTests {
  /// `web` publishes port 8080, tcp and udp.
  private func running(_ configuration: String = "", keepsSocket: Bool = true) async throws -> (Topology, AgentProgram)
  {
    let topology = try await Topology()
    let agent = try AgentProgram(in: topology.host.namespace, configuration: configuration, keepsSocket: keepsSocket)
    try agent.create(.web)
    try agent.start(topology.web, publish: ["8080:80", "8080:80/udp"])
    return (topology, agent)
  }

  private func answers(_ topology: Topology) -> [String?] {
    PacketTests.flows.map { family, transport in
      ask(transport, topology.host.address(family), 8080, from: topology.remote.namespace).text
    }
  }

  private func everybody(_ topology: Topology) -> [String?] {
    PacketTests.flows.map { family, _ in "web saw \(topology.remote.address(family)): hello" }
  }

  @Test func flowsSurviveACrashAndARestart() async throws {
    let (topology, agent) = try await running()
    let flows = try PacketTests.flows.map { family, transport in
      try Flow(transport, to: topology.host.address(family), 8080, from: topology.remote.namespace)
    }
    let ask = { (payload: String) in flows.map { $0.ask(payload).text?.hasSuffix(": \(payload)") } }
    #expect(ask("before") == [true, true, true, true])
    let (table, generation) = (try await agent.table(), try agent.generation())
    agent.kill()
    #expect(ask("without an agent") == [true, true, true, true])
    #expect(answers(topology) == everybody(topology))
    try agent.start()
    #expect(try agent.generation() == generation, "nothing was written")
    expectSameLines(try await agent.table(), table)
    #expect(ask("after") == [true, true, true, true])
    #expect(try agent.succeed(#"{"query":"status"}"#)["held_ports"] == .integer(4))
  }

  @Test func mappingsStayWhenTheAgentIsStopped() async throws {
    let (topology, agent) = try await running()
    let (table, generation) = (try await agent.table(), try agent.generation())
    #expect(agent.terminate() == 0)
    #expect(answers(topology) == everybody(topology))
    expectSameLines(try await agent.table(), table)
    #expect(try agent.generation() == generation)
    #expect(access(agent.socket, F_OK) != 0, "the socket's file is gone")
  }

  @Test func aWipedKernelGetsEverythingBackAtTheStart() async throws {
    let (topology, agent) = try await running(keepsSocket: false)
    let (table, list) = (try await agent.table(), try agent.succeed(#"{"query":"list"}"#))
    agent.kill()
    try await topology.host.namespace.command("nft", "flush", "ruleset")
    let control = Target(.tcp, topology.web.ipv4, Topology.port)
    #expect(try topology.routed.ask([Target(.tcp, topology.host.ipv4, 8080)], control: control)[0].text == nil)
    try agent.start()
    expectSameLines(try await agent.table(), table)
    #expect(try agent.succeed(#"{"query":"list"}"#) == list)
    #expect(answers(topology) == everybody(topology))
  }

  @Test func teardownLeavesTheHostAsItWas() async throws {
    let topology = try await Topology()
    let host = topology.host.namespace
    let sysctls = [
      "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.conf.\(Plan.bridge).route_localnet",
    ]
    let (before, ruleset) = (
      try await host.command(["sysctl"] + sysctls), try await host.command("nft", "list", "ruleset")
    )
    let agent = try AgentProgram(in: host)
    try agent.create(.web)
    try agent.start(topology.web, publish: ["8080:80"])
    // Restarts remember the administrator's values, not ours.
    agent.kill()
    try agent.start()
    let teardown = [AgentProgram.path, "teardown", "--database", agent.database, "--config", agent.configuration]
    #expect(try await host.command(["sysctl"] + sysctls) != before)
    let refused = try await host.outcome(of: teardown)
    #expect(refused.exitCode == 1)
    #expect(refused.errors.contains("process \(agent.process)"))
    agent.terminate()
    try await host.command(teardown)
    #expect(try await host.command(["sysctl"] + sysctls) == before)
    #expect(try await host.command("nft", "list", "ruleset") == ruleset)
    // The database is still there: the next start brings all of it back.
    try agent.start()
    #expect(answers(topology).first == everybody(topology).first)
  }

  /// What an earlier boot had is not what the administrator has set since.
  @Test func teardownLeavesSettingsOfAnotherBoot() async throws {
    let topology = try await Topology()
    let host = topology.host.namespace
    let agent = try AgentProgram(in: host)
    try agent.create(.web)
    agent.terminate()
    try await host.command(
      "sqlite3", agent.database, "UPDATE setting SET value = 'an earlier boot' WHERE name = 'boot_id'")
    let teardown = [AgentProgram.path, "teardown", "--database", agent.database, "--config", agent.configuration]
    #expect(try await host.command(teardown).contains("sysctl net/ipv4/ip_forward stays 1"))
    #expect(try await host.command("sysctl", "-n", "net.ipv4.ip_forward") == "1\n")
  }

  @Test func withoutAFirewallNothingStays() async throws {
    let (topology, agent) = try await running()
    agent.terminate()
    try write("firewall = false\n", to: agent.configuration)
    try agent.start()
    try agent.waitForLog("the table of an earlier run is removed")
    #expect(try await topology.host.namespace.command("nft", "list", "tables") == "")
    try write("", to: agent.configuration)
    agent.terminate()
    try agent.start()
    #expect(answers(topology).first == everybody(topology).first)
  }

  /// By the agent or, with `1`, by somebody else before it.
  @Test(arguments: ["0", "1"])
  func forwardingThatSomebodyTurnedOffIsReportedAndTurnedOnAgain(before: String) async throws {
    let topology = try await Topology()
    let host = topology.host.namespace
    try await host.command("sysctl", "-qw", "net.ipv4.ip_forward=\(before)")
    let agent = try AgentProgram(in: host)
    try agent.create(.web)
    let sysctls = ["net.ipv4.ip_forward", "net.ipv4.conf.\(Plan.bridge).route_localnet"]
    for sysctl in sysctls { try await host.command("sysctl", "-qw", "\(sysctl)=0") }
    func codes() throws -> Bool {
      try agent.succeed(#"{"query":"status"}"#)["degraded"]?.description.contains("forwarding-disabled") == true
    }
    #expect(try codes())
    try agent.succeed(#"{"event":"reconcile"}"#)
    #expect(try !codes())
    #expect(try await host.command(["sysctl", "-n"] + sysctls) == "1\n1\n")
  }

  @Test func aSecondAgentIsRefusedAndChangesNothing() async throws {
    let (_, agent) = try await running()
    let before = try await agent.state()
    let directory = try TemporaryDirectory()
    let sameDatabase = try await agent.startAnother(socket: directory.path + "/a.sock", database: agent.database)
    #expect(sameDatabase.exitCode == 1)
    #expect(sameDatabase.errors.contains("process \(agent.process)"), "\(sameDatabase.errors)")
    let sameSocket = try await agent.startAnother(socket: agent.socket, database: directory.path + "/a.db")
    #expect(sameSocket.exitCode == 1)
    #expect(
      sameSocket.errors.contains("(process \(agent.process)) listens on \(agent.socket)"), "\(sameSocket.errors)")
    // With a database of its own it would take the other's elements for foreign ones.
    let sameTable = try await agent.startAnother(socket: directory.path + "/a.sock", database: directory.path + "/a.db")
    #expect(sameTable.exitCode == 1)
    #expect(sameTable.errors.contains("table inet pmagent"), "\(sameTable.errors)")
    var after = try await agent.state()
    // The connection that found out whether somebody listens may still be closing.
    after.sockets = before.sockets
    #expect(after.differences(from: before) == [])
    #expect(try agent.succeed(#"{"query":"status"}"#)["held_ports"] == .integer(4))
  }

  /// Whoever asks it who it is stays in its queue, which is full after the first here.
  @Test func anAgentThatCannotBeAskedIsOneAllTheSame() async throws {
    let namespace = try NetworkNamespace()
    try await namespace.command("sysctl", "-qw", "net.core.somaxconn=0")
    let agent = try AgentProgram(in: namespace)
    let directory = try TemporaryDirectory()
    for holder in ["process \(agent.process)", "ss -xlp src @pmagent-table"] {
      let other = try await agent.startAnother(socket: directory.path + "/a.sock", database: directory.path + "/a.db")
      #expect(other.exitCode == 1)
      #expect(other.errors.contains("another pmagent (\(holder)"), "\(other.errors)")
    }
  }

  @Test func aReloadedConfigurationIsAppliedOrRefusedAsAWhole() async throws {
    let (topology, agent) = try await running()
    let control = Target(.tcp, topology.host.ipv4, 8080)
    let direct = PacketTests.flows.map { Target($1, topology.web.address($0), Topology.port) }
    func answered() throws -> Int { try topology.routed.ask(direct, control: control).filter { $0.text != nil }.count }
    #expect(try answered() == 4)

    try write("direct_routing = \"deny\"\n", to: agent.configuration)
    agent.signal(SIGHUP)
    try agent.waitForLog("configuration read again")
    #expect(try answered() == 0)
    #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))

    let (table, generation) = (try await agent.table(), try agent.generation())
    try write("direct_routing = \"allow\"\nno_such_key = 1\n", to: agent.configuration)
    agent.signal(SIGHUP)
    try agent.waitForLog("no_such_key")
    expectSameLines(try await agent.table(), table)
    #expect(try agent.generation() == generation)
  }
}
