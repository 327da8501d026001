import Feed
import Glibc
import Netfilter
import PortMaps
import TestSupport
import Testing

/// A table that belongs to the agent's socket.
@Suite(.timeLimit(.minutes(2))) struct OwnershipTests {
  /// The tables of an agent that did not own them are in the way of none that does.
  @Test func plainTablesBecomeOwned() async throws {
    let namespace = try NetworkNamespace()
    try await namespace.command("ip", "link", "set", "lo", "up")
    let agent = try AgentProgram(in: namespace, configuration: "owner = false\n")
    try agent.create(.web)
    agent.terminate()
    try write("", to: agent.configuration)
    try agent.start()
    let status = try agent.succeed(#"{"query":"status"}"#)
    #expect(status["owner"] == .bool(true) && status["in_sync"] == .bool(true))
    #expect(status["degraded"]?.description.contains("ipv6-loopback") == false, "\(status)")
    for table in ["inet", "ip6"] {
      #expect(try await namespace.command("nft", "list", "table", table, "pmagent").contains("flags owner"), "\(table)")
    }
  }

  @Test func nobodyElseCanChangeTheTable() async throws {
    let (topology, agent) = try await published()
    let host = topology.host.namespace
    let before = try await agent.state()
    for edit in [
      "delete table inet pmagent", "flush map inet pmagent any4", "add rule inet pmagent forward accept",
      "delete table ip6 pmagent",
    ] {
      let outcome = try await host.outcome(of: ["nft", edit])
      #expect(outcome.exitCode == 1 && outcome.errors.contains("Operation not permitted"), "\(edit)")
    }
    try await host.command("nft", "flush", "ruleset")
    #expect(try await agent.state().ruleset == before.ruleset)
    expectAnswer(topology)
  }

  /// What a crashed agent has left behind is adopted: one transaction a table, and nothing in it but that. A table that was
  /// written again would have another handle; its rules would have the same ones.
  @Test func aTableWithoutOwnerIsAdopted() async throws {
    let (topology, agent) = try await published()
    agent.kill()
    let orphan = try await withoutOwner(topology.host.namespace)
    let generation = try agent.generation()
    expectAnswer(topology)
    try agent.start()
    #expect(try agent.generation() == generation + 2)
    #expect(try await withoutOwner(topology.host.namespace) == orphan)
    #expect(try await topology.host.namespace.outcome(of: ["nft", "delete", "table", "inet", "pmagent"]).exitCode == 1)
    expectAnswer(topology)
  }

  /// With the socket in the service manager's hands, the table is nobody else's while no agent runs, and the next one
  /// writes nothing at all.
  @Test func aSocketThatWasKeptOwnsTheTable() async throws {
    let topology = try await Topology()
    let agent = try AgentProgram(in: topology.host.namespace, keepsSocket: true)
    try agent.create(.web)
    try agent.start(topology.web, publish: ["8080:80"])
    for _ in 1...3 {
      agent.kill()
      try await topology.host.namespace.command("nft", "flush", "ruleset")
      expectAnswer(topology)
      let generation = try agent.generation()
      let edit = try await topology.host.namespace.outcome(of: ["nft", "flush", "map", "inet", "pmagent", "any4"])
      #expect(edit.exitCode == 1)
      try agent.start()
      #expect(try agent.generation() == generation)
      try agent.start(topology.neighbour, publish: ["8081:80"])
      try agent.stop(topology.neighbour)
    }
    #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))
    expectAnswer(topology)
  }

  /// Answers that the crashed process did not read are not taken for answers to its successor.
  @Test func aKeptSocketIsEmptiedFirst() throws {
    let namespace = try NetworkNamespace()
    let first = try namespace.open(owner: true)
    try first.apply(RulesetChange(), skeleton: .rebuild)
    let socket = try #require(first.descriptor)
    // NFT_MSG_GETTABLE without a name, which is refused, with the sequence numbers a new agent begins with.
    for sequence in 1...2 as ClosedRange<UInt8> {
      let request: [UInt8] = [20, 0, 0, 0, 1, 10, 1, 0, sequence, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
      #expect(send(socket, request, request.count, 0) == request.count)
    }
    let second = try namespace.run { () throws(KernelError) in try KernelRuleset.open(owner: true, on: dup(socket)) }
    #expect(second.portID == first.portID)
    #expect(try second.read()?.skeletonIsCurrent == true)
  }

  @Test func aSocketOfAnotherNamespaceIsRefused() throws {
    let elsewhere = try NetworkNamespace().open()
    let namespace = try NetworkNamespace()
    let socket = try #require(elsewhere.descriptor)
    #expect(throws: KernelError.self) {
      try namespace.run { () throws(KernelError) in try KernelRuleset.open(owner: true, on: dup(socket)) }
    }
    #expect(throws: KernelError.self) {
      try namespace.run { () throws(KernelError) in try KernelRuleset.open(owner: true, on: open("/dev/null", O_RDWR)) }
    }
  }

  @Test func aKeptSocketThatCannotBeExaminedIsClosed() throws {
    let kept = open("/dev/null", O_RDWR)
    let descriptors = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    var limit = rlimit()
    getrlimit(descriptors, &limit)
    var none = rlimit(rlim_cur: 0, rlim_max: limit.rlim_max)
    setrlimit(descriptors, &none)
    defer { setrlimit(descriptors, &limit) }
    let error = #expect(throws: KernelError.self) { try KernelRuleset.open(owner: true, on: kept) }
    #expect(error == .system(operation: "open a netlink socket", errno: EMFILE))
    #expect(fcntl(kept, F_GETFD) == -1)
  }

  @Test func ownershipFollowsTheConfiguration() async throws {
    let (topology, agent) = try await published()
    for owner in [false, true, false] {
      try agent.restart(configuration: "owner = \(owner)")
      #expect(try agent.succeed(#"{"query":"status"}"#)["owner"] == .bool(owner))
      #expect(try await agent.table().contains("flags owner") == owner)
      expectAnswer(topology)
    }
  }

  @Test func teardownRemovesWhatNobodyOwnsAnyMore() async throws {
    let (topology, agent) = try await published()
    agent.kill()
    _ = try await agent.command("teardown", "--database", agent.database, "--config", agent.configuration)
    #expect(try await topology.host.namespace.command("nft", "list", "ruleset") == "")
  }

  // MARK: Maintenance

  @Test func maintenanceLetsAnAdministratorInAndOutAgain() async throws {
    let (topology, agent) = try await published()
    let host = topology.host.namespace
    let before = try await agent.table()
    _ = try await agent.command(
      "maintenance", "--socket", agent.socket, "--", "nft", "insert", "rule", "inet", "pmagent", "forward", "drop")
    try agent.waitForLog("kernel table rebuilt")
    expectSameLines(try await agent.table(), before)
    expectAnswer(topology)
    #expect(try await host.outcome(of: ["nft", "flush", "map", "inet", "pmagent", "any4"]).exitCode == 1)
  }

  /// Containers come and go meanwhile, and a client that vanishes ends it too.
  @Test func eventsGoOnDuringMaintenance() async throws {
    let (topology, agent) = try await published()
    let host = topology.host.namespace
    do {
      let administrator = try agent.client()
      #expect(try administrator.ask(#"{"event":"maintenance.begin"}"#)["ok"] == .bool(true))
      try await host.command("nft", "add element inet pmagent any4 { tcp . 99 : 172.18.0.2 . 80 }")
      try agent.start(topology.neighbour, publish: ["8081:80"])
      #expect(ask(.tcp, topology.host.ipv4, 8081, from: topology.remote.namespace).isText)
      let status = try agent.succeed(#"{"query":"status"}"#)
      #expect(status["degraded"]?.description.contains(#""code":"maintenance""#) == true)
      #expect(try await agent.table().contains("tcp . 99"))
    }
    try agent.waitForLog("maintenance ended")
    #expect(try await !agent.table().contains("tcp . 99"))
    #expect(try await host.outcome(of: ["nft", "flush", "map", "inet", "pmagent", "any4"]).exitCode == 1)
    #expect(ask(.tcp, topology.host.ipv4, 8081, from: topology.remote.namespace).isText)
  }

  @Test func maintenanceEndsOnceAllAdministratorsAreDone() async throws {
    let (_, agent) = try await published()
    let (one, other) = (try agent.client(), try agent.client())
    let line = { (verb: String) in #"{"event":"maintenance.\#(verb)"}"# }
    for client in [one, other] { #expect(try client.ask(line("begin"))["ok"] == .bool(true)) }
    #expect(try one.ask(line("end"))["ok"] == .bool(true))
    #expect(try agent.succeed(#"{"query":"status"}"#)["owner"] == .bool(false))
    #expect(try one.ask(line("end"))["ok"] == .bool(false))
    #expect(try other.ask(line("end"))["ok"] == .bool(true))
    #expect(try agent.succeed(#"{"query":"status"}"#)["owner"] == .bool(true))
  }

  // MARK: Support

  private func published() async throws -> (Topology, AgentProgram) {
    let topology = try await Topology()
    let agent = try AgentProgram(in: topology.host.namespace)
    try agent.create(.web)
    try agent.start(topology.web, publish: ["8080:80"])
    return (topology, agent)
  }

  private func expectAnswer(_ topology: Topology) {
    let answer = ask(.tcp, topology.host.ipv4, 8080, from: topology.remote.namespace)
    #expect(answer == .text("web saw \(topology.remote.ipv4): hello"))
  }

  /// Both tables with their handles, and without what tells of the owner.
  private func withoutOwner(_ namespace: NetworkNamespace) async throws -> [Substring] {
    try await namespace.command("nft", "-as", "list", "ruleset").replacing(" progname pmagent", with: "")
      .split(separator: "\n").filter { !$0.contains("flags") }
  }
}

extension NetworkNamespace {
  fileprivate func open(owner: Bool = false) throws(KernelError) -> KernelRuleset {
    try run { () throws(KernelError) in try KernelRuleset.open(owner: owner) }
  }
}
