import PortMaps
import TestSupport
import Testing

@testable import Storage

/// One owner of a host port, ranges and wildcards included: the triggers and `owner(of:)` against a list.
struct OverlapTests {
  let directory: TemporaryDirectory
  let store: Store

  init() throws {
    directory = try TemporaryDirectory()
    store = try Store.open(at: directory.database, access: .readWrite)
    try store.record(mynet)
  }

  private struct Key {
    var transport: TransportProtocol
    var address: IPAddress
    var ports: PortRange

    func conflicts(with other: Key) -> Bool {
      transport == other.transport && address.family == other.address.family && ports.overlaps(other.ports)
        && (address == other.address || address.isAny || other.address.isAny)
    }
  }

  private static let addresses = ["0.0.0.0", "127.0.0.1", "192.0.2.1", "::", "::1", "2001:db8::9"].map { IPAddress($0) }

  private static func randomKey(_ random: inout SeededGenerator) -> Key {
    // Mostly specific addresses, and sizes around the limits of the reach classes.
    let address = addresses.randomElement(using: &random) ?? .any(.ipv4)
    let size = [1, 1, 1, 2, 15, 16, 17, 255, 256, 257, 4096, 4097].randomElement(using: &random) ?? 1
    let first = Int.random(in: 1...65535, using: &random)
    return Key(
      transport: [.tcp, .udp].randomElement(using: &random) ?? .tcp, address: address,
      ports: PortRange(UInt16(first), UInt16(min(first + size - 1, 65535))))
  }

  private func record(_ n: Int, _ key: Key) -> ContainerRecord {
    let inside: IPAddress = IPAddress(key.address.family == .ipv4 ? "172.18.0.2" : "2001:db8::2")
    let ports = PortRange(1, UInt16(key.ports.count))
    return ContainerRecord(
      container: Container(
        source: "default", id: "c\(n)", name: "c\(n)",
        endpoints: [Endpoint(network: "n1", ipv4: IPAddress("172.18.0.2"), ipv6: IPAddress("2001:db8::2"))]),
      bindings: [
        Binding(
          network: "n1", mode: .nat, transport: key.transport, hostAddress: key.address, hostPorts: key.ports,
          containerAddress: inside, containerPorts: ports, request: nil)
      ])
  }

  /// Each is searched for every new binding.
  @Test func onlyClassesInUseAreSearched() throws {
    func classes() throws -> [String] {
      let rows = try store.database.rows("SELECT reach FROM reach_class ORDER BY reach")
      var classes: [String] = []
      while let row = try rows.next() { classes += row.text }
      return classes
    }
    #expect(try classes().isEmpty)
    func key(_ ports: PortRange) -> Key { Key(transport: .tcp, address: .any(.ipv4), ports: ports) }
    for port in 1...3 { _ = try store.record(record(port, key(PortRange(UInt16(port))))) }
    #expect(try classes() == ["1"])
    _ = try store.record(record(4, key(PortRange(1000, 1299))))
    #expect(try classes() == ["1", "4096"])
  }

  @Test func randomBindingsAgreeWithAList() throws {
    let seed = Effort.seed()
    print("seed \(seed)")
    var random = SeededGenerator(seed: seed)
    var owners: [(id: String, row: Int64, key: Key)] = []
    var refused = 0
    for n in 0..<2000 {
      let key = Self.randomKey(&random)
      let free = !owners.contains { $0.key.conflicts(with: key) }
      let row: Int64?
      do {
        row = try store.record(record(n, key))
      } catch {
        guard error.message == "host port already allocated" else { throw error }
        row = nil
      }
      #expect((row != nil) == free, "\(key)")
      if let row { owners.append(("c\(n)", row, key)) } else { refused += 1 }
      // Keep some room, and see that what is removed is free again.
      if owners.count > 150 {
        let gone = owners.remove(at: Int.random(in: 0..<owners.count, using: &random))
        try store.remove(gone.id)
      }
    }
    for _ in 0..<2000 {
      let key = Self.randomKey(&random)
      let port = HostPort(key.address, key.transport, key.ports.first)
      let single = Key(transport: key.transport, address: key.address, ports: PortRange(key.ports.first))
      let expected = owners.filter { $0.key.conflicts(with: single) }.map(\.id)
      let owner = try store.owner(of: port)
      #expect(owner.map { expected.contains($0.id) } ?? expected.isEmpty, "\(port)")
    }
    #expect(refused > 100 && owners.count > 50)
  }

  struct Pair: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let first, second: (address: String, transport: TransportProtocol, ports: PortRange)
    let conflict: Bool
    init(
      _ description: String, _ first: (String, TransportProtocol, PortRange),
      _ second: (String, TransportProtocol, PortRange), conflict: Bool
    ) {
      (testDescription, self.first, self.second, self.conflict) = (description, first, second, conflict)
    }
  }

  @Test(arguments: [
    Pair("same key", ("0.0.0.0", .tcp, .init(80)), ("0.0.0.0", .tcp, .init(80)), conflict: true),
    Pair("any, then one", ("0.0.0.0", .tcp, .init(80)), ("127.0.0.1", .tcp, .init(80)), conflict: true),
    Pair("one, then any", ("127.0.0.1", .tcp, .init(80)), ("0.0.0.0", .tcp, .init(80)), conflict: true),
    Pair("one, then another", ("127.0.0.1", .tcp, .init(80)), ("127.0.0.2", .tcp, .init(80)), conflict: false),
    Pair("any of the other family", ("0.0.0.0", .tcp, .init(80)), ("::", .tcp, .init(80)), conflict: false),
    Pair("IPv6 any, then one", ("::", .tcp, .init(80)), ("::1", .tcp, .init(80)), conflict: true),
    Pair("IPv6 one, then any", ("::1", .tcp, .init(80)), ("::", .tcp, .init(80)), conflict: true),
    Pair("other protocol", ("0.0.0.0", .tcp, .init(80)), ("0.0.0.0", .sctp, .init(80)), conflict: false),
    Pair("last port of a range", ("0.0.0.0", .udp, .init(70, 80)), ("0.0.0.0", .udp, .init(80)), conflict: true),
    Pair("after a range", ("0.0.0.0", .udp, .init(70, 80)), ("0.0.0.0", .udp, .init(81)), conflict: false),
    Pair("range over a port", ("127.0.0.1", .udp, .init(75)), ("0.0.0.0", .udp, .init(70, 80)), conflict: true),
    Pair("in the largest range", ("::", .udp, .init(1, 65535)), ("::1", .udp, .init(65535)), conflict: true),
    Pair("ranges that touch", ("::", .udp, .init(1, 16)), ("::", .udp, .init(17, 32)), conflict: false),
  ])
  func twoOwners(_ pair: Pair) throws {
    let keys = [pair.first, pair.second].map { Key(transport: $0.1, address: IPAddress($0.0), ports: $0.2) }
    _ = try store.record(record(0, keys[0]))
    #expect((thrown { _ = try store.record(record(1, keys[1])) } != nil) == pair.conflict)
    for port in keys[1].ports.ports where keys[0].ports.ports.contains(port) && pair.conflict {
      #expect(try store.owner(of: HostPort(keys[1].address, keys[1].transport, port))?.id == "c0")
    }
  }

  /// Around the limits of the reach classes, where a range is found from its last port only.
  @Test(arguments: [1, 2, 15, 16, 17, 255, 256, 257, 4095, 4096, 4097, 65534], ["0.0.0.0", "127.0.0.1", "::", "::1"])
  func theLastPortOfARangeIsTakenAndTheNextIsFree(_ size: Int, _ address: String) throws {
    func key(_ first: Int, _ last: Int) -> Key {
      Key(transport: .tcp, address: IPAddress(address), ports: PortRange(UInt16(first), UInt16(last)))
    }
    _ = try store.record(record(0, key(1, size)))
    #expect(thrown { _ = try store.record(record(1, key(size, size))) }?.message == "host port already allocated")
    #expect(try store.owner(of: HostPort(IPAddress(address), .tcp, UInt16(size)))?.id == "c0")
    #expect(try store.owner(of: HostPort(IPAddress(address), .tcp, UInt16(size + 1))) == nil)
    _ = try store.record(record(2, key(size + 1, size + 1)))
  }

  @Test func routedBindingsNeverConflict() throws {
    for n in 1...2 {
      var record = try simpleRecord(n)
      (record.bindings[0].mode, record.bindings[0].hostPorts) = (.routed, nil)
      _ = try store.record(record)
    }
    #expect(try store.owner(of: HostPort(.any(.ipv4), .tcp, 80)) == nil)
  }

  @Test func containersAtOneAddressAreFound() throws {
    var (first, second) = (try simpleRecord(1), try simpleRecord(2))
    second.bindings[0].containerAddress = first.bindings[0].containerAddress
    let rows = [try store.record(first), try store.record(second), try store.record(try simpleRecord(3))]
    let address = first.bindings[0].containerAddress
    func others(_ rows: Set<Int64>) throws -> [Int64] {
      try store.containers(at: [address], otherThan: rows).map(\.row)
    }
    #expect(try others([]) == [rows[0], rows[1]])
    #expect(try others([rows[0]]) == [rows[1]])
    #expect(try others(Set(rows)) == [])
    #expect(try store.containers(at: [IPAddress("192.0.2.1")], otherThan: []) == [])
  }
}
