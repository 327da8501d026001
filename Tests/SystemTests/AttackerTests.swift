import Glibc
import PortMaps
import TestSupport
import Testing

/// A machine on the host's own layer 2 segment, and a container that behaves like one: both know the host's MAC address
/// and write into their packets what they like.
@Suite struct AttackerTests {
  /// What the attacker claims to be.
  enum Source: CaseIterable { case itself, loopback, neighbour, otherNetwork }

  @Test(arguments: [false, true], ["routed", "other", "web"])
  func nothingArrivesThatIsNotPublished(bridgeNetfilter: Bool, attacker name: String) async throws {
    let hidden = BridgeNetwork.numbered(0, "hidden")
    let topology = try await Topology(bridgeNetfilter: bridgeNetfilter, networks: [hidden])
    let (host, web, neighbour) = (topology.host, topology.web, topology.neighbour)
    let attacker = try #require([topology.routed, topology.other, web].first { $0.name == name })
    let hiddenNode = try #require(topology.pairs["hidden"]).container
    let agent = try AgentProgram(in: host.namespace)
    try agent.create(.web)
    try agent.create(.back)
    try agent.create(hidden, isInternal: true)
    try agent.start(
      web, publish: ["127.0.0.1", "[::1]"].flatMap { ["\($0):8080:80", "\($0):8080:80/udp"] })
    try agent.start(neighbour, publish: ["8083:80", "8083:80/udp"])
    try agent.start(hiddenNode, on: hidden, publish: ["8084:80", "8084:80/udp"])
    try await arm(attacker, against: host)
    try await host.namespace.command("nft", "-f", "-", input: Self.observing)
    let victims = [web, neighbour, hiddenNode]
    for victim in victims { try await victim.namespace.command("nft", "-f", "-", input: Self.counting) }

    for source in Source.allCases {
      try await forge(source, attacker, topology)
      let targets = AddressFamily.allCases.flatMap { family in
        let loopback: IPAddress = family == .ipv4 ? "127.0.0.1" : "::1"
        var ends: [(IPAddress, UInt16)] = [
          (loopback, 8080), (loopback, 8083), (host.address(family), 8080),
          (host.address(family), Topology.unpublished),
          (host.address(family), 8084), (hiddenNode.address(family), Topology.port),
          (hiddenNode.address(family), Topology.unpublished),
        ]
        // Containers of one network talk to each other as they like.
        if attacker.name != "web" {
          ends += [
            (web.address(family), Topology.port), (web.address(family), Topology.unpublished),
            (neighbour.address(family), Topology.unpublished),
          ]
        }
        // A published port is open to everybody, but nobody outside may pass for the host itself.
        if source == .loopback {
          ends.append((host.address(family), 8083))
          if attacker.name != "web" { ends.append((neighbour.address(family), Topology.port)) }
        }
        return ends.flatMap { address, port in
          [TransportProtocol.tcp, .udp].map { Target($0, address, port) }
        }
      }
      let control = Target(.tcp, gateway(of: attacker, .ipv4), Topology.hostPort)
      let answers = try attacker.ask(targets, control: control)
      for (target, answer) in zip(targets, answers) { #expect(answer.text == nil, "\(target) as \(source)") }
      for victim in victims { #expect(try await arrivals(victim) == 0, "at \(victim) from \(source)") }
    }

    // The packets for 127.0.0.1 and from it came as far as the host, those for ::1 where the kernel lets them, and the
    // guard dropped each.
    let (observed, guarded) = (
      try await host.namespace.command("nft", "list", "table", "inet", "observer"),
      try await host.namespace.command("nft", "list", "chain", "inet", "pmagent", "guard")
    )
    let seen = counts(observed)
    try #require(seen.count == 4)
    #expect(seen[0] > 0 && seen[1] > 0, "\(observed)")
    let isBridged = bridgeNetfilter && attacker.name != "routed"
    #expect((seen[2] > 0 && seen[3] > 0) == isBridged, "\(observed)")
    #expect(counts(guarded) == [seen.reduce(0, +)], "\(observed)\(guarded)")
    // Nor did one of those for ::1 pass for an answer.
    let answers = try await host.namespace.command("nft", "list", "table", "ip6", "pmagent")
    #expect(counts(answers) == [0, 0], "\(answers)")
    try await forge(.itself, attacker, topology)
    for family in AddressFamily.allCases {
      #expect(ask(.udp, host.address(family), 8083, from: attacker.namespace).text?.hasPrefix("neighbour saw ") == true)
      for victim in [web, hiddenNode] {
        #expect(ask(.udp, victim.address(family), Topology.unpublished, from: host.namespace).text != nil)
      }
    }
    for victim in victims { #expect(try await arrivals(victim) == 2, "\(victim)") }
  }

  /// A packet with the addresses and ports of a flow of the host's own would be part of it.
  @Test func aFlowOfTheHostItselfCannotBeJoined() async throws {
    let topology = try await Topology()
    let (host, attacker) = (topology.host, topology.routed)
    let agent = try AgentProgram(in: host.namespace)
    try agent.create(.web)
    let (server, client) = try host.namespace.run { () throws(SystemError) in
      (try serverSocket(.udp, "127.0.0.1", 9000), try serverSocket(.udp, "127.0.0.1", 9001))
    }
    // Connection tracking has seen both directions.
    for (from, to, port) in [(client, server, 9000 as UInt16), (server, client, 9001)] {
      send("own", by: from, to: port)
      #expect(received(by: to, milliseconds: 5000) == "own")
    }
    try await arm(attacker, against: host)
    try await forge(.loopback, attacker, topology)
    let forger = try attacker.namespace.run { () throws(SystemError) in try serverSocket(.udp, attacker.ipv4, 9001) }
    send("forged", by: forger, to: 9000)
    // Behind it on the same wire.
    _ = try attacker.ask([], control: Target(.udp, gateway(of: attacker, .ipv4), Topology.hostPort))
    #expect(received(by: server) == nil)
    let guarded = try await host.namespace.command("nft", "list", "chain", "inet", "pmagent", "guard")
    #expect(counts(guarded) == [1], "it did arrive: \(guarded)")
  }

  private func send(_ text: String, by socket: Descriptor, to port: UInt16) {
    let count = withSocketAddress("127.0.0.1", port) { sendto(socket.number, text, text.utf8.count, 0, $0, $1) }
    #expect(count == text.utf8.count)
  }

  private func received(by socket: Descriptor, milliseconds: CInt = 0) -> String? {
    var polled = pollfd(fd: socket.number, events: Int16(POLLIN), revents: 0)
    poll(&polled, 1, milliseconds)
    var bytes = [UInt8](repeating: 0, count: 64)
    let count = recv(socket.number, &bytes, bytes.count, CInt(MSG_DONTWAIT))
    return count < 0 ? nil : String(decoding: bytes[..<count], as: UTF8.self)
  }

  /// Every obstacle but ours is taken out of the way.
  private func arm(_ attacker: Node, against host: Node) async throws {
    try await host.namespace.command(
      "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1", "net.ipv4.conf.all.rp_filter=0",
      "net.ipv4.conf.all.accept_local=1", "net.ipv4.conf.v-routed.rp_filter=0",
      "net.ipv4.conf.\(BridgeNetwork.back.bridge).rp_filter=0", "net.ipv4.conf.\(BridgeNetwork.web.bridge).rp_filter=0")
    try await attacker.namespace.command("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
    try await attacker.namespace.command(
      "ip", "-batch", "-",
      input: """
        route del local 127.0.0.1 dev lo table local
        route del local 127.0.0.0/8 dev lo table local
        route add 127.0.0.1 via \(gateway(of: attacker, .ipv4)) src \(attacker.ipv4)
        route del local ::1 dev lo table local
        route add ::1 via \(gateway(of: attacker, .ipv6)) src \(attacker.ipv6)
        """)
  }

  /// The host's address on the attacker's own wire.
  private func gateway(of attacker: Node, _ family: AddressFamily) -> IPAddress {
    switch attacker.name {
    case "web": BridgeNetwork.web.gateway(family)
    case "other": BridgeNetwork.back.gateway(family)
    default: family == .ipv4 ? "198.51.100.1" : "2001:db8:100::1"
    }
  }

  /// Rewrites the source of everything but the control.
  private func forge(_ source: Source, _ attacker: Node, _ topology: Topology) async throws {
    let (ipv4, ipv6): (IPAddress, IPAddress) =
      switch source {
      case .itself: (attacker.ipv4, attacker.ipv6)
      case .loopback: ("127.0.0.1", "::1")
      case .neighbour: (topology.neighbour.ipv4, topology.neighbour.ipv6)
      case .otherNetwork:
        (BridgeNetwork.back.address(.ipv4, hostPart: 9), BridgeNetwork.back.address(.ipv6, hostPart: 9))
      }
    try await attacker.namespace.command(
      "nft", "-f", "-",
      input: """
        table inet forge
        delete table inet forge
        table inet forge {
          chain out {
            type filter hook postrouting priority 0;
            th dport != \(Topology.hostPort) ip saddr set \(ipv4)
            th dport != \(Topology.hostPort) ip6 saddr set \(ipv6)
          }
        }

        """)
  }

  /// Requests only: the host refuses to whom it takes for the sender.
  private static let counting = """
    table inet arrivals {
      chain in {
        type filter hook input priority 0;
        iifname "eth0" meta l4proto { tcp, udp } th dport { \(Topology.port), \(Topology.unpublished) } counter
      }
    }

    """

  private func arrivals(_ node: Node) async throws -> Int {
    try #require(counts(try await node.namespace.command("nft", "list", "table", "inet", "arrivals")).first)
  }

  /// What comes to the host from outside with a loopback address, before the guard sees it.
  private static let observing = """
    table inet observer {
      chain first {
        type filter hook prerouting priority -301;
        iifname "lo" accept
        ip daddr 127.0.0.0/8 counter accept
        ip saddr 127.0.0.0/8 counter accept
        ip6 daddr ::1 counter accept
        ip6 saddr ::1 counter accept
      }
    }

    """

  private func counts(_ listing: String) -> [Int] {
    listing.matches(of: #/counter packets (\d+)/#).compactMap { Int($0.1) }
  }
}
