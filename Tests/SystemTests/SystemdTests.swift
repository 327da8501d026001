import Feed
import Glibc
import PortMaps
import TestSupport
import Testing

/// The unit under a real systemd, with traffic through 10,000 mappings while others do to the ruleset what they do.
@Suite(.timeLimit(.minutes(5))) struct SystemdTests {
  /// What a host sees in a day, and what it must not do to anybody.
  static let disturbances: [[String]] = [
    kill,
    ["systemctl", "restart", "pmagent"],
    ["nft", "flush", "ruleset"],
    ["nft", "delete", "table", "inet", "pmagent"],
    ["systemctl", "restart", "nftables"],
    ["systemctl", "stop", "nftables"],
    ["systemctl", "start", "firewalld"],
    ["firewall-cmd", "--reload"],
    ["firewall-cmd", "--complete-reload"],
    ["systemctl", "stop", "firewalld"],
    ["sh", "-c", "kill -KILL $(systemctl show -P MainPID pmagent); nft flush ruleset; nft delete table inet pmagent"],
    kill,
  ]

  /// Returns when systemd has seen it.
  static let kill = [
    "sh", "-c",
    """
    pid=$(systemctl show -P MainPID pmagent)
    kill -KILL $pid
    while [ "$(systemctl show -P MainPID pmagent)" = $pid ]; do :; done
    """,
  ]

  @Test func nothingIsLostWhereTheTableIsOwned() async throws {
    let host = try await Host("")
    let (flows, connections, probes) = (try host.users(.flow), try host.users(.connections), try host.probes())
    for (disturbance, lost) in try await host.disturb(flows + connections) {
      #expect(lost.prefix(flows.count).allSatisfy { $0 == 0 }, "\(disturbance): \(lost)")
      // While firewalld loads its rules anew, it drops everything that belongs to no flow yet, whatever other tables say.
      if disturbance.contains("reload") { continue }
      #expect(lost.allSatisfy { $0 == 0 }, "\(disturbance): \(lost)")
    }
    for user in flows + connections { print("\(user.name): \(user.traffic.end())") }
    for probe in probes {
      let count = probe.traffic.end()
      #expect(count.answered == 0 && count.asked > 100, "\(probe.name): \(count)")
      print("\(probe.name): \(count)")
    }
    #expect(try await host.status().hasPrefix("in sync           yes"))
    #expect(try await host.machine.run("cat", "/run/pmagent.log").ranges(of: "kernel table created").count == 1)
  }

  /// A flush then leaves the host without any filter for a moment; how long is for `Docs/recovery.md`.
  @Test func whatIsWipedComesBackWhereItIsNot() async throws {
    let host = try await Host("owner = false")
    let users = try host.users(.connections)
    _ = try await host.disturb(users)
    for user in users { print("\(user.name): \(user.traffic.end())") }
    #expect(try await host.status().hasPrefix("in sync           yes"))
  }

  /// Others would take the table, which belongs to the agent's socket, when systemd gave that up.
  @Test func anAgentThatCannotStartIsTriedUntilItCan() async throws {
    let host = try await Host("owner = true")
    let machine = host.machine
    let configuration = machine.path("/etc/pmagent/pmagent.toml")
    try write("=", to: configuration)
    _ = try await machine.outcome(of: ["systemctl", "restart", "pmagent"])
    // Systemd gives up after five by default.
    try await machine.run(
      "sh", "-c",
      "until [ $(systemctl show -P NRestarts pmagent) -ge 6 ]; do [ $(systemctl is-failed pmagent) != failed ] || exit 1; done"
    )
    try await machine.run("nft", "flush", "ruleset")
    try write("", to: configuration)
    try await machine.run(
      "sh", "-c",
      "until systemctl -q is-active pmagent; do [ $(systemctl is-failed pmagent) != failed ] || exit 1; done")
    #expect(try await host.status().hasPrefix("in sync           yes"))
    #expect(try await machine.run("cat", "/run/pmagent.log").ranges(of: "kernel table created").count == 1)
  }

  @Test func theSocketOfASocketUnitIsTheAgents() async throws {
    let host = try await Host("")
    let machine = host.machine
    try write(
      "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/elsewhere.sock\n",
      to: machine.path("/etc/systemd/system/pmagent.socket"))
    for verbs in [["daemon-reload"], ["stop", "pmagent"], ["start", "pmagent.socket"], ["start", "pmagent"]] {
      try await machine.run(["systemctl"] + verbs)
    }
    let log = try await machine.run("cat", "/run/pmagent.log")
    #expect(log.split(separator: "\n").last { $0.contains(" ready ") }?.contains("socket=/run/elsewhere.sock") == true)
    try await machine.run(AgentProgram.path, "status", "--socket", "/run/elsewhere.sock")
  }

  @Test func maintenanceGetsTheTableFromSystemdAndBack() async throws {
    let host = try await Host("")
    let machine = host.machine
    let edit = ["nft", "add", "element", "inet", "pmagent", "any4", "{ tcp . 99 : 172.18.0.2 . 80 }"]
    #expect(try await machine.outcome(of: edit).exitCode == 1)
    var words = [AgentProgram.path, "maintenance", "--"] + edit
    #expect(try await machine.outcome(of: words).exitCode == 0)
    #expect(try await machine.run("cat", "/run/pmagent.log").contains(#"repaired extra="any4 { tcp . 99 }""#))
    #expect(try await machine.outcome(of: edit).exitCode == 1)
    #expect(try await !machine.run("nft", "list", "map", "inet", "pmagent", "any4").contains("tcp . 99 "))
    // And systemd has the new socket.
    words = Self.kill + ["nft flush ruleset"]
    words[2] += "\n" + words.removeLast()
    #expect(try await machine.outcome(of: words).exitCode == 0)
    try await host.start()
    #expect(try await machine.run("cat", "/run/pmagent.log").ranges(of: "kernel table created").count == 1)
  }
}

/// `Topology`'s host, with systemd and the unit on it; `web` publishes port 8080, and `other` 10,000 mappings more.
private struct Host {
  let machine: Machine
  let topology: Topology

  struct User {
    let name: String
    let traffic: Traffic
  }

  init(_ configuration: String) async throws {
    machine = try Machine(["\(projectDirectory)/contrib/systemd/boot.sh", AgentProgram.path])
    topology = try await Topology(host: machine.namespace)
    if configuration != "" {
      try await machine.run("mkdir", "-p", "/etc/pmagent")
      try write(configuration, to: machine.path("/etc/pmagent/pmagent.toml"))
      try await machine.run("systemctl", "restart", "pmagent")
    }
    let agent = try AgentClient(to: machine.path("/run/pmagent/pmagent.sock"))
    try agent.create(.web)
    try agent.create(.back)
    try agent.start(topology.web, publish: ["8080:80", "8080:80/udp"])
    try agent.start(topology.other, on: .back, publish: ["20000-24999:20000-24999"])
  }

  /// Who uses the published port.
  func users(_ kind: Traffic.Kind) throws -> [User] {
    try PacketTests.flows.map { family, transport in
      User(
        name: "\(kind), \(transport) over \(family.title)",
        traffic: try Traffic(kind, transport, to: topology.host.address(family), 8080, from: topology.remote.namespace))
    }
  }

  /// Who tries a port that is not published, at the container's own address.
  func probes() throws -> [User] {
    try PacketTests.flows.map { family, transport in
      User(
        name: "unpublished, \(transport) over \(family.title)",
        traffic: try Traffic(
          .probes, transport, to: topology.web.address(family), Topology.unpublished, from: topology.routed.namespace))
    }
  }

  /// Does each of `disturbances` and waits until everybody is served again. Returns what each user has lost by each.
  func disturb(_ users: [User]) async throws -> [(disturbance: String, lost: [Int])] {
    var losses: [(disturbance: String, lost: [Int])] = []
    for disturbance in SystemdTests.disturbances {
      let before = users.map { $0.traffic.count.lost }
      _ = try await machine.outcome(of: disturbance)
      try await start()
      for user in users { try user.traffic.wait(forAnswers: 20) }
      losses.append((disturbance.joined(separator: " "), zip(users, before).map { $0.traffic.count.lost - $1 }))
    }
    return losses
  }

  /// Waits until the unit runs. A start that meets the end of the process before fails with that one's signal.
  func start() async throws {
    try await machine.run("sh", "-c", "until systemctl start pmagent; do :; done")
  }

  func status() async throws -> String {
    try await machine.run(AgentProgram.path, "status")
  }
}
