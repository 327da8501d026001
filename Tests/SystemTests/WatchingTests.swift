import Feed
import Glibc
import PortMaps
import TestSupport
import Testing

/// A table that anyone may change (`owner = false`, older kernels), and an agent that listens.
@Suite(.timeLimit(.minutes(2))) struct WatchingTests {
  @Test func theLogSaysWhatWasWrong() async throws {
    let (topology, agent) = try await published()
    try await topology.host.namespace.command(
      "nft", "-f", "-",
      input: """
        delete element inet pmagent any4 { tcp . 8080 }
        delete element inet pmagent any6 { tcp . 8080 }
        add element inet pmagent any6 { tcp . 8080 : fd00::99 . 80 }
        add element inet pmagent any4 { udp . 53 : 172.18.0.2 . 53 }

        """)
    try agent.waitForLog(
      "kernel table repaired", #"extra="any4 { udp . 53 }""#, #"missing="any4 { tcp . 8080 } of web""#,
      #"different="any6 { tcp . 8080 } of web""#, "by=nft")
  }

  /// The agent hears of each, and neither reads nor writes nf_tables for it: the one repair at the end is the first.
  @Test func changesOfOtherTablesCostNothing() async throws {
    let (topology, agent) = try await published()
    let host = topology.host.namespace
    try await host.command(
      "nft", "add table inet other; add chain inet other c; add table ip pmagent; add chain ip pmagent c")
    for index in 1...20 {
      try await host.command("nft", "add rule inet other c tcp dport \(index) drop; add rule ip pmagent c accept")
    }
    let generation = try agent.generation()
    try await host.command("nft", "delete table inet pmagent")
    try agent.waitForLog("kernel table created", "by=nft")
    #expect(try read(agent.log).split(separator: "\n").count { $0.contains("by=") } == 1)
    #expect(try agent.generation() == generation + 2)
  }

  /// One transaction that changes both, ours last.
  @Test func ourTableAmongOthers() async throws {
    let (topology, agent) = try await published()
    let host = topology.host.namespace
    try await host.command("nft", "add table inet aaa; add table inet zzz")
    try await host.command(
      "nft", "add chain inet aaa c; flush map inet pmagent any4; add chain inet zzz c")
    try agent.waitForLog("kernel table repaired", "by=nft")
  }

  /// More transactions than the socket has room for, while the agent cannot read: it reads the table instead.
  @Test func lostNotificationsMeanReadingEverything() async throws {
    let (topology, agent) = try await published()
    let host = topology.host.namespace
    agent.signal(SIGSTOP)
    try await host.command("nft", "-f", "-", input: "flush map inet pmagent any4\n" + overflow())
    try await host.command("nft", "flush", "set", "inet", "big", "s")
    agent.signal(SIGCONT)
    try agent.waitForLog("kernel table repaired", #"missing="any4 { tcp . 8080 } of web""#)
    #expect(try !read(agent.log).contains("by=nft"), "that one was not lost")
    let answer = ask(.tcp, topology.host.ipv4, 8080, from: topology.remote.namespace)
    #expect(answer == .text("web saw \(topology.remote.ipv4): hello"))
    // And it listens again.
    try await host.command("nft", "delete element inet pmagent any6 { tcp . 8080 }")
    try agent.waitForLog("kernel table repaired", #"missing="any6 { tcp . 8080 } of web""#, "by=nft")
  }

  /// Its notifications and those of a flush are 55 MB, almost twice what the agent's socket has room for. What an element says
  /// besides its key costs nft nothing.
  private func overflow() -> String {
    var text = "add table inet big\nadd set inet big s { type mark; timeout 1h; limit rate 1/second; counter; }\n"
    for block in 0..<150 {
      let elements = (0..<1000).map { "\(block * 1000 + $0)" }
      text += "add element inet big s { \(elements.joined(separator: ", ")) }\n"
    }
    return text
  }

  private func published() async throws -> (Topology, AgentProgram) {
    let topology = try await Topology()
    let agent = try AgentProgram(in: topology.host.namespace, configuration: "owner = false")
    try agent.create(.web)
    try agent.start(topology.web, publish: ["8080:80"])
    return (topology, agent)
  }
}
