import Feed
import Glibc
import PortMaps
import TestSupport
import Testing

/// Host ports are held by sockets; what cannot be held works all the same, and says so.
@Suite(.timeLimit(.minutes(5))) struct HoldingTests {
  private static let network =
    #"{"event":"network.create","network":{"id":"net","bridge":"br-net","subnets":["172.18.0.0/16","fd18::/64"]}}"#

  func start(_ publish: String..., id: String = "web", host: UInt8 = 2) -> String {
    let ports = publish.map { #""\#($0)""# }.joined(separator: ",")
    return #"{"event":"container.start","container":{"id":"\#(id)","networks":[{"network":"net","#
      + #""ipv4":"172.18.0.\#(host)","ipv6":"fd18::\#(host)"}],"publish":[\#(ports)]}}"#
  }

  func agent(_ configuration: String = "") async throws -> AgentProgram {
    let namespace = try NetworkNamespace()
    try await namespace.command("ip", "link", "set", "lo", "up")
    try await namespace.command("ip", "link", "add", "br-net", "type", "bridge")
    let agent = try AgentProgram(in: namespace, configuration: configuration)
    try agent.succeed(Self.network)
    return agent
  }

  /// A watcher that has read everything there was.
  private func watcher(_ agent: AgentProgram) throws -> AgentClient {
    let client = try agent.client()
    try client.send(#"{"query":"watch"}"#)
    while let line = try client.receive(), line["change"] != "ready" {}
    return client
  }

  private func canBind(_ transport: TransportProtocol, _ address: IPAddress, _ port: UInt16, _ agent: AgentProgram)
    -> Bool
  {
    agent.namespace.run {
      do {
        _ = try serverSocket(transport, address, port)
        return true
      } catch {
        return false
      }
    }
  }

  @Test func aPublishedPortCannotBeTakenByAProgram() async throws {
    let agent = try await agent()
    try agent.succeed(start("8080:80", "127.0.0.1:5353:53/udp"))
    for (transport, address, port) in [
      (.tcp, "0.0.0.0", 8080), (.tcp, "127.0.0.1", 8080), (.tcp, "::", 8080), (.udp, "127.0.0.1", 5353),
    ] as [(TransportProtocol, IPAddress, UInt16)] {
      #expect(!canBind(transport, address, port, agent), "\(transport) \(address):\(port)")
    }
    #expect(canBind(.udp, "127.0.0.2", 5353, agent), "another address is free")
    try agent.succeed(#"{"event":"container.stop","container":"web"}"#)
    #expect(canBind(.tcp, "0.0.0.0", 8080, agent))
    #expect(canBind(.udp, "127.0.0.1", 5353, agent))
  }

  @Test func aRefusalNamesTheProgram() async throws {
    let agent = try await agent()
    let program = try agent.namespace.run { () throws(SystemError) in try serverSocket(.tcp, "127.0.0.1", 8080) }
    defer { withExtendedLifetime(program) {} }
    let reply = try agent.send(start("8080:80"))
    #expect(reply.errorCode == "host-port-in-use")
    #expect(reply["error"]?["field"] == "publish[0]")
    let message = "\(reply["error"]?["message"] ?? .null)"
    for part in ["0.0.0.0:8080/tcp", "pid \(getpid())", "uid \(getuid())"] {
      #expect(message.contains(part), "\(message) should contain \(part)")
    }
  }

  /// While the agent is away a program takes a port: the mapping works, is reported, and is held again by itself.
  @Test func aPortTakenMeanwhileIsDegradedAndHeals() async throws {
    let agent = try await agent()
    try agent.succeed(start("8080:80"))
    agent.kill()
    var program: Descriptor? = try agent.namespace.run { () throws(SystemError) in
      try serverSocket(.tcp, "0.0.0.0", 8080)
    }
    try agent.start()
    let mappings = try #require(try agent.succeed(#"{"query":"list"}"#).mappings)
    #expect(mappings.map { $0["state"] } == ["degraded", "live"])
    #expect("\(mappings[0]["reason"] ?? .null)".contains("pid \(getpid())"))
    let status = try agent.succeed(#"{"query":"status"}"#)
    #expect("\(status["degraded"] ?? .null)".contains("host-port-in-use"))
    let watcher = try watcher(agent)
    withExtendedLifetime(program) {}
    program = nil
    let change = try #require(try watcher.receive())
    #expect(change["change"] == "changed" && change["state"] == "live" && change["host_port"] == .integer(8080))
    #expect(!canBind(.tcp, "0.0.0.0", 8080, agent), "held again")
  }

  /// Over IPv4 and IPv6: stored and installed, waiting; live when the address comes, waiting again when it goes.
  @Test(arguments: ["192.0.2.10", "2001:db8::10"])
  func aMappingWaitsForItsAddress(address: String) async throws {
    let agent = try await agent()
    let text = address.contains(":") ? "[\(address)]" : address
    let reply = try agent.succeed(start("\(text):8080:80"))
    #expect(reply.warningCodes == ["address-not-local"])
    let pending = try #require(try agent.succeed(#"{"query":"list"}"#).mappings?.first)
    #expect(pending["state"] == "pending")
    #expect("\(pending["reason"] ?? .null)".contains(address))
    let watcher = try watcher(agent)
    let length = address.contains(":") ? "64" : "24"
    try await agent.namespace.command(
      ["ip", "address", "add", "\(address)/\(length)", "dev", "br-net"] + (address.contains(":") ? ["nodad"] : []))
    let live = try #require(try watcher.receive())
    #expect(live["change"] == "changed" && live["state"] == "live")
    #expect(!canBind(.tcp, try #require(IPAddress(parsing: address)), 8080, agent))
    try await agent.namespace.command("ip", "address", "del", "\(address)/\(length)", "dev", "br-net")
    let gone = try #require(try watcher.receive())
    #expect(gone["change"] == "changed" && gone["state"] == "pending")
  }

  /// Of a range one port is in use: that one is degraded, the others are not.
  @Test func eachPortOfARangeHasItsOwnState() async throws {
    let agent = try await agent()
    try agent.succeed(start("8000-8004:80-84"))
    agent.kill()
    var program: Descriptor? = try agent.namespace.run { () throws(SystemError) in
      try serverSocket(.tcp, "0.0.0.0", 8002)
    }
    try agent.start()
    func states(_ filter: String = "") throws -> [String] {
      try #require(try agent.succeed(#"{"query":"list"\#(filter)}"#).mappings)
        .filter { $0["family"] == "ipv4" }.map { "\($0["host_port"] ?? .null) \($0["state"]?.text ?? "?")" }
    }
    #expect(try states() == ["8000 live", "8001 live", "8002 degraded", "8003 live", "8004 live"])
    #expect(try states(#","host_port":8001"#) == ["8001 live"])
    let watcher = try watcher(agent)
    withExtendedLifetime(program) {}
    program = nil
    let change = try #require(try watcher.receive())
    #expect(change["change"] == "changed" && change["host_port"] == .integer(8002) && change["state"] == "live")
    // And nothing else: the next line is of the stop.
    try agent.succeed(#"{"event":"container.stop","container":"web"}"#)
    #expect(try watcher.receive()?["change"] == "removed")
  }

  /// Held or not, a mapping's state is told once when its address goes and comes.
  @Test(arguments: ["8000-8099:8000-8099", "20000-20299:20000-20299"])
  func anAddressThatGoesIsToldOncePerMapping(ports: String) async throws {
    let agent = try await agent()
    try await agent.namespace.command("ip", "address", "add", "192.0.2.10/24", "dev", "br-net")
    // The agent has heard of it once it is live.
    try agent.succeed(start("192.0.2.10:\(ports)", "192.0.2.10:7000:7000"))
    let count = try #require(try agent.succeed(#"{"query":"list"}"#).mappings).count
    let watcher = try watcher(agent)
    for (verb, state) in [("del", "pending"), ("add", "live")] {
      try await agent.namespace.command("ip", "address", verb, "192.0.2.10/24", "dev", "br-net")
      let told = try (0..<count).map { _ in try #require(try watcher.receive()) }
      #expect(told.allSatisfy { $0["change"] == "changed" && $0["state"] == .string(state) })
      #expect(Set(told.map { "\($0["host_port"] ?? .null)" }).count == count)
    }
    try agent.succeed(#"{"event":"container.stop","container":"web"}"#)
    #expect(try watcher.receive()?["change"] == "removed")
  }

  @Test func aReloadLetsGoOfWhatIsNoLongerHeld() async throws {
    let agent = try await agent()
    try agent.succeed(start("8080:80"))
    try write("hold_ports = \"none\"\nowner = false\n", to: agent.configuration)
    agent.signal(SIGHUP)
    try agent.waitForLog("configuration read again", "needs-restart=owner")
    #expect(try agent.succeed(#"{"query":"status"}"#)["held_ports"] == .integer(0))
    #expect(canBind(.tcp, "0.0.0.0", 8080, agent))
  }

  @Test func statusSaysOnceWhyConsecutivePortsWait() async throws {
    let agent = try await agent()
    try agent.succeed(start("192.0.2.10:8080-8089:8080-8089", "192.0.2.10:8091:8091"))
    let reason = "192.0.2.10 is not an address of this host; the mapping waits until it is"
    let messages = ["host port 192.0.2.10:8091/tcp: \(reason)", "host ports 192.0.2.10:8080-8089/tcp: \(reason)"]
    #expect(
      try agent.succeed(#"{"query":"status"}"#)["degraded"]
        == .array(messages.map { .object([("code", "address-not-local"), ("message", .string($0))]) }))
  }

  /// Stops the agent, and makes more news of the host than the socket has room for, the last of them `changes` of ip(8).
  private func stopAndLoseNews(_ agent: AgentProgram, of changes: [String]) async throws {
    agent.signal(SIGSTOP)
    let noise = (0..<2000).map { "address add 10.9.\($0 / 250).\($0 % 250)/32 dev lo" }
    try await agent.namespace.command("ip", "-batch", "-", input: (noise + changes).joined(separator: "\n"))
  }

  /// It looks at the host instead.
  @Test func lostNewsOfTheHostMeanLookingAtIt() async throws {
    let agent = try await agent()
    try agent.succeed(start("192.0.2.10:8080:80"))
    try await stopAndLoseNews(
      agent, of: ["link del br-net", "link add br-net type bridge", "address add 192.0.2.10/24 dev br-net"])
    agent.signal(SIGCONT)
    try agent.waitForLog("state of held ports changed", "192.0.2.10:8080")
    #expect(try agent.succeed(#"{"query":"list"}"#).mappings?.map { $0["state"] } == ["live"])
    let routeLocalnet = "/proc/sys/net/ipv4/conf/br-net/route_localnet"
    #expect(try await agent.namespace.command("cat", routeLocalnet) == "1\n")
  }

  /// Without a descriptor for a new socket it tries until it has one.
  @Test func lostNewsOfTheHostAreMadeUpForLater() async throws {
    let agent = try await agent()
    let change = { (verb: String) in "address \(verb) 192.0.2.10/24 dev br-net" }
    try await agent.namespace.command("ip", "-batch", "-", input: change("add"))
    try agent.succeed(start("192.0.2.10:8080:80"))
    let watcher = try watcher(agent)
    try await stopAndLoseNews(agent, of: [change("del")])
    try await agent.namespace.command("prlimit", "--pid", "\(agent.process)", "--nofile=1:1024")
    agent.signal(SIGCONT)
    try agent.waitForLog("changes go unnoticed", "interfaces and addresses", "Too many open files")
    try await agent.namespace.command("prlimit", "--pid", "\(agent.process)", "--nofile=1024:1024")
    #expect(try watcher.receive()?["state"] == "pending")
    // And what comes from now on is heard.
    for (verb, state) in [("add", "live"), ("del", "pending")] as [(String, JSON)] {
      try await agent.namespace.command("ip", "-batch", "-", input: change(verb))
      #expect(try watcher.receive()?["state"] == state)
    }
  }

  @Test(arguments: ["224.0.0.1", "[ff02::1]", "255.255.255.255"])
  func anAddressThatCanNeverExistIsRefused(address: String) async throws {
    let agent = try await agent()
    #expect(try agent.send(start("\(address):8080:80/udp")).errorCode == "address-not-available")
    #expect(try agent.succeed(#"{"query":"list"}"#).mappings == [])
  }

  @Test func largeRangesAreCheckedAndNotHeld() async throws {
    let agent = try await agent()
    try agent.succeed(start("10000-10255:10000-10255/udp", "20000-20256:20000-20256/udp"))
    #expect(try agent.succeed(#"{"query":"status"}"#)["held_ports"] == .integer(2 * 256))
    #expect(canBind(.udp, "0.0.0.0", 20100, agent))
    let program = try agent.namespace.run { () throws(SystemError) in try serverSocket(.udp, "127.0.0.1", 30100) }
    defer { withExtendedLifetime(program) {} }
    let refused = try agent.send(start("30000-30299:30000-30299/udp", id: "other", host: 3))
    #expect(refused.errorCode == "host-port-in-use")
  }

  @Test(arguments: [("all", 2 * 300), ("none", 0)])
  func thePolicyDecides(policy: String, held: Int64) async throws {
    let agent = try await agent("hold_ports = \"\(policy)\"\n")
    try agent.succeed(start("20000-20299:20000-20299/udp"))
    #expect(try agent.succeed(#"{"query":"status"}"#)["held_ports"] == .integer(held))
  }

  @Test func aSourceHasItsOwnPolicy() async throws {
    let agent = try await agent("[source.docker]\nhold_ports = \"none\"\n")
    let docker = start("8080:80").dropLast() + #","source":"docker"}"#
    try agent.succeed(String(docker))
    try agent.succeed(start("8081:80", id: "other", host: 3))
    #expect(try agent.succeed(#"{"query":"status"}"#)["held_ports"] == .integer(2))
  }

  /// Running out of descriptors is no reason to refuse a container.
  @Test func withoutDescriptorsPortsArePublishedAllTheSame() async throws {
    let agent = try await agent("hold_ports = \"all\"\n")
    try await agent.namespace.command("prlimit", "--pid", "\(agent.process)", "--nofile=64:64")
    let reply = try agent.succeed(start("20000-20099:20000-20099/udp"))
    #expect(Set(reply.warningCodes) == ["port-not-held"])
    #expect(try agent.succeed(#"{"query":"list"}"#).mappings?.count == 200)
    #expect(try agent.succeed(#"{"query":"status"}"#)["descriptor_limit"] == .integer(64))
    // And the socket still accepts clients afterwards.
    try agent.succeed(#"{"event":"container.stop","container":"web"}"#)
    #expect(try agent.client().ask(#"{"query":"hello"}"#)["ok"] == .bool(true))
  }
}

extension HoldingTests {
  /// A range that is not held and lies where the kernel finds ports for outgoing connections.
  @Test(arguments: [
    ("40000-40299:40000-40299/udp", ["overlaps-ephemeral-range"]), ("20000-20299:20000-20299/udp", []),
    ("40000-40009:40000-40009/udp", []), ("40000-40299:80", []),
  ])
  func unheldEphemeralPortsAreWarnedOf(publish: String, warnings: [String]) async throws {
    let agent = try await agent()
    #expect(try agent.succeed(start(publish)).warningCodes == warnings)
  }

  /// One that takes more than one read(2), of which the kernel answers the first only.
  @Test func aLongListOfReservedPortsIsHeededToItsEnd() async throws {
    let agent = try await agent()
    let reserved = stride(from: 40000, through: 40598, by: 2).map(String.init).joined(separator: ",")
    try await agent.namespace.command("sysctl", "-qw", "net.ipv4.ip_local_port_range=40596 40599")
    try await agent.namespace.command("sysctl", "-qw", "net.ipv4.ip_local_reserved_ports=\(reserved)")
    try agent.succeed(start("80", "81"))
    let mappings = try #require(try agent.succeed(#"{"query":"list"}"#).mappings)
    #expect(Set(mappings.map { "\($0["host_port"] ?? .null)" }) == ["40597", "40599"])
  }
}
