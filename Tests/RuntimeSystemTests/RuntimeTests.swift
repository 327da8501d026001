import Feed
import PortMaps
import TestSupport
import Testing

/// Real runtimes that publish nothing themselves, and pmagent in their place.
@Suite(.timeLimit(.minutes(3))) struct RuntimeTests {
  private typealias Engine = RuntimeHost.Engine
  private static let dual = ["--ipv6", "--subnet", "10.89.5.0/24", "--subnet", "fd00:5::/64"]

  @Test(arguments: RuntimeHost.Engine.allCases)
  func publishedPortsAnswer(_ engine: RuntimeHost.Engine) async throws {
    let scene = try await RuntimeScene(engine)
    try await scene.machine.client(["network", "create"] + Self.dual + ["dual"])
    try await scene.start("one", ["-p", "8080:80", "-p", "127.0.0.1:8081:80", "-p", "5353:7/udp", "-p", "80"])
    try await scene.start(
      "two",
      ["--network", "dual", "-p", "8082:80", "-p", "[::1]:8083:80", "-p", "9000-9004:8000-8004", "-p", "5354:7/udp"],
      answering: ["8000-8004"])
    try await scene.start("all", ["-P"])
    try await scene.verify("one", "two", "all")
    #expect(scene.ports("two").contains("80/tcp -> [::]:8082"))
    #expect(scene.ports("two").contains("8004/tcp -> [::]:9004"))

    // To a port of itself, of its network and of another one, through the host's address; and out.
    let (one, two) = (try await scene.machine.container("one"), try await scene.machine.container("two"))
    let host = scene.machine.host
    let server = try EchoServer("remote", in: scene.machine.remote.namespace, port: 99)
    defer { withExtendedLifetime(server) {} }
    let answers = try ask([
      Question(one, Target(.tcp, host.ipv4, 8080), mustAnswer: true),
      Question(two, Target(.tcp, host.ipv4, 8080), mustAnswer: true),
      Question(one, Target(.tcp, host.ipv4, 8082), mustAnswer: true),
      Question(two, Target(.tcp, host.ipv6, 8082), mustAnswer: true),
      Question(two, Target(.udp, host.ipv6, 5354), mustAnswer: true),
      Question(one, Target(.tcp, scene.machine.remote.ipv4, 99), mustAnswer: true),
      Question(two, Target(.tcp, scene.machine.remote.ipv6, 99), mustAnswer: true),
      // Another network's container, at its own address.
      Question(one, Target(.tcp, two.ipv4, 80), mustAnswer: false),
    ])
    let beginnings = answers.map { $0.text?.split(separator: ":").first.map(String.init) ?? "\($0)" }
    #expect(
      beginnings.map { $0.split(separator: " ").prefix(2).joined(separator: " ") }
        == ["one saw", "one saw", "two saw", "two saw", "two saw", "remote saw", "remote saw", "silence"])
    // With the host's address, though a daemon without iptables says that it does not masquerade.
    #expect(answers[5].text?.hasPrefix("remote saw 192.0.2.1:") == true)
    #expect(answers[6].text?.hasPrefix("remote saw 2001:db8::1:") == true)
  }

  @Test(arguments: RuntimeHost.Engine.allCases)
  func portsLiveAsLongAsTheContainer(_ engine: RuntimeHost.Engine) async throws {
    let scene = try await RuntimeScene(engine)
    try await scene.start("other", ["-p", "8079:80"])
    try await scene.start("one", ["-p", "8080:80", "-p", "80/udp"])
    try await scene.verify("one", "other")
    for end in [["stop", "-t", "0", "one"], ["kill", "one"]] {
      let ports = scene.ports("one")
      try await scene.machine.client(end)
      try scene.verifyGone("one", was: ports)
      try await scene.machine.client("start", "one")
      try await scene.verify("one", "other")
    }
    try await scene.machine.client("restart", "-t", "0", "one")
    try await scene.catchUp()
    try await scene.verify("one", "other")
    let ports = scene.ports("one")
    try await scene.machine.client("rm", "-f", "one")
    try scene.verifyGone("one", was: ports)
    // Its port is another's at once.
    try await scene.start("two", ["-p", "8080:80"])
    try await scene.verify("two", "other")
  }

  @Test(arguments: RuntimeHost.Engine.allCases)
  func portsFollowTheNetworks(_ engine: RuntimeHost.Engine) async throws {
    let scene = try await RuntimeScene(engine)
    try await scene.machine.client(["network", "create"] + Self.dual + ["dual"])
    try await scene.machine.client("network", "create", "--subnet", "10.89.4.0/24", "plain")
    try await scene.machine.client("network", "create", "--internal", "--subnet", "10.89.6.0/24", "inner")
    try await scene.start("one", ["--network", "plain", "-p", "8080:80"])
    try await scene.verify("one")
    try await scene.machine.client("network", "connect", "dual", "one")
    try scene.wait(for: "IPv6") { scene.ports("one") == ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"] }
    try await scene.verify("one")
    try await scene.machine.client("network", "disconnect", "plain", "one")
    try scene.wait(for: "one network") { scene.ports("one") == ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"] }
    try await scene.verify("one")
    try await scene.machine.client("network", "connect", "inner", "one")
    try await scene.machine.client("network", "disconnect", "dual", "one")
    try scene.wait(for: "nothing, on an internal network") { scene.ports("one").isEmpty }
    try await scene.machine.client("rm", "-f", "one")
    try await scene.machine.client("network", "rm", "dual")
    // The name and the bridge's may come back as those of another network.
    try await scene.machine.client("network", "create", "--subnet", "10.89.7.0/24", "dual")
    try await scene.start("two", ["--network", "dual", "-p", "8082:80"])
    try await scene.verify("two")
  }

  @Test(arguments: RuntimeHost.Engine.allCases)
  func aDaemonThatIsKilledTakesNothingWithIt(_ engine: RuntimeHost.Engine) async throws {
    let scene = try await RuntimeScene(engine)
    for (name, port) in [("stays", 8080), ("dies", 8081)] { try await scene.start(name, ["-p", "\(port):80"]) }
    try await scene.verify("stays", "dies")
    let (stays, dies) = (scene.ports("stays"), scene.ports("dies"))
    let pid = try await scene.machine.client("inspect", "--format", "{{.State.Pid}}", "dies").prefix { $0.isNumber }
    try await scene.machine.killDaemon()
    try scene.agent.waitForLog("not following a runtime")
    // Nobody is there to tell that it has ended.
    try await scene.machine.run(["kill", "-KILL", String(pid)])
    #expect((scene.ports("stays"), scene.ports("dies")) == (stays, dies))
    let target = Target(.tcp, scene.machine.host.ipv4, 8080)
    #expect(
      try ask([Question(scene.machine.remote, target, mustAnswer: true)])[0].text?.hasPrefix("stays saw ") == true)
    try await scene.machine.startDaemon()
    try scene.verifyGone("dies", was: dies)
    try await scene.verify("stays")
    try await scene.machine.client("start", "dies")
    try await scene.verify("stays", "dies")
  }

  @Test(arguments: RuntimeHost.Engine.allCases)
  func anAgentThatIsKilledFindsWhatHasChanged(_ engine: RuntimeHost.Engine) async throws {
    let scene = try await RuntimeScene(engine)
    for (name, port) in [("stays", 8080), ("ends", 8081), ("changes", 8082)] {
      try await scene.start(name, ["-p", "\(port):80", "-p", "80/udp"])
    }
    try await scene.verify("stays", "ends", "changes")
    let ended = scene.ports("ends")
    scene.agent.kill()
    try await scene.machine.client("rm", "-f", "ends")
    try await scene.machine.client("restart", "-t", "0", "changes")
    try await scene.start("begins", ["-p", "8083:80"])
    try scene.startAgent()
    try await scene.verify("stays", "changes", "begins")
    try scene.verifyGone("ends", was: ended)
    let status = try scene.agent.succeed(#"{"query":"status"}"#)
    #expect(status["in_sync"] == .bool(true))
    guard case .array(let sources)? = status["sources"] else {
      throw NetworkNamespace.Failure(description: "\(status)")
    }
    #expect(sources.map { $0["name"] } == [.string(engine.rawValue)])
    #expect(sources.first?["connected"] == .bool(true))
    #expect(sources.first?["snapshot_age_ms"] != .null)
  }

  @Test(arguments: RuntimeHost.Engine.allCases)
  func aHundredAtOnce(_ engine: RuntimeHost.Engine) async throws {
    let scene = try await RuntimeScene(engine)
    // None is the start of another, which could be meant by it while it is not there yet.
    let names = (100..<200).map { "c\($0)" }
    let client = engine == .docker ? "/usr/bin/docker --host unix://\(scene.machine.socket)" : "podman"
    try await scene.machine.run([
      "sh", "-euc",
      """
      start() { \(client) run -d --name "c$1" -p $((20000 + $1)):80 -p 80/udp web /server "c$1" 80 > /dev/null; }
      # Podman looks for a free udp port before it takes it, so that two at once may find the same.
      for i in $(seq 100 199); do
        { start "$i" || { \(client) rm -f "c$i" > /dev/null && start "$i"; }; } &
        pids="${pids-} $!"
      done
      for pid in $pids; do wait "$pid"; done
      """,
    ])
    try await scene.verify(names)
    try await scene.machine.client(["rm", "-f"] + names)
    try scene.wait(for: "all to go") { names.allSatisfy { scene.ports($0).isEmpty } }
    #expect(try scene.agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))
  }
}
