import Feed
import Glibc
import PortMaps
import TestSupport
import Testing

/// What a published port means on the wire: packets with payload through the real kernel.
@Suite struct PacketTests {
  /// IPv4 and IPv6, tcp and udp.
  static let flows = AddressFamily.allCases.flatMap { family in
    [TransportProtocol.tcp, .udp].map { (family: family, transport: $0) }
  }

  struct Cell: CustomStringConvertible, Sendable {
    let family: AddressFamily
    let transport: TransportProtocol
    let isExact: Bool
    let isRemote: Bool
    var description: String {
      "\(family) \(transport), \(isExact ? "one address" : "any address"), from \(isRemote ? "a remote" : "the") host"
    }

    static let all: [Cell] = flows.flatMap { flow in
      [true, false].flatMap { isExact in
        [true, false].map {
          Cell(family: flow.family, transport: flow.transport, isExact: isExact, isRemote: $0)
        }
      }
    }
  }

  @Test func aPublishedPortAnswers() async throws {
    let topology = try await Topology()
    let agent = try AgentProgram(in: topology.host.namespace)
    try agent.create(.web)
    try agent.start(
      topology.web,
      publish: ["tcp", "udp"].flatMap {
        ["8080:80/\($0)", "\(topology.host.ipv4):8081:80/\($0)", "[\(topology.host.ipv6)]:8081:80/\($0)"]
      })
    #expect(Cell.all.count == 16)
    for cell in Cell.all {
      let client = cell.isRemote ? topology.remote : topology.host
      let answer = ask(
        cell.transport, topology.host.address(cell.family), cell.isExact ? 8081 : 8080, from: client.namespace)
      #expect(answer == .text("web saw \(client.address(cell.family)): hello"), "\(cell)")
    }
  }

  /// Through every address of the host, by a container of the same network, with and without br_netfilter.
  @Test(arguments: [false, true])
  func containersReachTheirOwnNetworkThroughTheHost(bridgeNetfilter: Bool) async throws {
    let topology = try await Topology(bridgeNetfilter: bridgeNetfilter)
    let agent = try AgentProgram(in: topology.host.namespace)
    try agent.create(.web)
    try agent.start(topology.web, publish: ["8080:80", "8080:80/udp"])
    for (family, transport) in Self.flows {
      let gateway: IPAddress = family == .ipv4 ? "172.18.0.1" : "2001:db8:18::1"
      for client in [topology.web, topology.neighbour] {
        for address in [topology.host.address(family), gateway] {
          let answer = ask(transport, address, 8080, from: client.namespace)
          #expect(answer == .text("web saw \(gateway): hello"), "\(client) asks \(transport) \(address)")
        }
      }
    }
  }

  @Test func publishedOnLoopbackIsForTheHostAlone() async throws {
    let topology = try await Topology()
    let (host, attacker) = (topology.host, topology.routed)
    let agent = try AgentProgram(in: host.namespace)
    try agent.create(.web)
    try agent.start(topology.web, publish: ["127.0.0.1:8080:80", "127.0.0.1:8080:80/udp", "8081:80"])
    let control = Target(.tcp, topology.host.ipv4, 8081)
    for transport in [TransportProtocol.tcp, .udp] {
      #expect(ask(transport, "127.0.0.1", 8080, from: host.namespace) == .text("web saw 172.18.0.1: hello"))
      for address in [host.ipv4, "172.18.0.1"] as [IPAddress] {
        #expect(try attacker.ask([Target(transport, address, 8080)], control: control)[0].text == nil)
      }
    }
    // A neighbour on the wire sends packets for 127.0.0.1 to our MAC address: for the published port, and for a service of
    // the host itself, which nothing but the guard keeps from it.
    let service = try host.namespace.run { () throws(SystemError) in try serverSocket(.udp, "127.0.0.1", 9000) }
    try await host.namespace.command("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
    try await attacker.namespace.command(
      "ip", "-batch", "-",
      input: """
        route del local 127.0.0.1 dev lo table local
        route del local 127.0.0.0/8 dev lo table local
        route add 127.0.0.1 via 198.51.100.1 src 198.51.100.2
        """)
    try await attacker.namespace.command("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
    let targets = [
      Target(.tcp, "127.0.0.1", 8080), Target(.udp, "127.0.0.1", 8080), Target(.udp, "127.0.0.1", 9000),
    ]
    #expect(try attacker.ask(targets, control: control) == [.silence, .silence, .silence])
    var datagram = [UInt8](repeating: 0, count: 64)
    #expect(recv(service.number, &datagram, datagram.count, CInt(MSG_DONTWAIT)) == -1)
    let guarded = try await host.namespace.command("nft", "list", "chain", "inet", "pmagent", "guard")
    #expect(
      guarded.contains(#/counter packets [3-9] bytes \d+ drop/#),
      "the packets did arrive: \(guarded)")
  }

  @Test func onlyWhatIsPublishedIsOpen() async throws {
    let topology = try await Topology()
    let (host, web) = (topology.host, topology.web)
    let agent = try AgentProgram(in: host.namespace)
    try agent.create(.web)
    try agent.start(web, publish: ["[::]:8083:80", "\(host.ipv4):8081:80", "8080:80", "8080:80/udp"])
    let control = Target(.tcp, host.ipv4, 8080)
    #expect(
      try topology.remote.ask([Target(.tcp, host.ipv6, 8083)], control: control)
        == [.text("web saw \(topology.remote.ipv6): hello")])
    let closed = [
      Target(.tcp, host.ipv4, 8083), Target(.tcp, host.ipv4, Topology.unpublished),
      Target(.udp, host.ipv6, Topology.unpublished), Target(.udp, host.ipv4, 8081), Target(.tcp, host.ipv6, 8081),
    ]
    for (target, answer) in zip(closed, try topology.remote.ask(closed, control: control)) {
      #expect(answer.text == nil, "\(target)")
    }
    // One address of the host is not its other address.
    #expect(try topology.routed.ask([Target(.tcp, "198.51.100.1", 8081)], control: control)[0].text == nil)
    // With a route to the container: its published ports, and no others.
    for (family, transport) in Self.flows {
      let answers = try topology.routed.ask(
        [
          Target(transport, web.address(family), Topology.port),
          Target(transport, web.address(family), Topology.unpublished),
        ], control: control)
      #expect(
        answers == [.text("web saw \(topology.routed.address(family)): hello"), .silence], "\(family) \(transport)")
    }
  }

  @Test func anotherNetworkUsesHostAddresses() async throws {
    let topology = try await Topology()
    let agent = try AgentProgram(in: topology.host.namespace)
    try agent.create(.web)
    try agent.create(.back)
    try agent.start(topology.web, publish: ["8080:80", "8080:80/udp"])
    let control = Target(.tcp, topology.host.ipv4, 8080)
    for (family, transport) in Self.flows {
      let host = topology.host.address(family)
      let answers = try topology.other.ask(
        [
          Target(transport, host, 8080), Target(transport, topology.web.address(family), Topology.port),
          Target(transport, topology.neighbour.address(family), Topology.port),
        ], control: control)
      #expect(answers[0].text?.hasPrefix("web saw ") == true, "\(family) \(transport)")
      #expect(answers[1...] == [.silence, .silence], "\(family) \(transport)")
    }
  }

  @Test func routedModeIsReachedDirectly() async throws {
    let topology = try await Topology()
    let (other, routed) = (topology.other, topology.routed)
    let agent = try AgentProgram(in: topology.host.namespace)
    try agent.create(.web)
    try agent.create(.back, options: ["gateway_mode_ipv4": "routed", "gateway_mode_ipv6": "routed"])
    try agent.start(topology.web, publish: ["8080:80"])
    try agent.start(other, on: .back, publish: ["8082:80", "8082:80/udp"])
    let control = Target(.tcp, topology.host.ipv4, 8080)
    for (family, transport) in Self.flows {
      let targets = [
        Target(transport, other.address(family), Topology.port),
        Target(transport, other.address(family), Topology.unpublished),
        Target(transport, topology.host.address(family), 8082),
      ]
      let answers = try routed.ask(targets, control: control)
      #expect(answers[0] == .text("other saw \(routed.address(family)): hello"), "\(family) \(transport)")
      #expect(answers[1...].map(\.text) == [nil, nil], "\(family) \(transport)")
      let neighbours = try topology.web.ask(targets, control: control)
      #expect(neighbours[0].text?.hasPrefix("other saw ") == true, "\(family) \(transport)")
      #expect(neighbours[1...].map(\.text) == [nil, nil], "\(family) \(transport)")
      // Outgoing packets keep the container's address.
      let outgoing = ask(transport, routed.address(family), Topology.port, from: other.namespace)
      #expect(outgoing == .text("routed saw \(other.address(family)): hello"))
    }
    // Its containers use published ports of other networks as everybody does.
    #expect(ask(.tcp, topology.host.ipv4, 8080, from: other.namespace).text?.hasPrefix("web saw ") == true)
  }

  @Test func internalNetworksAreClosedBothWays() async throws {
    let topology = try await Topology()
    let (other, routed) = (topology.other, topology.routed)
    let agent = try AgentProgram(in: topology.host.namespace)
    try agent.create(.web)
    try agent.create(.back, isInternal: true)
    try agent.start(topology.web, publish: ["8080:80"])
    #expect(try agent.start(other, on: .back, publish: ["8082:80", "8082:80/udp"])["ports"] == .object([]))
    let control = Target(.tcp, topology.host.ipv4, 8080)
    for (family, transport) in Self.flows {
      let inwards = [
        Target(transport, other.address(family), Topology.port), Target(transport, topology.host.address(family), 8082),
      ]
      for client in [routed, topology.web] {
        #expect(
          try client.ask(inwards, control: control).map(\.text) == [nil, nil], "\(client) \(family) \(transport)")
      }
    }
    // Between them the host is the only one it talks to.
    let outwards = Self.flows.flatMap { family, transport in
      [routed, topology.web].map { Target(transport, $0.address(family), Topology.port) }
    }
    let answers = try other.ask(outwards, control: Target(.tcp, other.ipv4, Topology.port))
    #expect(answers == outwards.map { _ in .silence })
  }

  @Test func outgoingPacketsTakeAnAddressOfTheHost() async throws {
    let topology = try await Topology()
    let agent = try AgentProgram(in: topology.host.namespace)
    try agent.create(.web)
    for (family, transport) in Self.flows {
      let answer = ask(transport, topology.remote.address(family), Topology.port, from: topology.web.namespace)
      #expect(answer == .text("remote saw \(topology.host.address(family)): hello"), "\(family) \(transport)")
    }
  }
}
