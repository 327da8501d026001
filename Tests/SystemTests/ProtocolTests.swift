import Feed
import PortMaps
import TestSupport
import Testing

/// What the wire contract promises about events and replies, through the running agent.
@Suite(.timeLimit(.minutes(2))) struct ProtocolTests {
  private static func start(
    _ publish: String, id: String = "web", generation: Int? = nil, networks: String? = nil
  ) -> String {
    let generation = generation.map { #""generation":\#($0),"# } ?? ""
    let networks = networks ?? #"{"network":"web-net","ipv4":"172.18.0.2","ipv6":"2001:db8:18::2"}"#
    return #"{"event":"container.start","container":{"id":"\#(id)",\#(generation)"networks":[\#(networks)],"#
      + #""publish":[\#(publish)]}}"#
  }
  private static func stop(_ id: String = "web", _ more: String = "") -> String {
    #"{"event":"container.stop","container":"\#(id)"\#(more)}"#
  }

  private func running() throws -> AgentProgram {
    let agent = try AgentProgram(in: try NetworkNamespace())
    try agent.create(.web)
    return agent
  }

  private func hostPorts(_ agent: AgentProgram) throws -> [String] {
    try #require(try agent.succeed(#"{"query":"list"}"#).mappings).map {
      "\($0["host_ip"]?.text ?? "?") \($0["host_port"] ?? .null) \($0["container_ip"]?.text ?? "?")"
    }
  }

  @Test func generationsOrderStartsAndStops() throws {
    let agent = try running()
    let reply = try agent.succeed(Self.start(#""8080:80""#, generation: 3))
    let state = (try agent.generation(), try hostPorts(agent))
    // Overtaken by a newer start: they change nothing, and say what is.
    for line in [Self.start(#""9090:80""#, generation: 2), Self.start(#""8080:80""#, generation: 3)] {
      #expect(try agent.send(line) == reply)
    }
    #expect(try agent.succeed(Self.stop("web", #","generation":2"#))["revision"] == reply["revision"])
    #expect(try (agent.generation(), hostPorts(agent)) == state)
    try agent.succeed(Self.start(#""9090:80""#, generation: 4))
    #expect(try hostPorts(agent) == ["0.0.0.0 9090 172.18.0.2", ":: 9090 2001:db8:18::2"])
    try agent.succeed(Self.stop("web", #","generation":4"#))
    #expect(try hostPorts(agent) == [])
  }

  @Test func theSameAgainIsNoChange() throws {
    let agent = try running()
    let line = Self.start(#""80","[::]::81","127.0.0.1:5353:53/udp""#)
    let reply = try agent.succeed(line)
    let generation = try agent.generation()
    for _ in 0..<3 { #expect(try agent.send(line) == reply) }
    try agent.create(.web)
    #expect(try agent.generation() == generation)
    try agent.succeed(Self.stop())
    let stopped = try agent.succeed(Self.stop())["revision"]
    #expect(try agent.succeed(Self.stop("nobody"))["revision"] == stopped)
  }

  @Test func aReplacementKeepsWhatDoesNotChange() async throws {
    let topology = try await Topology()
    let agent = try AgentProgram(in: topology.host.namespace)
    try agent.create(.web)
    try agent.start(topology.web, publish: ["8080:80", "81"])
    let ephemeral = try #require(try hostPorts(agent).first { !$0.contains("8080") })
    for _ in 0..<3 { _ = ask(.tcp, topology.host.ipv4, 8080, from: topology.remote.namespace) }
    let counter = { () async throws in
      try await agent.namespace.command("nft", "get", "element", "inet", "pmagent", "any4", "{ tcp . 8080 }")
    }
    let before = try await counter()
    #expect(before.contains("packets 3"))
    let generation = try agent.generation()
    try agent.start(topology.web, publish: ["81", "8082:82", "8080:80"])
    #expect(try agent.generation() == generation + 1)
    #expect(try await counter() == before)
    #expect(try hostPorts(agent).contains(ephemeral))
  }

  @Test func theGatewayMovesInOneTransaction() throws {
    let agent = try running()
    try agent.create(.back)
    try agent.succeed(Self.start(#""8080:80""#))
    let onWeb = try hostPorts(agent)
    let generation = try agent.generation()
    try agent.succeed(
      #"{"event":"container.connect","container":"web","endpoint":{"network":"back-net","ipv4":"172.19.0.9","#
        + #""ipv6":"2001:db8:19::9","gateway_priority":1}}"#)
    #expect(try hostPorts(agent) == ["0.0.0.0 8080 172.19.0.9", ":: 8080 2001:db8:19::9"])
    #expect(try agent.generation() == generation + 1)
    try agent.succeed(#"{"event":"container.disconnect","container":"web","network":"back-net"}"#)
    #expect(try hostPorts(agent) == onWeb)
    #expect(try agent.generation() == generation + 2)
    #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))
  }

  @Test func portsOfARunningContainerChangeLive() async throws {
    let topology = try await Topology()
    let agent = try AgentProgram(in: topology.host.namespace)
    try agent.create(.web)
    try agent.start(topology.web, publish: ["8080:80"])
    let control = Target(.tcp, topology.host.ipv4, 8080)
    func answers() throws -> [Bool] {
      try topology.remote.ask(
        [Target(.udp, topology.host.ipv4, 8081), Target(.udp, topology.host.ipv6, 8081)], control: control
      ).map { $0.text != nil }
    }
    #expect(try answers() == [false, false])
    try agent.succeed(#"{"event":"container.publish","container":"web","publish":["8081:80/udp"]}"#)
    #expect(try answers() == [true, true])
    try agent.succeed(#"{"event":"container.unpublish","container":"web","publish":["8081:80/udp"]}"#)
    #expect(try answers() == [false, false])
    #expect(try hostPorts(agent).count == 2)
  }

  @Test func optionsOfANetworkInUseAreAppliedAtOnce() throws {
    let agent = try running()
    try agent.succeed(Self.start(#""8080:80","81""#))
    let before = try hostPorts(agent)
    let generation = try agent.generation()
    try agent.create(.web, options: ["host_binding_ipv4": "127.0.0.1"])
    #expect(try hostPorts(agent).filter { $0.contains("8080") } == ["127.0.0.1 8080 172.18.0.2"])
    #expect(try agent.generation() == generation + 1)
    try agent.create(.web, options: ["gateway_mode_ipv4": "routed", "gateway_mode_ipv6": "routed"])
    #expect(
      try hostPorts(agent).sorted() == ["0.0.0.0 null 172.18.0.2", ":: null 2001:db8:18::2"].flatMap { [$0, $0] })
    #expect(try agent.generation() == generation + 2)
    try agent.create(.web)
    #expect(try hostPorts(agent).filter { $0.contains("8080") } == before.filter { $0.contains("8080") })
    #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))
  }

  /// Each pair: what holds the port, and what wants it in the same breath.
  @Test(arguments: [
    ("8080:80", "8080:80"), ("8080:80", "127.0.0.1:8080:80"), ("127.0.0.1:8080:80", "8080:80"),
    ("8080:80/udp", "127.0.0.1:8080:80/udp"), ("[::]:8080:80", "[::1]:8080:80"), ("8080-8083:80-83", "8082-8085:80-83"),
    ("8080:80", "8080-8080:80"),
  ])
  func aPortThatIsFreedIsFreeAtOnce(old: String, new: String) throws {
    let agent = try running()
    let other = #"{"network":"web-net","ipv4":"172.18.0.3","ipv6":"2001:db8:18::3"}"#
    // Another container, in one round with the stop.
    try agent.succeed(Self.start(#""\#(old)""#))
    let replies = try agent.client().ask([Self.stop(), Self.start(#""\#(new)""#, id: "next", networks: other)])
    #expect(replies.map(\.errorCode) == [nil, nil], "\(replies)")
    // The same container with other content, there and back.
    #expect(try agent.send(Self.start(#""\#(old)""#, id: "next", networks: other)).errorCode == nil)
    #expect(try agent.send(Self.start(#""\#(new)""#, id: "next", networks: other)).errorCode == nil)
    try agent.succeed(Self.stop("next"))
    let status = try agent.succeed(#"{"query":"status"}"#)
    #expect(status["held_ports"] == .integer(0) && status["in_sync"] == .bool(true), "\(status)")
  }

  /// As in a pod: the element of the container port stays, under the name of whoever is left.
  @Test func containersMayShareAnAddressAndAPort() throws {
    let agent = try running()
    func isInSync() throws -> JSON? { try agent.succeed(#"{"query":"status"}"#)["in_sync"] }
    try agent.succeed(Self.start(#""8080:80""#, id: "one"))
    try agent.succeed(Self.start(#""8081:80","127.0.0.1:8082:81""#, id: "two"))
    #expect(try isInSync() == .bool(true))
    try agent.succeed(Self.start(#""8081:80","8082:81""#, id: "two"))
    #expect(try isInSync() == .bool(true))
    try agent.succeed(Self.stop("one"))
    #expect(try isInSync() == .bool(true))
    try agent.succeed(Self.start(#""8080:80","8083:81""#, id: "one"))
    try agent.succeed(Self.stop("two"))
    #expect(try isInSync() == .bool(true))
    try agent.succeed(Self.stop("one"))
    #expect(try isInSync() == .bool(true))
  }

  /// The kernel refuses sources that overlap: the wider stands for both, and the narrower is back when it goes.
  @Test func containersThatShareAnAddressMayHaveOverlappingSources() throws {
    let agent = try running()
    func start(_ id: String, _ port: Int, from source: String) throws {
      try agent.succeed(
        Self.start(#"{"container_port":80,"host_port":\#(port),"allow_from":["\#(source)"]}"#, id: id))
      #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))
    }
    try start("narrow", 8080, from: "10.1.0.0/16")
    try start("wide", 8081, from: "10.0.0.0/8")
    try start("narrow", 8080, from: "10.2.0.0/16")
    agent.kill()
    try agent.start()
    #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))
    for id in ["wide", "narrow"] {
      try agent.succeed(Self.stop(id))
      #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))
    }
  }

  @Test func aListByPrefixHasThemAll() throws {
    let agent = try running()
    for n in 10..<30 {
      let networks = #"{"network":"web-net","ipv4":"172.18.1.\#(n)"}"#
      try agent.succeed(Self.start(#""\#(9000 + n):80""#, id: "web\(n)", networks: networks))
    }
    #expect(try agent.succeed(#"{"query":"list","container":"web"}"#).mappings?.count == 20)
    // One id in two sources is two containers, and each can be asked for.
    let other = Self.start(#""9100:80""#, id: "web10", networks: #"{"network":"web-net","ipv4":"172.18.1.9"}"#)
    try agent.succeed(other.replacing(#""event""#, with: #""source":"b","event""#))
    let both = try agent.send(#"{"query":"inspect","container":"web10"}"#)
    #expect(both["error"]?["message"]?.text?.contains("default/web10 (web10), b/web10 (web10)") == true)
    #expect(try agent.succeed(#"{"query":"inspect","container":"b/web10"}"#)["source"] == "b")
  }

  /// The database compares bytes.
  @Test func anIDInAnotherUnicodeFormIsNotTheSame() throws {
    let agent = try running()
    func network(_ id: String, _ number: Int) -> String {
      #"{"event":"network.create","network":{"id":"\#(id)","name":"n\#(number)","bridge":"br\#(number)","#
        + #""subnets":["172.3\#(number).0.0/16"]}}"#
    }
    try agent.succeed(network("r\u{e9}seau", 0))
    #expect(try agent.send(network("re\u{301}seau", 1)).errorCode == "duplicate-name")
    try agent.succeed(network("r\u{e9}seau", 1))
  }

  @Test func aFaultOfAnEndpointOrAPortIsNamedAsTheRequestHasIt() throws {
    let agent = try running()
    try agent.succeed(Self.start(#""8080:80""#))
    func field(_ rest: String) throws -> JSON? {
      try agent.send(#"{"event":"container."# + rest)["error"]?["field"]
    }
    #expect(try field(#"connect","container":"web","endpoint":{"network":"web-net","ipv4":"x"}}"#) == "endpoint.ipv4")
    #expect(
      try field(#"connect","container":"web","endpoint":{"network":"web-net","ipv4":"1.2.3.4"}}"#) == "endpoint.ipv4")
    #expect(try field(#"publish","container":"web","publish":["9090:90","9090:90"]}"#) == "publish[1]")
    #expect(try field(#"publish","container":"web","publish":["9090:90","8080:81"]}"#) == "publish[1]")
  }

  /// Its lines come before, and between, the replies of the others.
  @Test func emitSendsARequestToWatchLikeAnyOther() async throws {
    let agent = try running()
    try agent.succeed(Self.start(#""8080:80""#))
    let lines = [
      #"{"id":1,"query":"watch"}"#, #"{"id":2,"event":"container.stop","container":"web"}"#,
      #"{"id":3,"query":"hello"}"#,
    ]
    let output = try await agent.namespace.command(
      AgentProgram.path, "emit", "--socket", agent.socket, input: lines.joined(separator: "\n"))
    let told = try output.split(separator: "\n").map { line in
      let line = try JSON(parsing: Array(line.utf8))
      return "\(line["id"] ?? .null) \(line["change"]?.text ?? "ok")"
    }
    #expect(told == ["1 present", "1 present", "1 ready", "null removed", "null removed", "2 ok", "3 ok"])
  }

  @Test func modesAreSaidWhereTheyMeanSomething() throws {
    let agent = try running()
    for (id, more) in [("in", #","internal":true"#), ("mac", #","driver":"macvlan""#)] {
      try agent.succeed(
        #"{"event":"network.create","network":{"id":"\#(id)","bridge":"br-\#(id)","subnets":["10.9.0.0/16"]\#(more)}}"#)
    }
    guard case .array(let networks)? = try agent.succeed(#"{"query":"networks"}"#)["networks"] else {
      Issue.record("no networks")
      return
    }
    #expect(networks.map { $0["gateway_mode_ipv4"] } == [.null, .null, "nat"])
  }

  /// The refused replacement had let go of the port already, to take it for one address.
  @Test func aRefusedReplacementHoldsWhatItHeld() throws {
    let agent = try running()
    let program = try agent.namespace.run { () throws(SystemError) in try serverSocket(.tcp, .any(.ipv4), 9999) }
    defer { withExtendedLifetime(program) {} }
    try agent.succeed(Self.start(#""8080:80""#))
    #expect(try agent.send(Self.start(#""127.0.0.1:8080:80","9999:81""#)).errorCode == "host-port-in-use")
    #expect(try agent.succeed(#"{"query":"status"}"#)["held_ports"] == .integer(2))
    for address in [.any(.ipv4), "127.0.0.1", "::1"] as [IPAddress] {
      #expect(throws: SystemError.self, "\(address)") {
        try agent.namespace.run { () throws(SystemError) in try serverSocket(.tcp, address, 8080) }
      }
    }
  }

  @Test func repliesComeInOrderWithTheirIdsAndRevisions() throws {
    let agent = try running()
    let lines = (0..<200).map { index in
      let id = index.isMultiple(of: 3) ? #""r\#(index)""# : "\(index)"
      let line = index.isMultiple(of: 2) ? Self.start(#""8080:80""#, id: "c") : Self.stop("c")
      return #"{"id":\#(id),"# + line.dropFirst()
    }
    let replies = try agent.client().ask(lines)
    #expect(
      replies.map { $0["id"] } == (0..<200).map { $0.isMultiple(of: 3) ? .string("r\($0)") : .integer(Int64($0)) })
    let revisions = replies.compactMap { reply -> Int64? in
      guard case .integer(let revision)? = reply["revision"] else { return nil }
      return revision
    }
    #expect(revisions.count == 200 && zip(revisions, revisions.dropFirst()).allSatisfy { $0 < $1 })
    // Also over a restart.
    agent.kill()
    try agent.start()
    #expect(try agent.succeed(#"{"query":"hello"}"#)["revision"] == replies.last?["revision"])
  }

  @Test func aWatcherIsToldEverythingInOrder() throws {
    let agent = try running()
    try agent.succeed(Self.start(#""8080:80""#))
    let watcher = try agent.client()
    try watcher.send(#"{"query":"watch"}"#)
    func next(_ count: Int) throws -> [String] {
      try (0..<count).map { _ in
        let line = try #require(try watcher.receive())
        return "\(line["change"]?.text ?? "?") \(line["host_ip"]?.text ?? "") \(line["host_port"] ?? .null)"
      }
    }
    #expect(try next(3) == ["present 0.0.0.0 8080", "present :: 8080", "ready  null"])
    try agent.succeed(Self.start(#""8080:80","127.0.0.1:8081:80""#))
    #expect(try next(1) == ["added 127.0.0.1 8081"], "what did not change is not told again")
    // Refused and stale ones are not told either.
    #expect(try agent.send(Self.start(#""8082:80","99999:80""#)).errorCode == "bad-publish")
    try agent.succeed(#"{"event":"container.unpublish","container":"web","publish":["8080:80"]}"#)
    #expect(try next(2) == ["removed 0.0.0.0 8080", "removed :: 8080"])
    try agent.succeed(Self.stop())
    #expect(try next(1) == ["removed 127.0.0.1 8081"])
  }
}
