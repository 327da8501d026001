import Feed
import Glibc
import PortMaps
import TestSupport
import Testing

/// What the host's own ::1 needs to reach a published port. That nobody else can use it is in the attackers' tests.
@Suite(.timeLimit(.minutes(2))) struct LoopbackTests {
  @Test(arguments: [false, true])
  func answersComeBackByABridge(bridgeNetfilter: Bool) async throws {
    let topology = try await Topology(bridgeNetfilter: bridgeNetfilter)
    let (host, bridge) = (topology.host.namespace, Plan.bridge)
    let agent = try AgentProgram(in: host)
    try agent.create(.web)
    try agent.start(
      topology.web, publish: ["[::1]:8080:80", "[::1]:8080:80/udp", "[::1]:8081:82/udp", "[::1]:8082:82"])
    for change in [
      [], ["link set \(bridge) down", "link set \(bridge) up"],
      [
        "link del \(bridge)", "link add \(bridge) type bridge", "link set \(bridge) up",
        "link set v-web master \(bridge)",
      ],
    ] {
      // An address that is still tentative would be passed over, by neighbour solicitations too.
      let address = "address add \(BridgeNetwork.web.gateway(.ipv6))/64 dev \(bridge) nodad"
      let lines = change + (change.isEmpty ? [] : [address])
      try await host.command("ip", "-batch", "-", input: lines.joined(separator: "\n"))
      for transport in [TransportProtocol.tcp, .udp] {
        #expect(
          ask(transport, "::1", 8080, from: host) == .text("web saw \(BridgeNetwork.web.gateway(.ipv6)): hello"),
          "\(transport) after \(change)")
      }
      // An ICMP error, and a reset: nobody listens there.
      #expect(ask(.udp, "::1", 8081, from: host) == .refused(ECONNREFUSED), "\(change)")
      #expect(ask(.tcp, "::1", 8082, from: host) == .refused(ECONNREFUSED), "\(change)")
    }
  }

  /// Packets larger than a segment, whose checksum is still to be made.
  @Test(arguments: [false, true])
  func muchComesBack(bridgeNetfilter: Bool) async throws {
    let topology = try await Topology(bridgeNetfilter: bridgeNetfilter)
    let host = topology.host.namespace
    let agent = try AgentProgram(in: host)
    try agent.create(.web)
    try agent.start(topology.web, publish: ["[::1]:8082:82"])
    let listener = try topology.web.namespace.run { () throws(SystemError) in
      try serverSocket(.tcp, .any(.ipv6), 82)
    }
    let client = try host.run { () throws(SystemError) in try connected(.tcp, "::1", 8082) }
    let server = try Descriptor(accept(listener.number, nil, nil), "accept")
    let bytes = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 >> 8 ^ $0) }
    var (sent, received) = (0, [UInt8]())
    while received.count < bytes.count {
      var polled = [
        pollfd(fd: client.number, events: Int16(POLLIN), revents: 0),
        pollfd(fd: sent < bytes.count ? server.number : -1, events: Int16(POLLOUT), revents: 0),
      ]
      try #require(poll(&polled, 2, 5000) > 0, "stuck after \(received.count) bytes")
      if polled[1].revents != 0 {
        sent += bytes[sent...].withUnsafeBytes {
          max(0, send(server.number, $0.baseAddress, $0.count, CInt(MSG_DONTWAIT)))
        }
      }
      if polled[0].revents != 0 {
        var part = [UInt8](repeating: 0, count: 1 << 16)
        let count = recv(client.number, &part, part.count, 0)
        try #require(count > 0)
        received += part[..<count]
      }
    }
    #expect(received == bytes)
  }

  /// Somebody on another wire who knows a flow's addresses and ports is not the container.
  @Test func answersComeFromWhereTheContainerIs() async throws {
    let topology = try await Topology()
    let (host, forger) = (topology.host.namespace, topology.routed)
    let agent = try AgentProgram(in: host)
    try agent.create(.web)
    try agent.start(topology.web, publish: ["[::1]:8080:80/udp"])
    let client = try host.run { () throws(SystemError) in try connected(.udp, "::1", 8080, from: ("::1", 9001)) }
    #expect(answer(to: "before", by: client) == "web saw \(BridgeNetwork.web.gateway(.ipv6)): before")

    try await host.command(
      "nft", "-f", "-",
      input: """
        table ip6 observer {
          chain first {
            type filter hook prerouting priority -301;
            iifname "v-routed" ip6 saddr \(topology.web.ipv6) udp sport 80 counter
          }
        }

        """)
    try await forger.namespace.command(
      "nft", "-f", "-",
      input: """
        table ip6 forge {
          chain out {
            type filter hook postrouting priority 0;
            udp sport 5080 ip6 saddr set \(topology.web.ipv6) udp sport set 80
          }
        }

        """)
    let address = BridgeNetwork.web.gateway(.ipv6)
    let socket = try forger.namespace.run { () throws(SystemError) in
      try connected(.udp, address, 9001, from: (forger.ipv6, 5080))
    }
    #expect(send(socket.number, "forged", 6, 0) == 6)
    // Behind it on the same wire.
    _ = try forger.ask([], control: Target(.udp, "2001:db8:100::1", Topology.hostPort))
    #expect(answer(to: "after", by: client) == "web saw \(address): after")
    let observed = try await host.command("nft", "list", "table", "ip6", "observer")
    #expect(observed.contains("counter packets 1 "), "it did arrive: \(observed)")
  }

  /// In the calling thread's network namespace.
  private func connected(
    _ transport: TransportProtocol, _ address: IPAddress, _ port: UInt16, from own: (IPAddress, UInt16)? = nil
  ) throws(SystemError) -> Descriptor {
    let type = transport == .udp ? SOCK_DGRAM : SOCK_STREAM
    let socket = try Descriptor(Glibc.socket(AF_INET6, CInt(type.rawValue) | O_CLOEXEC, 0), "socket")
    var limit = timeval(tv_sec: 5, tv_usec: 0)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
      setsockopt(socket.number, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
    }
    if let own, withSocketAddress(own.0, own.1, { bind(socket.number, $0, $1) }) != 0 { throw SystemError("bind") }
    guard withSocketAddress(address, port, { connect(socket.number, $0, $1) }) == 0 else {
      throw SystemError("connect")
    }
    return socket
  }

  private func answer(to text: String, by socket: Descriptor) -> String? {
    send(socket.number, text, text.utf8.count, 0)
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = recv(socket.number, &bytes, bytes.count, 0)
    return count < 0 ? nil : String(decoding: bytes[..<count], as: UTF8.self)
  }

  private static let create = """
    {"event":"network.create","network":{"id":"net","bridge":"br-a","subnets":["172.18.0.0/16","fd00::/64"]}}
    """

  @Test func aHostWithoutItSaysSo() async throws {
    let host = try NetworkNamespace()
    try await host.command("ip", "link", "set", "lo", "up")
    try await host.command("sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=1")
    let agent = try AgentProgram(in: host)
    let degraded = { try agent.succeed(#"{"query":"status"}"#)["degraded"]?.description ?? "" }
    // Nobody wants it yet.
    #expect(try degraded() == "[]")
    try agent.succeed(Self.create)
    #expect(try degraded().contains("ipv6-loopback-unsupported"))
    #expect(try degraded().contains("net.ipv6.conf.lo.disable_ipv6 is 1"))
    for (publish, warnings) in [
      ("[::1]:8080:80", ["ipv6-loopback-unsupported"]), ("127.0.0.1:8080:80", []), ("8080:80", []),
    ] {
      let reply = try agent.succeed(
        #"{"event":"container.start","container":{"id":"web","networks":[{"network":"net","ipv4":"172.18.0.2","#
          + #""ipv6":"fd00::2"}],"publish":["\#(publish)"]}}"#)
      #expect(reply.warningCodes.filter { $0.contains("loopback") } == warnings, "\(publish): \(reply)")
    }
    #expect(try await host.command("nft", "list", "tables") == "table inet pmagent\n")
  }
}
