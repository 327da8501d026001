import Feed
import PortMaps
import TestSupport
import Testing

/// What a changed network does to the host and to the containers that run on it.
@Suite(.timeLimit(.minutes(2))) struct NetworkChangeTests {
  private static func create(
    _ id: String = "net", bridge: String = "br-a", subnets: String = #""172.18.0.0/16""#, more: String = ""
  ) -> String {
    #"{"event":"network.create","network":{"id":"\#(id)","bridge":"\#(bridge)","subnets":[\#(subnets)]\#(more)}}"#
  }

  private func running() async throws -> AgentProgram {
    let host = try NetworkNamespace()
    try await host.command("ip", "link", "set", "lo", "up")
    for bridge in ["br-a", "br-b"] { try await host.command("ip", "link", "add", bridge, "type", "bridge") }
    return try AgentProgram(in: host)
  }

  private func routeLocalnet(_ bridge: String, _ agent: AgentProgram) async throws -> String {
    try await agent.namespace.command("cat", "/proc/sys/net/ipv4/conf/\(bridge)/route_localnet")
  }

  @Test(arguments: [
    create(bridge: "br-b"), create(more: #","internal":true"#), create(more: #","driver":"macvlan""#),
    create(more: #","options":{"com.docker.network.bridge.gateway_mode_ipv4":"routed"}"#),
    #"{"event":"network.remove","network":"net"}"#,
  ])
  func routeLocalnetGoesWithItsReason(change: String) async throws {
    let agent = try await running()
    try agent.succeed(Self.create())
    #expect(try await routeLocalnet("br-a", agent) == "1\n")
    try agent.succeed(change)
    #expect(try await routeLocalnet("br-a", agent) == "0\n")
  }

  @Test(arguments: [
    (#""172.18.5.0/24""#, ["subnet-overlaps"]), (#""172.0.0.0/8","10.0.0.0/8""#, ["subnet-overlaps"]),
    (#""172.19.0.0/16""#, []), (#""127.3.0.0/16""#, ["subnet-overlaps"]), (#""::/64""#, ["subnet-overlaps"]),
  ])
  func aSubnetWithAnotherOwnerIsWarnedOf(subnets: String, warnings: [String]) async throws {
    let agent = try await running()
    // Its own subnet does not count when it changes.
    #expect(try agent.succeed(Self.create()).warningCodes == [])
    #expect(try agent.succeed(Self.create(subnets: #""172.18.0.0/17""#)).warningCodes == [])
    #expect(try agent.succeed(Self.create("other", bridge: "br-b", subnets: subnets)).warningCodes == warnings)
  }

  @Test(arguments: ["all", "default", "lo"])
  func whatIsNoBridgeIsRefused(bridge: String) async throws {
    let agent = try await running()
    #expect(try agent.send(Self.create(bridge: bridge)).errorCode == "bad-request")
    #expect(try await routeLocalnet("all", agent) == "0\n")
  }

  @Test func aChangeThatStrandsAContainerIsRefused() async throws {
    let agent = try await running()
    try agent.succeed(Self.create())
    let start =
      #"{"event":"container.start","container":{"id":"web","networks":[{"network":"net","ipv4":"172.18.0.2"}],"#
      + #""publish":["8080:80"]}}"#
    let started = try agent.succeed(start)
    let refused = try agent.send(Self.create(subnets: #""172.19.0.0/16""#))
    #expect(refused.errorCode == "bad-address")
    let message = "\(refused["error"]?["message"] ?? .null)"
    #expect(message.contains("container web"))
    #expect(try agent.send(start) == started)
    try agent.succeed(Self.create(subnets: #""172.18.0.0/16","172.19.0.0/16""#))
  }

  @Test func onlyItsSourceRemovesANetwork() async throws {
    let agent = try await running()
    try agent.succeed(Self.create())
    let remove = #"{"event":"network.remove","network":"net","source":"other"}"#
    #expect(try agent.send(remove).errorCode == "not-permitted")
  }

  /// References are ids or names, so that one must not be the other of another network.
  @Test func anIdIsNoOtherNetworksName() async throws {
    let agent = try await running()
    try agent.succeed(Self.create("n1", more: #","name":"first""#))
    for (id, name) in [("n2", "n1"), ("first", "third")] {
      let reply = try agent.send(Self.create(id, bridge: "br-b", more: #","name":"\#(name)""#))
      #expect(reply.errorCode == "duplicate-name", "\(id) \(name)")
    }
  }

  /// A fault is told where the *event* has it, not where the stored container would have it.
  @Test func faultsOfLiveChangesNameTheEventsField() async throws {
    let agent = try await running()
    try agent.succeed(Self.create())
    for (id, host, port) in [("web", 2, 8080), ("other", 3, 8081)] {
      try agent.succeed(
        #"{"event":"container.start","container":{"id":"\#(id)","networks":[{"network":"net","ipv4":"172.18.0.\#(host)"}],"#
          + #""publish":["\#(port):80"]}}"#)
    }
    let publish = try agent.send(#"{"event":"container.publish","container":"web","publish":["8082:82","8081:81"]}"#)
    #expect(publish["error"]?["field"] == "publish[1]")
    let connect = try agent.send(
      #"{"event":"container.connect","container":"web","endpoint":{"network":"none","ipv4":"10.0.0.2"}}"#)
    #expect(connect["error"]?["field"] == "endpoint.network")
  }
}
