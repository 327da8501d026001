/// A transport protocol with ports. The raw value is the IPPROTO number of RFC 5237's registry.
package enum TransportProtocol: UInt8, Sendable, Hashable, CaseIterable, Comparable, CustomStringConvertible {
  case tcp = 6
  case udp = 17
  case sctp = 132

  /// Accepts `tcp`, `udp`, `sctp` in any case.
  package init?(parsing text: some StringProtocol) {
    guard let match = Self.allCases.first(where: { $0.description == text.lowercased() }) else { return nil }
    self = match
  }

  package var description: String {
    switch self {
    case .tcp: "tcp"
    case .udp: "udp"
    case .sctp: "sctp"
    }
  }

  package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// One port or consecutive ports, `80` or `8000-8010`, each 1 to 65535.
package struct PortRange: Sendable, Hashable, Comparable, CustomStringConvertible {
  package let first: UInt16
  package let last: UInt16

  /// Precondition: `1 <= first <= last`.
  package init(_ first: UInt16, _ last: UInt16) {
    precondition(1 <= first && first <= last, "not a port range: \(first)-\(last)")
    (self.first, self.last) = (first, last)
  }

  package init(_ port: UInt16) { self.init(port, port) }

  package var count: Int { Int(last) - Int(first) + 1 }
  package var isSingle: Bool { first == last }
  package var ports: ClosedRange<UInt16> { first...last }
  package func overlaps(_ other: PortRange) -> Bool { first <= other.last && other.first <= last }

  package var description: String { isSingle ? "\(first)" : "\(first)-\(last)" }
  package static func < (a: Self, b: Self) -> Bool { (a.first, a.last) < (b.first, b.last) }
}

/// A container port with its protocol, `80/tcp`: the key of Docker's port tables.
package struct ContainerPort: Sendable, Hashable, Comparable, CustomStringConvertible {
  package var port: UInt16
  package var transport: TransportProtocol
  package init(_ port: UInt16, _ transport: TransportProtocol) { (self.port, self.transport) = (port, transport) }
  package var description: String { "\(port)/\(transport)" }
  package static func < (a: Self, b: Self) -> Bool { (a.port, a.transport) < (b.port, b.transport) }
}

/// What at most one container may own: a port of one protocol at one host address (`0.0.0.0`/`::` = all of the family).
package struct HostPort: Sendable, Hashable, CustomStringConvertible {
  package var address: IPAddress
  package var transport: TransportProtocol
  package var port: UInt16
  package init(_ address: IPAddress, _ transport: TransportProtocol, _ port: UInt16) {
    (self.address, self.transport, self.port) = (address, transport, port)
  }
  package var description: String { description(through: port) }
  /// That of a range which begins with it.
  package func description(through last: UInt16) -> String {
    "\(address.bracketed):\(PortRange(port, last))/\(transport)"
  }
}
