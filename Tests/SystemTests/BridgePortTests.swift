import Feed
import TestSupport
import Testing

/// Ports of managed bridges: kept apart where inter-container communication is off, in hairpin mode where br_netfilter is on.
/// What that does to packets is in the matrix.
@Suite(.timeLimit(.minutes(2))) struct BridgePortTests {
  @Test func aPortIsKeptApartAsSoonAsItIsThere() async throws {
    let (host, agent) = try await running()
    #expect(try await settings(host) == ["isolated on", "hairpin off"])
    try await host.command("ip", "link", "add", "late", "master", "br-a", "type", "veth")
    // What the kernel told before this question, the agent has heard when it answers.
    try agent.succeed(#"{"query":"status"}"#)
    #expect(try await settings(host, of: "late") == ["isolated on", "hairpin off"])
    // A port that leaves takes nothing with it, one of a bridge that is not managed is none of ours.
    try await host.command("ip", "link", "set", "late", "master", "br-b")
    try agent.succeed(#"{"query":"status"}"#)
    #expect(try await settings(host, of: "late") == ["isolated off", "hairpin off"])
  }

  @Test(arguments: [
    create(icc: true), create(icc: false, bridge: "br-b"), #"{"event":"network.remove","network":"net"}"#,
  ])
  func portsMeetAgainWhenTheReasonGoes(change: String) async throws {
    let (host, agent) = try await running()
    #expect(try await settings(host) == ["isolated on", "hairpin off"])
    try agent.succeed(change)
    #expect(try await settings(host) == ["isolated off", "hairpin off"])
  }

  @Test func teardownLetsPortsMeetAgain() async throws {
    let (host, agent) = try await running()
    agent.terminate()
    #expect(try await settings(host) == ["isolated on", "hairpin off"])
    _ = try await agent.command("teardown", "--database", agent.database, "--config", agent.configuration)
    #expect(try await settings(host) == ["isolated off", "hairpin off"])
  }

  /// The packet filter then sees the frames, and isolation would stop what it lets through.
  @Test func withBridgeNetfilterItIsHairpinMode() async throws {
    let (host, agent) = try await running()
    try await host.command("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
    try agent.succeed(#"{"event":"reconcile"}"#)
    #expect(try await settings(host) == ["isolated off", "hairpin on"])
  }

  /// A runtime's own isolation stays where the network is open for the agent.
  @Test func whatOthersHaveSetStays() async throws {
    let (host, agent) = try await running(icc: true)
    try await host.command("bridge", "link", "set", "dev", "port", "isolated", "on", "hairpin", "on")
    try agent.succeed(#"{"event":"reconcile"}"#)
    #expect(try await settings(host) == ["isolated on", "hairpin on"])
  }

  private static func create(icc: Bool, bridge: String = "br-a") -> String {
    #"{"event":"network.create","network":{"id":"net","bridge":"\#(bridge)","subnets":["172.18.0.0/16","fd00::/64"],"#
      + #""options":{"com.docker.network.bridge.enable_icc":"\#(icc)"}}}"#
  }

  private func running(icc: Bool = false) async throws -> (NetworkNamespace, AgentProgram) {
    let host = try NetworkNamespace()
    try await host.command(
      "ip", "-batch", "-",
      input: """
        link set lo up
        link add br-a type bridge
        link add br-b type bridge
        link add port master br-a type veth
        """)
    try await host.command(
      "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0", "net.bridge.bridge-nf-call-ip6tables=0")
    let agent = try AgentProgram(in: host)
    try agent.succeed(Self.create(icc: icc))
    return (host, agent)
  }

  private func settings(_ host: NetworkNamespace, of port: String = "port") async throws -> [String] {
    let text = try await host.command("bridge", "-d", "link", "show", "dev", port)
    return text.matches(of: /\b(?:isolated|hairpin) (?:on|off)/).map { String($0.output) }.sorted(by: >)
  }
}
