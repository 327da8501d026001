import Feed
import Glibc
import PortMaps
import TestSupport
import Testing

/// SCTP is published as the others are. The kernel of a test machine rarely speaks it, but every kernel translates it:
/// so the first packet of an association is made by hand and counted where it arrives.
@Suite struct SCTPTests {
  @Test func theFirstPacketArrivesWhereItIsPublished() async throws {
    let topology = try await Topology()
    let (host, web, remote, routed) = (topology.host, topology.web, topology.remote, topology.routed)
    let agent = try AgentProgram(in: host.namespace)
    try agent.create(.web)
    let open = [
      "8080:80/sctp", "\(host.ipv4):8081:81/sctp", "[\(host.ipv6)]:8081:81/sctp", "8089:\(Topology.port)/udp",
    ].map { JSON.string($0) }
    let restricted = JSON.object([
      ("host_port", .integer(8082)), ("container_port", .integer(82)), ("protocol", .string("sctp")),
      ("allow_from", .array([.string("198.51.100.0/24"), .string("2001:db8:100::/48")])),
    ])
    try agent.start(web, publish: open + [restricted])
    try await web.namespace.command(
      "nft", "-f", "-",
      input: """
        table inet arrivals {
          chain in {
            type filter hook input priority 0;
            \((80...83).map { "sctp dport \($0) counter" }.joined(separator: "\n"))
          }
        }

        """)
    for family in AddressFamily.allCases {
      let (address, container) = (host.address(family), web.address(family))
      // The last of each does not arrive: a source that is not allowed, a port that nobody published.
      for port: UInt16 in [8080, 8081, 8082] { try sendInit(to: address, port, from: remote) }
      try sendInit(to: address, 8082, from: routed)
      try sendInit(to: container, 83, from: routed)
      // Packets do not overtake each other on the way.
      for client in [remote, routed] {
        #expect(ask(.udp, address, 8089, from: client.namespace) == .text("web saw \(client.address(family)): hello"))
      }
    }
    let list = try await web.namespace.command("nft", "list", "table", "inet", "arrivals")
    #expect(
      list.matches(of: #/dport (\d+) counter packets (\d+)/#).map { "\($0.1): \($0.2)" }
        == ["80: 2", "81: 2", "82: 2", "83: 0"])
  }

  private func sendInit(to address: IPAddress, _ port: UInt16, from node: Node) throws {
    let packet = Self.initPacket(to: port)
    try node.namespace.run { () throws(SystemError) in
      let family = address.family == .ipv4 ? AF_INET : AF_INET6
      let socket = try Descriptor(
        socket(family, CInt(SOCK_RAW.rawValue) | O_CLOEXEC, CInt(TransportProtocol.sctp.rawValue)), "socket")
      let sent = withSocketAddress(address, 0) { sendto(socket.number, packet, packet.count, 0, $0, $1) }
      guard sent == packet.count else { throw SystemError("sendto \(address)") }
    }
  }

  /// RFC 9260, 3.1 and 3.3.2: the common header with verification tag 0, and one INIT chunk.
  private static func initPacket(to port: UInt16) -> [UInt8] {
    var packet: [UInt8] = [0x80, 0x00, UInt8(port >> 8), UInt8(port & 0xff), 0, 0, 0, 0, 0, 0, 0, 0]
    packet += [1, 0, 0, 20, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]
    let checksum = crc32c(packet)
    for byte in 0..<4 { packet[8 + byte] = UInt8(truncatingIfNeeded: checksum >> UInt32(8 * byte)) }
    return packet
  }

  /// RFC 9260, appendix A.
  private static func crc32c(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(UInt32.max) { crc, byte in
      (0..<8).reduce(crc ^ UInt32(byte)) { crc, _ in crc & 1 == 1 ? crc >> 1 ^ 0x82f6_3b78 : crc >> 1 }
    }
  }
}
