import Glibc
import PortMaps
import TestSupport
import Testing

@Suite struct AddressTests {
  @Test(arguments: [
    ("0.0.0.0", "0.0.0.0"),
    ("255.255.255.255", "255.255.255.255"),
    ("192.0.2.10", "192.0.2.10"),
    ("::", "::"),
    ("::1", "::1"),
    ("1::", "1::"),
    ("2001:DB8::000A", "2001:db8::a"),
    ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
    ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
    ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
    // RFC 5952 §4.2: one zero group is written out, of equal runs the first is shortened.
    ("1:0:3:4:5:6:7:8", "1:0:3:4:5:6:7:8"),
    ("1:0:0:4:5:0:0:8", "1::4:5:0:0:8"),
    ("1:0:0:4:0:0:0:8", "1:0:0:4::8"),
    ("0:0:1:0:0:0:0:0", "0:0:1::"),
    ("64:ff9b::192.0.2.1", "64:ff9b::c000:201"),
    ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
    // An IPv4-mapped address is the IPv4 address.
    ("::ffff:192.0.2.1", "192.0.2.1"),
    ("::FFFF:c000:201", "192.0.2.1"),
    ("0:0:0:0:0:ffff:0:0", "0.0.0.0"),
    ("::fffe:c000:201", "::fffe:c000:201"),
  ])
  func accepted(_ text: String, _ description: String) throws {
    let address = try #require(IPAddress(parsing: text))
    #expect(address.description == description)
    #expect(IPAddress(parsing: description) == address)
    #expect(address.bracketed == (address.family == .ipv6 ? "[\(description)]" : description))
  }

  @Test(arguments: [
    "", " ", ".", ":", "1", "1.2.3", "1.2.3.4.5", "1.2.3.", ".1.2.3", "1..2.3", "1.2.3.256", "1.2.3.1000", "01.2.3.4",
    "1.2.3.04", "1.2.3.-4", "1.2.3.+4", "1.2.3.4 ", " 1.2.3.4", "0x7f.0.0.1", "1.2.3.4/32", "[1.2.3.4]", "localhost",
    "1:2", ":::", "::::", "1:::2", "1::2::3", ":1", "1:", ":1:2", "1:2:", ":1:2:3:4:5:6:7", "1:2:3:4:5:6:7:",
    "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1::3:4:5:6:7:8:9", "12345::",
    "::g", "::-1", "::+1", "::1 ", "fe80::1%eth0", "[::1]", "::1/128", "::1.2.3", "::1.2.3.4.5", "1.2.3.4::",
    "::1.2.3.4:5", "1:2:3:4:5:6:7:1.2.3.4", "::ffff:1.2.3.256", "٣.2.1.0", "1.2.3.4\0",
  ])
  func refused(_ text: String) { #expect(IPAddress(parsing: text) == nil) }

  @Test(arguments: seeds(500))
  func agreesWithInetPton(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    for _ in 0..<20 {
      let text = Self.almostAnAddress(&random)
      let family = text.contains(":") ? AF_INET6 : AF_INET
      var bytes = [UInt8](repeating: 0, count: family == AF_INET ? 4 : 16)
      let isAddress = inet_pton(family, text, &bytes) == 1
      let parsed = IPAddress(parsing: text)
      #expect((parsed != nil) == isAddress, "\(text)")
      guard isAddress, let parsed else { continue }
      let mapped = [UInt8](repeating: 0, count: 10) + [0xff, 0xff]
      #expect(parsed.bytes == (bytes.starts(with: mapped) ? Array(bytes.dropFirst(12)) : bytes), "\(text)")
    }
  }

  @Test(arguments: seeds(500))
  func isWrittenAsInetNtopDoes(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    for _ in 0..<20 {
      let groups = (0..<8).map { _ in random.pick([0, 0, 0, 1, 0xa0b, 0xffff]) as UInt64 }
      let number = { (part: ArraySlice<UInt64>) in part.reduce(0) { $0 << 16 | $1 } }
      for address in [
        IPAddress(ipv6: number(groups[..<4]), number(groups[4...])),
        IPAddress(ipv4: .random(in: 0 ... .max, using: &random)),
      ] {
        #expect(IPAddress(parsing: address.description) == address)
        #expect(IPAddress(bytes: address.bytes) == address)
        // inet_ntop(3) writes ::/96 with a dotted quad; RFC 5952 leaves that to prefixes known to hold IPv4 addresses.
        guard !address.bytes.starts(with: Array(repeating: 0, count: 12)) || address.family == .ipv4 else { continue }
        #expect(address.description == Self.ntop(address))
      }
    }
  }

  /// Addresses with a mistake here and there.
  private static func almostAnAddress(_ random: inout SeededGenerator) -> String {
    if random.oneIn(4) {
      let count = random.pick([4, 4, 4, 4, 3, 5])
      return (0..<count).map { _ in random.pick(["0", "1", "25", "255", "256", "01", ""]) }.joined(separator: ".")
    }
    var parts = (0..<random.pick([2, 5, 6, 7, 8, 8, 9])).map { _ in
      random.pick(["0", "1", "ff", "0db8", "FFFF", "0", "2001"])
    }
    if random.oneIn(4) { parts.append(random.pick(["1.2.3.4", "1.2.3", "1.2.3.256"])) }
    var text = parts.joined(separator: ":")
    for _ in 0..<random.pick([0, 1, 1, 2]) {
      let colons = text.indices.filter { text[$0] == ":" } + [text.startIndex, text.endIndex]
      text.insert(contentsOf: random.pick([":", ":", "::", "12345", "g"]), at: random.pick(colons))
    }
    return text
  }

  private static func ntop(_ address: IPAddress) -> String {
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    let family = address.family == .ipv4 ? AF_INET : AF_INET6
    inet_ntop(family, address.bytes, &text, socklen_t(text.count))
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  @Test(
    arguments: [
      ("127.0.0.1", "loopback"), ("127.255.255.255", "loopback"), ("::1", "loopback"), ("126.0.0.1", ""),
      ("128.0.0.1", ""), ("::2", ""), ("0.0.0.0", "any"), ("::", "any"), ("224.0.0.1", "multicast"),
      ("239.255.255.255", "multicast"), ("240.0.0.1", ""), ("ff02::1", "multicast"), ("fe80::1", ""),
    ] as [(IPAddress, String)])
  func classes(_ address: IPAddress, _ name: String) {
    #expect(address.isLoopback == (name == "loopback"))
    #expect(address.isAny == (name == "any"))
    #expect(address.isMulticast == (name == "multicast"))
  }

  @Test func areOrderedByFamilyThenNumber() {
    let sorted: [IPAddress] = ["0.0.0.0", "9.0.0.0", "10.0.0.0", "255.255.255.255", "::", "::1", "2::", "10::"]
    #expect(sorted.reversed().sorted() == sorted)
  }

  @Test func onlyFourOrSixteenBytes() {
    for count in 0..<20 {
      #expect((IPAddress(bytes: [UInt8](repeating: 1, count: count)) != nil) == [4, 16].contains(count))
    }
  }
}

@Suite struct PrefixTests {
  @Test(arguments: [
    ("172.18.0.0/16", "172.18.0.0/16", "172.18.255.255"),
    ("172.18.3.4/16", "172.18.0.0/16", "172.18.255.255"),
    ("192.0.2.1", "192.0.2.1/32", "192.0.2.1"),
    ("0.0.0.0/0", "0.0.0.0/0", "255.255.255.255"),
    ("10.0.0.1/31", "10.0.0.0/31", "10.0.0.1"),
    ("2001:db8::1/64", "2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff"),
    ("2001:db8::1/63", "2001:db8::/63", "2001:db8:0:1:ffff:ffff:ffff:ffff"),
    ("2001:db8::ff/121", "2001:db8::80/121", "2001:db8::ff"),
    ("::1", "::1/128", "::1"),
    ("8000::/0", "::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("::ffff:192.0.2.1", "192.0.2.1/32", "192.0.2.1"),
  ])
  func accepted(_ text: String, _ description: String, _ last: String) throws {
    let prefix = try #require(IPPrefix(parsing: text))
    #expect(prefix.description == description)
    #expect(prefix.last.description == last)
    #expect(prefix.contains(prefix.address) && prefix.contains(prefix.last))
  }

  @Test(arguments: [
    "", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/ 8", "10.0.0.0/8/8",
    "10.0.0.0/0008", "10.0.0.0/255.0.0.0", "::/129", "10.0.0/8", "::ffff:10.0.0.0/8", "::ffff:10.0.0.0/104",
  ])
  func refused(_ text: String) { #expect(IPPrefix(parsing: text) == nil) }

  @Test(arguments: seeds(200))
  func containsWhatAgreesInItsFirstBits(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    for family in AddressFamily.allCases {
      let bits = { (address: IPAddress) in address.bytes.flatMap { byte in (0..<8).map { byte >> (7 - $0) & 1 } } }
      let bytes = (0..<family.bitWidth / 8).map { _ in random.pick([0, 1, 0x80, 0xfe, 0xff]) as UInt8 }
      let length = Int.random(in: 0...family.bitWidth, using: &random)
      var near = bytes
      if random.oneIn(4) == false { near[Int.random(in: 0..<near.count, using: &random)] ^= 1 << UInt8(length % 8) }
      let address = try #require(IPAddress(bytes: bytes))
      let other = try #require(IPAddress(bytes: near))
      let prefix = try #require(IPPrefix(address, length: length))
      let agree = bits(address).prefix(length).elementsEqual(bits(other).prefix(length))
      #expect(prefix.contains(other) == agree, "\(prefix) \(other)")
      #expect((prefix.address <= other && other <= prefix.last) == agree, "\(prefix) \(other)")
    }
    #expect(!IPPrefix(all: .ipv4).contains(.any(.ipv6)))
  }
}
