import Feed
import PortMaps
import TestSupport
import Testing

/// `snapshot.begin` … `snapshot.end`: the complete world of one source.
@Suite(.timeLimit(.minutes(2))) struct SnapshotTests {
  private static func network(_ id: String, name: String? = nil, bridge: String, subnet: String, source: String)
    -> String
  {
    #"{"event":"network.create","source":"\#(source)","network":{"id":"\#(id)","name":"\#(name ?? id)","#
      + #""bridge":"\#(bridge)","subnets":["\#(subnet)"]}}"#
  }
  private static func front(source: String = "a", id: String = "front", name: String = "front") -> String {
    network(id, name: name, bridge: "br-front", subnet: "172.18.0.0/16", source: source)
  }
  private static func start(_ id: String, _ host: Int, _ port: Int, on network: String = "front", source: String = "a")
    -> String
  {
    #"{"event":"container.start","source":"\#(source)","container":{"id":"\#(id)","networks":[{"network":"\#(network)","#
      + #""ipv4":"172.18.0.\#(host)"}],"publish":["\#(port):80"]}}"#
  }
  private static func begin(_ source: String = "a") -> String { #"{"event":"snapshot.begin","source":"\#(source)"}"# }
  private static func end(_ source: String = "a") -> String { #"{"event":"snapshot.end","source":"\#(source)"}"# }

  private func running(_ lines: String...) throws -> AgentProgram {
    let agent = try AgentProgram(in: try NetworkNamespace())
    for line in lines { try agent.succeed(line) }
    return agent
  }

  private func containers(_ agent: AgentProgram) throws -> [String] {
    try #require(try agent.succeed(#"{"query":"list"}"#).mappings).compactMap(\.container).sorted()
  }
  private func networks(_ agent: AgentProgram) throws -> [String] {
    guard case .array(let networks)? = try agent.succeed(#"{"query":"networks"}"#)["networks"] else { return [] }
    return networks.compactMap { $0["id"]?.text }
  }

  /// Its stale rival had gone by the time it was refused: that must be undone, and nothing else of the round.
  @Test func aRefusalThatHadWrittenLeavesTheRestOfItsRound() throws {
    let agent = try running(
      Self.front(), Self.start("stale", 2, 8001),
      Self.front(source: "b", id: "other", name: "other").replacing(
        "br-front", with: "br-other"
      ).replacing("172.18", with: "172.19"),
      Self.start("rival", 2, 8002, on: "other", source: "b").replacing("172.18", with: "172.19"))
    let refused = Self.start("late", 3, 8001).replacing(#""8001:80""#, with: #""8001:80","8002:81""#)
    let replies = try agent.client().ask([
      Self.begin(), Self.front(), Self.start("one", 4, 8003), refused, Self.start("two", 5, 8004),
    ])
    #expect(replies.map(\.errorCode) == [nil, nil, nil, "port-already-allocated", nil])
    #expect(try containers(agent) == ["one", "rival", "stale", "two"])
    #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))
    #expect(try agent.succeed(#"{"query":"status"}"#)["held_ports"] == .integer(4))
  }

  @Test func whatIsAbsentIsRemovedAtTheEndAndInOneStep() throws {
    let agent = try running(
      Self.front(), Self.network("old", bridge: "br-old", subnet: "172.30.0.0/16", source: "a"),
      Self.start("one", 2, 8001),
      Self.start("two", 3, 8002), Self.start("three", 4, 8003))
    let client = try agent.client()
    for line in [Self.begin(), Self.front(), Self.start("two", 3, 8002)] { try client.succeed(line) }
    #expect(try containers(agent) == ["one", "three", "two"])
    // What is announced in a snapshot lives at once.
    try client.succeed(Self.start("four", 5, 8004))
    #expect(try containers(agent) == ["four", "one", "three", "two"])
    let generation = try agent.generation()
    try client.succeed(Self.end())
    #expect(try containers(agent) == ["four", "two"])
    #expect(try networks(agent) == ["front"])
    #expect(try agent.generation() == generation + 1)
    // The same world again is no change at all.
    let before = try agent.succeed(#"{"query":"hello"}"#)["revision"]
    for line in [Self.begin(), Self.front(), Self.start("two", 3, 8002), Self.start("four", 5, 8004), Self.end()] {
      #expect(try client.succeed(line)["revision"] == before)
    }
    #expect(try agent.generation() == generation + 1)
  }

  @Test func aConnectionThatBreaksPrunesNothing() throws {
    let agent = try running(Self.front(), Self.start("one", 2, 8001), Self.start("two", 3, 8002))
    do {
      let client = try agent.client()
      for line in [Self.begin(), Self.front(), Self.start("two", 3, 8002)] { try client.succeed(line) }
    }
    let client = try agent.client()
    #expect(try client.ask(Self.end()).errorCode == "bad-request", "another connection cannot end it")
    #expect(try containers(agent) == ["one", "two"])
    // Neither does another source on the same connection.
    try client.succeed(Self.begin("b"))
    #expect(try client.ask(Self.end("a")).errorCode == "bad-request")
    try client.succeed(Self.end("b"))
    #expect(try containers(agent) == ["one", "two"])
  }

  @Test func aSourcePrunesOnlyItsOwn() throws {
    let agent = try running(
      Self.front(), Self.network("back", bridge: "br-back", subnet: "172.30.0.0/16", source: "b"),
      Self.start("one", 2, 8001), Self.start("one", 3, 8002, source: "b"))
    // `b` uses a network of `a`, which `a` does not know any more: it stays until nobody uses it.
    for line in [Self.begin(), Self.end()] { try agent.succeed(line) }
    #expect(try networks(agent) == ["back", "front"])
    #expect(try #require(try agent.succeed(#"{"query":"list"}"#).mappings).map { $0["host_port"] } == [.integer(8002)])
    for line in [Self.begin("b"), Self.end("b")] { try agent.succeed(line) }
    #expect(try networks(agent) == ["front"])
    for line in [Self.begin(), Self.end()] { try agent.succeed(line) }
    #expect(try networks(agent) == [])
    #expect(try containers(agent) == [])
  }

  @Test func aStaleContainerMakesRoomForAnAnnouncedOne() throws {
    let agent = try running(Self.front(), Self.start("old", 2, 8001), Self.start("other", 3, 8002, source: "b"))
    let new = Self.start("new", 2, 8001)
    #expect(try agent.send(new).errorCode == "port-already-allocated", "outside a snapshot both are real")
    for line in [Self.begin(), Self.front(), new] { try agent.succeed(line) }
    #expect(try containers(agent) == ["new", "other"])
    // One that was announced is no stale one, and the other source's containers are not ours to judge.
    #expect(try agent.send(Self.start("newer", 4, 8001)).errorCode == "port-already-allocated")
    #expect(try agent.send(Self.start("newer", 4, 8002)).errorCode == "port-already-allocated")
    try agent.succeed(Self.end())
    #expect(try containers(agent) == ["new", "other"])
    #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))
  }

  /// A network that was removed and made again under its old name while nobody listened.
  @Test func aStaleNetworkMakesRoomForAnAnnouncedOne() throws {
    let agent = try running(Self.front(), Self.start("one", 2, 8001))
    let again = Self.front(id: "front2")
    #expect(try agent.send(again).errorCode == "duplicate-name")
    for line in [Self.begin(), again, Self.start("one", 2, 8001), Self.end()] { try agent.succeed(line) }
    #expect(try networks(agent) == ["front2"])
    #expect(try containers(agent) == ["one"])
    #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))
  }

  /// A feed reconnects while its old connection still drains: there is one snapshot of a source, and it is the newer one.
  @Test func aNewBeginReplacesTheSourcesOlderSnapshot() throws {
    let agent = try running(Self.front(), Self.start("one", 2, 8001))
    let (old, new) = (try agent.client(), try agent.client())
    try old.succeed(Self.begin())
    for line in [Self.begin(), Self.front(), Self.start("two", 3, 8002)] { try new.succeed(line) }
    #expect(try old.ask(Self.end()).errorCode == "bad-request")
    // What the source announces on another connection meanwhile is part of its world.
    try old.succeed(Self.start("three", 4, 8003))
    try new.succeed(Self.end())
    #expect(try containers(agent) == ["three", "two"])
  }
}
