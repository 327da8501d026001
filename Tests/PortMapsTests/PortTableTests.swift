import PortMaps
import TestSupport
import Testing

@Suite struct PortTableTests {
  private func binding(_ address: IPAddress, _ ports: PortRange?, _ transport: TransportProtocol = .tcp) -> Binding {
    Binding(
      network: "net", mode: .nat, transport: transport, hostAddress: address, hostPorts: ports,
      containerAddress: address.family == .ipv4 ? "172.19.0.2" : "fd00::2", containerPorts: ports ?? PortRange(80),
      request: 0)
  }

  @Test(
    arguments: [
      ("itself", "127.0.0.1", "127.0.0.1", .tcp, 8080, true),
      ("every address", "127.0.0.1", "0.0.0.0", .tcp, 8080, true),
      ("of every address", "0.0.0.0", "127.0.0.1", .tcp, 8080, true),
      ("another address", "127.0.0.1", "127.0.0.2", .tcp, 8080, false),
      ("another port", "0.0.0.0", "0.0.0.0", .tcp, 8081, false),
      ("another protocol", "0.0.0.0", "0.0.0.0", .udp, 8080, false),
      ("another family", "0.0.0.0", "::", .tcp, 8080, false),
      ("IPv6", "::", "::1", .tcp, 8080, true),
      ("IPv6, every address", "::1", "::", .tcp, 8080, true),
    ] as [(String, IPAddress, IPAddress, TransportProtocol, UInt16, Bool)])
  func ownership(
    _ name: String, _ claimed: IPAddress, _ asked: IPAddress, _ transport: TransportProtocol, _ port: UInt16,
    _ owned: Bool
  ) {
    var table = PortTable()
    #expect(table.owner(of: HostPort(asked, transport, port)) == nil)
    table.claim(binding(claimed, PortRange(8080)), for: 7)
    #expect(table.owner(of: HostPort(asked, transport, port)) == (owned ? 7 : nil))
    table.release(binding(claimed, PortRange(8080)))
    #expect(table.owner(of: HostPort(asked, transport, port)) == nil)
  }

  @Test func aRoutedBindingOwnsNothing() {
    var table = PortTable()
    table.claim(binding("0.0.0.0", nil), for: 7)
    #expect(table.owner(of: HostPort("0.0.0.0", .tcp, 80)) == nil)
  }

  @Test(arguments: seeds(50))
  func agreesWithAListOfClaims(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let addresses: [IPAddress] = ["0.0.0.0", "127.0.0.1", "192.0.2.10", "::", "::1"]
    var table = PortTable()
    var claims: [(binding: Binding, owner: Int64)] = []
    let owners = { (key: HostPort) in
      Set(
        claims.filter {
          $0.binding.allHostPorts.contains {
            $0.transport == key.transport && $0.port == key.port && $0.address.overlaps(key.address)
          }
        }.map(\.owner))
    }
    for owner in 1...40 as ClosedRange<Int64> {
      let first = UInt16.random(in: 1...8, using: &random)
      let claim = binding(
        random.pick(addresses), PortRange(first, first + random.pick([0, 2])), random.pick([.tcp, .udp]))
      if claim.allHostPorts.allSatisfy({ owners($0).isEmpty }) {
        table.claim(claim, for: owner)
        claims.append((claim, owner))
      } else if random.oneIn(2) {
        table.release(claims.remove(at: Int.random(in: 0..<claims.count, using: &random)).binding)
      }
      // Every key after every eighth step: enough to see a claim or a release go wrong, and quick.
      guard owner % 8 == 0 else { continue }
      let keys = addresses.flatMap { address in
        [TransportProtocol.tcp, .udp].flatMap { transport in (1...11).map { HostPort(address, transport, $0) } }
      }
      let wrong = keys.filter { key in
        table.owner(of: key).map { !owners(key).contains($0) } ?? !owners(key).isEmpty
      }
      #expect(wrong == [])
    }
  }
}
