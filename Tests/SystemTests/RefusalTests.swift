import Feed
import Netfilter
import PortMaps
import Storage
import TestSupport
import Testing

/// A refused request leaves nothing: not in the database, not in the kernel, not as a held port.
@Suite(.timeLimit(.minutes(2))) struct RefusalTests {
  struct Row: Sendable, CustomStringConvertible {
    let code: ErrorCode
    let line: String
    init(_ code: ErrorCode, _ line: String) { (self.code, self.line) = (code, line) }
    var description: String { "\(code.rawValue): \(line.prefix(100))" }
  }

  private static func start(_ publish: String, networks: String = #"{"network":"web-net","ipv4":"172.18.0.9"}"#)
    -> String
  {
    #"{"event":"container.start","container":{"id":"late","networks":[\#(networks)],"publish":[\#(publish)]}}"#
  }
  private static func create(
    _ id: String = "late", name: String = "late", internal: Bool = false, source: String = "default",
    options: String = ""
  ) -> String {
    #"{"event":"network.create","source":"\#(source)","network":{"id":"\#(id)","name":"\#(name)","bridge":"br-late","#
      + #""internal":\#(`internal`),"subnets":["172.20.0.0/16"],"options":{\#(options)}}}"#
  }
  private static func option(_ name: String, _ value: String) -> String {
    create(options: #""com.docker.network.bridge.\#(name)":"\#(value)""#)
  }

  /// `web` has published 8080 and is on `web-net`; another program listens on 9998 and 9999.
  static let rows = [
    Row(.badJSON, #"{"event":"#),
    Row(.badRequest, #"{"event":"container.start"}"#),
    Row(.badRequest, #"{"event":"snapshot.end"}"#),
    Row(.unknownField, #"{"event":"container.stop","container":"web","force":true}"#),
    Row(.unknownEvent, #"{"event":"container.pause","container":"web"}"#),
    Row(.unknownQuery, #"{"query":"everything"}"#),
    Row(.badPublish, start(#""8090:80","99999:80""#)),
    Row(.badAddress, start(#""8090:80""#, networks: #"{"network":"web-net","ipv4":"172.19.0.9"}"#)),
    Row(.unknownNetwork, start(#""8090:80""#, networks: #"{"network":"nowhere","ipv4":"172.18.0.9"}"#)),
    Row(.unknownContainer, #"{"event":"container.publish","container":"late","publish":["8090:80"]}"#),
    Row(.networkInUse, #"{"event":"network.remove","network":"web-net"}"#),
    Row(.duplicateName, create(name: "web-net")),
    Row(.isolatedNeedsInternal, option("gateway_mode_ipv4", "isolated")),
    Row(.unknownGatewayMode, option("gateway_mode_ipv4", "bridged")),
    Row(.badDefaultBind, option("host_binding_ipv4", "localhost")),
    Row(.badOption, option("enable_icc", "perhaps")),
    // The first port was free, and is free again.
    Row(.portAlreadyAllocated, start(#""8090:80","8080:81""#)),
    Row(.portAlreadyAllocated, start(#""8090:80","8090:80""#)),
    Row(.hostPortInUse, start(#""8090:80","9999:81""#)),
    Row(.portsExhausted, start(#""8090:80","9998-9999:81""#)),
    Row(.addressNotAvailable, start(#""8090:80","224.0.0.1:8091:81""#)),
    Row(.portAlreadyAllocated, #"{"event":"container.publish","container":"web","publish":["8090:80","8080:81"]}"#),
    Row(.hostPortInUse, #"{"event":"container.publish","container":"web","publish":["8090:80","9999:81"]}"#),
    Row(.notPermitted, create("web-net", name: "web-net", source: "another")),
    Row(
      .limitExceeded,
      start(
        #""8090:80""#,
        networks: Array(repeating: #"{"network":"web-net","ipv4":"172.18.0.9"}"#, count: 1025).joined(separator: ","))),
  ]

  @Test func everyRefusalLeavesNothing() async throws {
    let topology = try await Topology()
    let host = topology.host.namespace
    let programs = try host.run { () throws(SystemError) in
      [
        try serverSocket(.tcp, .any(.ipv6), 9998, dualStack: true),
        try serverSocket(.tcp, .any(.ipv6), 9999, dualStack: true),
      ]
    }
    defer { withExtendedLifetime(programs) {} }
    let agent = try AgentProgram(in: host)
    try agent.create(.web)
    try agent.start(topology.web, publish: ["8080:80"])
    let before = try await agent.state()
    for row in Self.rows {
      let reply = try agent.send(row.line)
      #expect(reply["ok"] == .bool(false) && reply.errorCode == row.code.rawValue, "\(row): \(reply)")
      #expect(try await agent.state().differences(from: before) == [], "\(row)")
      // A port that was held by mistake would be refused now.
      let free = try host.run { () throws(SystemError) in try serverSocket(.tcp, .any(.ipv4), 8090) }
      withExtendedLifetime(free) {}
    }
    // Elsewhere: `BadClientTests`, and below. Nobody can ask an agent that shuts down.
    let elsewhere: Set<ErrorCode> = [.lineTooLong, .kernelRefused, .storageFailed, .shuttingDown]
    #expect(Set(Self.rows.map(\.code)).union(elsewhere) == Set(ErrorCode.allCases))
  }

  /// All of it in one round: the good ones go through, the bad ones leave nothing.
  @Test func refusedRequestsDoNotHarmTheirNeighbours() async throws {
    let topology = try await Topology()
    let agent = try AgentProgram(in: topology.host.namespace)
    try agent.create(.web)
    let line = { (id: Int, port: String) in
      #"{"id":\#(id),"event":"container.start","container":{"id":"c\#(id)","networks":[{"network":"web-net","#
        + #""ipv4":"172.18.1.\#(id)"}],"publish":["\#(port)"]}}"#
    }
    let replies = try agent.client().ask([
      line(1, "8001:80"), line(2, "8001:80"), line(3, "8003:80"), line(4, "bad"), line(5, "8005:80"),
    ])
    #expect(replies.map { $0["id"] } == (1...5).map { .integer($0) })
    #expect(replies.map(\.errorCode) == [nil, "port-already-allocated", nil, "bad-publish", nil])
    let mappings = try #require(try agent.succeed(#"{"query":"list"}"#).mappings)
    #expect(mappings.map { $0["host_port"] } == [.integer(8001), .integer(8003), .integer(8005)])
    #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))
  }

  @Test func whatTheKernelRefusesLeavesNothing() async throws {
    let topology = try await Topology()
    let host = topology.host.namespace
    let agent = try AgentProgram(in: host, configuration: "owner = false")
    try agent.create(.web)
    try agent.start(topology.web, publish: ["8080:80"])
    let flow = try Flow(.tcp, to: topology.host.ipv4, 8080, from: topology.remote.namespace)
    let answer = flow.ask("hello")
    #expect(answer.text != nil)
    let list = try agent.succeed(#"{"query":"list"}"#)
    let table = try await agent.table()
    // Another program makes our table its own: nothing the agent could repair.
    let thief = try host.run { () throws(KernelError) in try KernelRuleset.open(owner: true) }
    try thief.apply(RulesetChange(), skeleton: .rebuild)
    let stop = #"{"event":"container.stop","container":"web"}"#
    for round in [
      [Self.start(#""8090:80","8091:80""#)],
      [#"{"event":"container.publish","container":"web","publish":["8090:80","8091:81"]}"#],
      [#"{"event":"container.unpublish","container":"web","publish":["8080:80"]}"#],
      [stop, Self.start(#""127.0.0.1:8080:80""#)],
      [#"{"event":"container.stop","container":"web","reset":true}"#],
      [
        Self.create(),
        #"{"event":"network.create","network":{"id":"web-net","bridge":"br-other","subnets":["172.18.0.0/16","2001:db8:18::/64"]}}"#,
      ],
    ] {
      let replies = try agent.client().ask(round)
      #expect(replies[0].errorCode == "kernel-refused", "\(replies)")
      #expect(try agent.succeed(#"{"query":"list"}"#) == list, "\(round)")
      #expect(try agent.succeed(#"{"query":"status"}"#)["held_ports"] == .integer(2), "\(round)")
    }
    try thief.deleteTable()
    _ = try await agent.command("reconcile", "--socket", agent.socket)
    expectSameLines(try await agent.table(), table)
    // And nothing is in its way when the reason is gone.
    try agent.succeed(Self.start(#""8090:80","8091:80""#))
    // Stale flows of that have ended when the next request is answered; none did for the stop that was put back.
    try agent.succeed(#"{"query":"hello"}"#)
    #expect(try !read(agent.log).contains("stale flows ended"))
    #expect(flow.ask("hello") == answer)
    try agent.stop(topology.web)
    #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))
  }

  @Test func whatTheDatabaseRefusesLeavesNothing() async throws {
    let topology = try await Topology()
    let agent = try AgentProgram(in: topology.host.namespace)
    try agent.create(.web)
    try agent.start(topology.web, publish: ["8080:80"])
    let before = try await agent.state()
    // A person with sqlite3(1) who holds the write lock for longer than the agent waits.
    let person = try Database(agent.database)
    try person.execute("BEGIN IMMEDIATE")
    let reply = try agent.send(Self.start(#""8090:80""#))
    try person.execute("ROLLBACK")
    #expect(reply.errorCode == "storage-failed", "\(reply)")
    #expect(try await agent.state().differences(from: before) == [])
    try agent.succeed(Self.start(#""8090:80""#))
  }
}
