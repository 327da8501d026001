// The ruleset as data, in nft(8)'s own terms. `Skeleton` is the one value of it; `NftText` renders it as text and
// `Netfilter` as netlink messages, and a kernel test holds the two to each other.

/// What a statement looks at, with the datatype that a set's key field then has.
package enum Selector: Sendable, Hashable {
  case iifname, oifname
  case nfproto
  case l4proto
  case saddr(AddressFamily)
  case daddr(AddressFamily)
  /// Destination port of whatever transport protocol the packet has.
  case thDport
}

/// Datatypes of nft(8) that our keys and data are made of. The raw value is libnftables' number for it
/// (`enum datatypes` in nftables' include/datatype.h), which `nft list` reads to print a set.
package enum DataType: UInt32, Sendable, Hashable {
  case nfProto = 2
  case ipv4Address = 7
  case ipv6Address = 8
  case inetProto = 12
  case inetService = 13
  case ifname = 41

  /// nft(8)'s name.
  package var name: String {
    switch self {
    case .nfProto: "nf_proto"
    case .ipv4Address: "ipv4_addr"
    case .ipv6Address: "ipv6_addr"
    case .inetProto: "inet_proto"
    case .inetService: "inet_service"
    case .ifname: "ifname"
    }
  }

  /// Length of a value in bytes.
  package var size: Int {
    switch self {
    case .ipv4Address: 4
    case .ipv6Address: 16
    case .inetProto, .nfProto: 1
    case .inetService: 2
    case .ifname: 16
    }
  }

  package static func address(_ family: AddressFamily) -> DataType { family == .ipv4 ? .ipv4Address : .ipv6Address }
}

/// What becomes of a packet, by a rule or by an element of a verdict map. `accept` ends only our chain, `drop` everything.
package enum Verdict: Sendable, Hashable {
  case accept, drop, `return`
  case jump(ChainName)
  case goto(ChainName)
}

/// One statement of a rule. A rule is evaluated from left to right and ends at the first that does not match.
package enum Statement: Sendable, Hashable {
  /// `iifname != "lo"`
  case interface(Selector, isNot: String)
  /// `meta nfproto ipv4`
  case family(AddressFamily)
  /// `meta l4proto tcp`
  case transport(TransportProtocol)
  /// `meta l4proto icmp`
  case icmp(AddressFamily)
  /// `ip daddr 127.0.0.0/8`
  case address(Selector, in: IPPrefix)
  /// `ip saddr != 127.0.0.0/8 ip daddr != 127.0.0.0/8`
  case neitherEnd(in: IPPrefix)
  /// `ct state established,related`
  case established
  /// `ct status dnat`
  case translated
  /// `fib daddr type local`
  case destinationIsLocal
  /// `ip daddr . meta l4proto . th dport @published4`
  case lookup([Selector], SetName)
  /// `oifname vmap @to_bridge4`
  case verdictMap([Selector], SetName)
  /// `dnat ip to ip daddr . meta l4proto . th dport map @exact4`
  case dnat(AddressFamily, [Selector], SetName)
  /// `snat ip to iifname map @source4`
  case snat(AddressFamily, [Selector], SetName)
  case masquerade
  case counter
  case verdict(Verdict)
}

/// One rule of a chain. It names no network, container or port: those are elements of the sets that it looks into.
package struct Rule: Sendable, Hashable {
  package var statements: [Statement]
  /// Says why, in `nft list`.
  package var comment: String?
  package init(_ statements: Statement..., comment: String? = nil) {
    (self.statements, self.comment) = (statements, comment)
  }
}

/// Where the kernel calls a base chain; the raw values are nft(8)'s names.
package enum Hook: String, Sendable, Hashable {
  case prerouting, forward, output, postrouting
  /// `enum nf_inet_hooks`.
  package var number: UInt32 {
    switch self {
    case .prerouting: 0
    case .forward: 2
    case .output: 3
    case .postrouting: 4
    }
  }
}

/// The hook a base chain registers at. Its policy is always accept: what is dropped, a rule drops.
package struct BaseChain: Sendable, Hashable {
  /// nft's chain type: `filter` or `nat`.
  package enum Kind: String, Sendable, Hashable { case filter, nat }
  package var kind: Kind
  package var hook: Hook
  package var priority: Int32
  package init(_ kind: Kind, _ hook: Hook, priority: Int32) {
    (self.kind, self.hook, self.priority) = (kind, hook, priority)
  }
}

/// A chain with its rules, which stay as long as the table does.
package struct Chain: Sendable, Hashable {
  package var name: ChainName
  /// `nil` for a chain that is only jumped to.
  package var base: BaseChain?
  package var rules: [Rule]
  package init(_ name: ChainName, _ base: BaseChain? = nil, _ rules: [Rule]) {
    (self.name, self.base, self.rules) = (name, base, rules)
  }
}

/// What a set or map is created with; elements come and go without it. A key or value of several types is a concatenation.
package struct SetDefinition: Sendable, Hashable {
  /// What a key maps to; `none` makes it a set.
  package enum Value: Sendable, Hashable {
    case none
    case verdict
    case data([DataType])
  }
  package var name: SetName
  package var key: [DataType]
  package var value: Value
  /// `flags interval`: keys are prefixes or ranges; slow to change, so never one element per mapping.
  package var isInterval: Bool
  /// `counter`: each element counts the packets that looked it up; in a `dnat` map that is new connections.
  package var hasCounter: Bool

  package init(
    _ name: SetName, key: [DataType], value: Value = .none, isInterval: Bool = false, hasCounter: Bool = false
  ) {
    (self.name, self.key, self.value) = (name, key, value)
    (self.isInterval, self.hasCounter) = (isInterval, hasCounter)
  }
}

/// One element of one of our sets or maps.
package struct Element: Sendable, Hashable {
  package enum Key: Sendable, Hashable {
    /// `tcp . 8080`
    case port(TransportProtocol, UInt16)
    /// `192.0.2.10 . tcp . 8080`
    case addressPort(IPAddress, TransportProtocol, UInt16)
    /// `198.51.100.0/24 . 0.0.0.0/0 . tcp . 8080`: source, destination, port.
    case sourceAddressPort(IPPrefix, IPPrefix, TransportProtocol, UInt16)
    /// `"br-web"`
    case interface(String)
    /// `"eth0" . "br-web"`: where a packet comes in, where it goes out.
    case interfaces(String, String)
    /// `"br-web" . 172.18.0.0/16`
    case interfacePrefix(String, IPPrefix)
    /// `ipv4`
    case family(AddressFamily)
  }
  package enum Value: Sendable, Hashable {
    case none
    case verdict(Verdict)
    /// Where a published port leads: `172.18.0.2 . 80`.
    case destination(IPAddress, UInt16)
    case address(IPAddress)
  }

  package var set: SetName
  package var key: Key
  package var value: Value
  /// Shown by `nft list`; not part of what makes two elements equal for the kernel. Empty = none; at most 127 bytes.
  package var comment: String

  package init(_ set: SetName, _ key: Key, _ value: Value = .none, comment: String = "") {
    (self.set, self.key, self.value, self.comment) = (set, key, value, comment)
  }

  /// What identifies an element in the kernel.
  package struct Identity: Sendable, Hashable {
    package var set: SetName
    package var key: Key
  }
  package var identity: Identity { Identity(set: set, key: key) }
}

// Hashing is most of what a difference of many elements costs, so it takes few words of a key: the set is left out, because
// few keys are in more than one.
extension Element.Identity {
  package func hash(into hasher: inout Hasher) { key.hash(into: &hasher) }
}

extension Element.Key {
  package func hash(into hasher: inout Hasher) {
    switch self {
    case .port(let transport, let port): hasher.combine(Self.word(transport, port))
    case .addressPort(let address, let transport, let port):
      hasher.combine(address.high ^ Self.word(transport, port))
      hasher.combine(address.low)
    case .sourceAddressPort(let source, let destination, let transport, let port):
      hasher.combine(source)
      hasher.combine(destination)
      hasher.combine(Self.word(transport, port))
    case .interface(let name): hasher.combine(name)
    case .interfaces(let first, let second):
      hasher.combine(first)
      hasher.combine(second)
    case .interfacePrefix(let name, let prefix):
      hasher.combine(name)
      hasher.combine(prefix)
    case .family(let family): hasher.combine(family.rawValue)
    }
  }

  private static func word(_ transport: TransportProtocol, _ port: UInt16) -> UInt64 {
    UInt64(transport.rawValue) << 16 | UInt64(port)
  }
}
