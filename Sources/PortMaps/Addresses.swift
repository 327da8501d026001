/// IPv4 or IPv6. Ordered IPv4 first, as every listing is.
package enum AddressFamily: UInt8, Sendable, Hashable, CaseIterable, Comparable {
  case ipv4 = 4
  case ipv6 = 6

  /// The wire contract's spelling: `ipv4`, `ipv6`.
  package var name: String { self == .ipv4 ? "ipv4" : "ipv6" }
  /// The spelling of messages for people: `IPv4`, `IPv6`.
  package var title: String { self == .ipv4 ? "IPv4" : "IPv6" }
  /// Length of an address in bits.
  package var bitWidth: Int { self == .ipv4 ? 32 : 128 }

  package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// An IPv4 or IPv6 address.
///
/// Accepted: dotted quads without leading zeros, RFC 4291 text in any case, `::ffff:192.0.2.1` (which *is* the IPv4
/// address). Refused: zone ids, host names, brackets, prefixes, blanks.
package struct IPAddress: Sendable, Hashable, Comparable {
  /// The address as a number: an IPv4 address sits in the low 32 bits of `low`.
  package let high: UInt64
  package let low: UInt64
  // The last one: what follows an address is then put beside it, and there are lists of a million.
  package let family: AddressFamily

  private init(family: AddressFamily, high: UInt64, low: UInt64) {
    (self.family, self.high, self.low) = (family, high, low)
  }

  package init(ipv4 value: UInt32) { self.init(family: .ipv4, high: 0, low: UInt64(value)) }

  /// An IPv4-mapped IPv6 address becomes the IPv4 address it stands for.
  package init(ipv6 high: UInt64, _ low: UInt64) {
    if high == 0, low >> 32 == 0xffff {
      self.init(ipv4: UInt32(truncatingIfNeeded: low))
    } else {
      self.init(family: .ipv6, high: high, low: low)
    }
  }

  /// From 4 or 16 bytes in network byte order; `nil` for any other count.
  package init?(bytes: some Collection<UInt8>) {
    guard bytes.count == 4 || bytes.count == 16 else { return nil }
    var (high, low): (UInt64, UInt64) = (0, 0)
    for byte in bytes { (high, low) = (high << 8 | low >> 56, low << 8 | UInt64(byte)) }
    self.init(family: bytes.count == 4 ? .ipv4 : .ipv6, high: high, low: low)
  }

  /// `0.0.0.0` or `::`.
  package static func any(_ family: AddressFamily) -> IPAddress { .init(family: family, high: 0, low: 0) }

  package var isAny: Bool { high == 0 && low == 0 }
  /// 127.0.0.0/8 or `::1`.
  package var isLoopback: Bool { family == .ipv4 ? low >> 24 == 127 : high == 0 && low == 1 }
  /// 224.0.0.0/4 or ff00::/8.
  package var isMulticast: Bool { family == .ipv4 ? low >> 28 == 0xe : high >> 56 == 0xff }

  /// 4 or 16 bytes in network byte order.
  package var bytes: [UInt8] {
    family == .ipv4
      ? (0..<4).map { UInt8(truncatingIfNeeded: low >> (24 - 8 * UInt64($0))) }
      : (0..<16).map { UInt8(truncatingIfNeeded: ($0 < 8 ? high : low) >> (56 - 8 * UInt64($0 % 8))) }
  }

  package static func < (a: Self, b: Self) -> Bool { (a.family, a.high, a.low) < (b.family, b.high, b.low) }
}

/// An address prefix in CIDR form, `172.18.0.0/16`. A bare address is the prefix of that one address.
package struct IPPrefix: Sendable, Hashable, Comparable, CustomStringConvertible {
  /// The first address of the prefix.
  package let address: IPAddress
  /// In bits, 0 to the family's width.
  package var length: Int { Int(bits) }
  private let bits: UInt8

  /// Host bits are cleared; `nil` when `length` does not fit the family.
  package init?(_ address: IPAddress, length: Int) {
    guard (0...address.family.bitWidth).contains(length) else { return nil }
    self.init(address, exactly: length)
  }

  /// Precondition: `length` fits the family.
  init(_ address: IPAddress, exactly length: Int) {
    self.address = address.masked(to: length)
    bits = UInt8(length)
  }

  package init?(parsing text: some StringProtocol) {
    let parts = text.parts(between: UInt8(ascii: "/"), maxSplits: 1)
    guard let address = IPAddress(parsing: parts[0]) else { return nil }
    guard parts.count == 2 else {
      self.init(address)
      return
    }
    // The length of an IPv4-mapped prefix counts IPv6's bits: a /24 of it is not the /24 of the IPv4 address.
    guard address.family == .ipv6 || !parts[0].utf8.contains(UInt8(ascii: ":")) else { return nil }
    guard (1...3).contains(parts[1].utf8.count), parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
      let length = Int(parts[1])
    else { return nil }
    self.init(address, length: length)
  }

  package func contains(_ other: IPAddress) -> Bool {
    other.family == address.family && other.masked(to: length) == address
  }

  package func overlaps(_ other: IPPrefix) -> Bool { contains(other.address) || other.contains(address) }

  /// The last address of the prefix.
  package var last: IPAddress { address.filled(from: length) }

  package var description: String { "\(address)/\(length)" }
  package static func < (a: Self, b: Self) -> Bool { (a.address, a.length) < (b.address, b.length) }
}

extension IPAddress {
  private static func mask(_ bits: Int) -> UInt64 { bits <= 0 ? 0 : bits >= 64 ? .max : .max << UInt64(64 - bits) }

  /// For an IPv4 address the prefix starts at bit 32 of `low`, hence the 96 bits in front of it.
  private func masks(_ length: Int) -> (UInt64, UInt64) {
    let bits = family == .ipv4 ? length + 96 : length
    return (Self.mask(bits), Self.mask(bits - 64))
  }

  fileprivate func masked(to length: Int) -> IPAddress {
    let (h, l) = masks(length)
    return IPAddress(family: family, high: high & h, low: low & l)
  }

  fileprivate func filled(from length: Int) -> IPAddress {
    let (h, l) = masks(length)
    return family == .ipv4
      ? IPAddress(family: .ipv4, high: 0, low: low | ~l & 0xffff_ffff)
      : IPAddress(family: .ipv6, high: high | ~h, low: low | ~l)
  }
}
