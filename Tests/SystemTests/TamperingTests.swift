import Feed
import Glibc
import PortMaps
import TestSupport
import Testing

/// Other programs change our table, and have tables of their own.
@Suite(.timeLimit(.minutes(2))) struct TamperingTests {
  @Test(arguments: [
    "delete table inet pmagent",
    "flush ruleset",
    "flush table inet pmagent",
    "flush map inet pmagent any4",
    "delete element inet pmagent any4 { tcp . 8080 }",
    "add element inet pmagent any4 { tcp . 9999 : 172.18.0.2 . 80 }",
    "delete element inet pmagent any4 { tcp . 8080 }; add element inet pmagent any4 { tcp . 8080 : 172.18.0.3 . 80 }",
    "add rule inet pmagent forward accept",
    "insert rule inet pmagent publish drop",
    "flush chain inet pmagent published",
    "add chain inet pmagent more",
    "add set inet pmagent more { type inet_service; }",
    "delete table ip6 pmagent",
    "flush chain ip6 pmagent prerouting",
    "flush chain ip6 pmagent input; delete chain ip6 pmagent input",
    "add chain ip6 pmagent more",
    "add set ip6 pmagent more { type ipv6_addr; }",
    "add chain ip6 pmagent input { policy drop; }",
    "insert rule ip6 pmagent input drop",
  ])
  func aTableThatWasEditedIsRepairedAtOnce(edit: String) async throws {
    let topology = try await Topology()
    let (host, remote) = (topology.host.namespace, topology.remote.namespace)
    let agent = try AgentProgram(in: host, configuration: "owner = false")
    try agent.create(.web)
    try agent.start(topology.web, publish: ["8080:80", "8080:80/udp"])
    let before = try await agent.table()
    let loopback = try await host.command("nft", "list", "table", "ip6", "pmagent")
    let status = [AgentProgram.path, "status", "--socket", agent.socket]
    #expect(try await host.outcome(of: status).exitCode == 0)
    let revision = try agent.succeed(#"{"query":"hello"}"#)["revision"]

    // nft tells its process id nobody, so it is started by a shell that does.
    let pid = try await host.command("sh", "-c", "echo $$; exec nft '\(edit)'").prefix { $0 != "\n" }
    try agent.waitForLog("by=nft", "pid=\(pid)")
    #expect(try await host.outcome(of: status).exitCode == 0)
    expectSameLines(try await agent.table(), before)
    #expect(try await host.command("nft", "list", "table", "ip6", "pmagent") == loopback)
    #expect(try agent.succeed(#"{"query":"hello"}"#)["revision"] == revision)
    #expect(ask(.tcp, topology.host.ipv4, 8080, from: remote).text == "web saw 192.0.2.2: hello")

    // Nothing left to do: nothing is written.
    let generation = try agent.generation()
    _ = try await agent.command("reconcile", "--socket", agent.socket)
    #expect(try agent.generation() == generation)
  }

  /// Byte for byte, handles included: the kernel would give a rule that was written again another one.
  @Test func tablesOfOthersAreLeftAlone() async throws {
    let topology = try await Topology()
    let host = topology.host.namespace
    try await host.command(
      "nft", "-f", "-",
      input: """
        table inet admin {
          comment "not ours"
          set ports { type inet_service; elements = { 22, 8080 } }
          map pmagent { type inet_service : ipv4_addr . inet_service; elements = { 9000 : 172.18.0.2 . 80 } }
          chain forward {
            type filter hook forward priority 10;
            tcp dport @ports counter comment "counts nothing yet"
          }
          chain pmagent {
            ct status dnat accept
          }
        }
        table ip pmagent {
          chain postrouting {
            type nat hook postrouting priority 101;
            oifname "none" masquerade
          }
        }

        """)
    let others = { () async throws in
      try await host.command("nft", "-a", "list", "table", "inet", "admin")
        + host.command("nft", "-a", "list", "table", "ip", "pmagent")
    }
    let before = try await others()
    let agent = try AgentProgram(in: host, configuration: "owner = false")
    #expect(try await others() == before, "after the start")
    try agent.create(.web)
    try agent.create(.back, options: ["gateway_mode_ipv6": "routed"])
    try agent.start(topology.web, publish: ["8080:80", "9000:80/udp"])
    try agent.start(topology.other, on: .back, publish: ["8081:80"])
    try agent.stop(topology.other)
    #expect(try await others() == before, "after events")
    try await host.command("nft", "delete", "table", "inet", "pmagent")
    _ = try await agent.command("reconcile", "--socket", agent.socket)
    #expect(try await others() == before, "after reconcile")
    agent.kill()
    try agent.start()
    agent.terminate()
    try await host.command(AgentProgram.path, "teardown", "--database", agent.database, "--config", agent.configuration)
    #expect(try await others() == before, "after teardown")
  }
}
