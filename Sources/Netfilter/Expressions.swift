import CNetfilter
import PortMaps

/// One nf_tables expression: libnftnl's name and attributes of it.
struct Expression {
  enum Value {
    /// Host byte order; libnftnl swaps.
    case number(UInt32)
    case string(String)
    case bytes([UInt8])
  }
  var name: String
  var attributes: [(type: Int, value: Value)]

  init(_ name: String, _ attributes: (Int, Value)...) {
    (self.name, self.attributes) = (name, attributes.map { (type: $0.0, value: $0.1) })
  }
}

// nf_tables computes in registers: 16 slots of 4 bytes, which a concatenation fills from the left, each field at the next
// free slot. NFT_REG_1…4 name every fourth slot, NFT_REG32_00…15 all of them; the kernel prefers the former when it lists.

private func register(_ slot: Int) -> Expression.Value {
  slot % 4 == 0
    ? .number(NFT_REG_1.rawValue + UInt32(slot / 4))
    : .number(NFT_REG32_00.rawValue + UInt32(slot))
}

private func slots(_ type: DataType) -> Int { (type.size + 3) / 4 }

extension Rule {
  /// The rule's statements in the kernel's terms, as nft(8) 1.0.6 would send them.
  var expressions: [Expression] { statements.flatMap(\.expressions) }
}

extension Statement {
  fileprivate var expressions: [Expression] {
    switch self {
    case .interface(let selector, let name):
      // iifname != "lo"
      [selector.load(0), compare(NFT_CMP_NEQ, padded(name))]
    case .family(let family):
      // meta nfproto ipv4
      [meta(NFT_META_NFPROTO, 0), compare(NFT_CMP_EQ, [family.nfproto])]
    case .transport(let transport):
      // meta l4proto tcp
      [meta(NFT_META_L4PROTO, 0), compare(NFT_CMP_EQ, [transport.rawValue])]
    case .icmp(let family):
      // meta l4proto icmp
      [meta(NFT_META_L4PROTO, 0), compare(NFT_CMP_EQ, [UInt8(family == .ipv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)])]
    case .address(let selector, let prefix):
      // meta nfproto ipv4 ip saddr 127.0.0.0/8
      Statement.family(prefix.address.family).expressions + compare(NFT_CMP_EQ, selector, prefix)
    case .neitherEnd(let prefix):
      // meta nfproto ipv4 ip saddr != 127.0.0.0/8 ip daddr != 127.0.0.0/8
      Statement.family(prefix.address.family).expressions
        + [Selector.saddr, Selector.daddr].flatMap { compare(NFT_CMP_NEQ, $0(prefix.address.family), prefix) }
    case .established:
      // ct state established,related
      conntrack(NFT_CT_STATE, anyOf: ctStateEstablished | ctStateRelated)
    case .translated:
      // ct status dnat
      conntrack(NFT_CT_STATUS, anyOf: IPS_DST_NAT.rawValue)
    case .destinationIsLocal:
      // fib daddr type local
      [
        Expression(
          "fib", (NFTNL_EXPR_FIB_FLAGS, .number(NFTA_FIB_F_DADDR.rawValue)),
          (NFTNL_EXPR_FIB_RESULT, .number(NFT_FIB_RESULT_ADDRTYPE.rawValue)), (NFTNL_EXPR_FIB_DREG, register(0))),
        compare(NFT_CMP_EQ, native(UInt32(RTN_LOCAL))),
      ]
    case .lookup(let key, let set):
      // ip daddr . meta l4proto . th dport @published4
      load(key) + [find(set)]
    case .verdictMap(let key, let set):
      // oifname vmap @to_bridge4
      load(key) + [find(set, into: .number(NFT_REG_VERDICT.rawValue))]
    case .dnat(let family, let key, let set):
      // dnat ip to meta l4proto . th dport map @any4
      load(key) + [find(set, into: register(0)), translate(NFT_NAT_DNAT, family, portAt: slots(.address(family)))]
    case .snat(let family, let key, let set):
      // snat ip to iifname map @source4
      load(key) + [find(set, into: register(0)), translate(NFT_NAT_SNAT, family, portAt: nil)]
    case .masquerade:
      [Expression("masq")]
    case .counter:
      [Expression("counter")]
    case .verdict(let verdict):
      [immediate(verdict)]
    }
  }
}

extension Selector {
  fileprivate var type: DataType {
    switch self {
    case .iifname, .oifname: .ifname
    case .nfproto: .nfProto
    case .l4proto: .inetProto
    case .saddr(let family), .daddr(let family): .address(family)
    case .thDport: .inetService
    }
  }

  /// Loads what the selector names into the register at `slot`. Offsets are those of struct iphdr, struct ip6_hdr and of
  /// the first four bytes every transport protocol of ours begins with. `length`: of the field's first bytes only.
  fileprivate func load(_ slot: Int, length: Int? = nil) -> Expression {
    let length = length ?? type.size
    return switch self {
    case .iifname: meta(NFT_META_IIFNAME, slot)
    case .oifname: meta(NFT_META_OIFNAME, slot)
    case .nfproto: meta(NFT_META_NFPROTO, slot)
    case .l4proto: meta(NFT_META_L4PROTO, slot)
    case .saddr(let family): payload(NFT_PAYLOAD_NETWORK_HEADER, family == .ipv4 ? 12 : 8, length, slot)
    case .daddr(let family): payload(NFT_PAYLOAD_NETWORK_HEADER, family == .ipv4 ? 16 : 24, length, slot)
    case .thDport: payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, length, slot)
    }
  }
}

/// The key as a concatenation that starts in the first register.
private func load(_ key: [Selector]) -> [Expression] {
  var (slot, expressions): (Int, [Expression]) = (0, [])
  for selector in key {
    expressions.append(selector.load(slot))
    slot += slots(selector.type)
  }
  return expressions
}

private func meta(_ key: nft_meta_keys, _ slot: Int) -> Expression {
  Expression("meta", (NFTNL_EXPR_META_KEY, .number(key.rawValue)), (NFTNL_EXPR_META_DREG, register(slot)))
}

private func payload(_ base: nft_payload_bases, _ offset: Int, _ length: Int, _ slot: Int) -> Expression {
  Expression(
    "payload", (NFTNL_EXPR_PAYLOAD_BASE, .number(base.rawValue)), (NFTNL_EXPR_PAYLOAD_OFFSET, .number(UInt32(offset))),
    (NFTNL_EXPR_PAYLOAD_LEN, .number(UInt32(length))), (NFTNL_EXPR_PAYLOAD_DREG, register(slot)))
}

private func compare(_ operation: nft_cmp_ops, _ bytes: [UInt8]) -> Expression {
  Expression(
    "cmp", (NFTNL_EXPR_CMP_SREG, register(0)), (NFTNL_EXPR_CMP_OP, .number(operation.rawValue)),
    (NFTNL_EXPR_CMP_DATA, .bytes(bytes)))
}

/// Like nft(8), loads only the bytes the prefix fixes: the skeleton's prefixes end between two bytes.
private func compare(_ operation: nft_cmp_ops, _ selector: Selector, _ prefix: IPPrefix) -> [Expression] {
  precondition(prefix.length % 8 == 0, "\(prefix) needs a bitwise expression")
  let bytes = Array(prefix.address.bytes.prefix(prefix.length / 8))
  return [selector.load(0, length: bytes.count), compare(operation, bytes)]
}

private func conntrack(_ key: nft_ct_keys, anyOf bits: UInt32) -> [Expression] {
  [conntrack(key), bitwise(mask: bits), compare(NFT_CMP_NEQ, native(0))]
}

private func bitwise(mask: UInt32) -> Expression {
  Expression(
    "bitwise", (NFTNL_EXPR_BITWISE_SREG, register(0)), (NFTNL_EXPR_BITWISE_DREG, register(0)),
    (NFTNL_EXPR_BITWISE_LEN, .number(4)), (NFTNL_EXPR_BITWISE_MASK, .bytes(native(mask))),
    (NFTNL_EXPR_BITWISE_XOR, .bytes(native(0))))
}

// The rules of `table ip6 pmagent`, see `LoopbackPath`.

let keepingDestination =
  // ip6 daddr ::1
  compare(NFT_CMP_EQ, .daddr(.ipv6), Skeleton.loopback6)
  // iifname != "lo"
  + [Selector.iifname.load(0), compare(NFT_CMP_NEQ, padded("lo"))]
  + answersToLoopback
  // fib saddr . iif oif exists
  + [routeBack, compare(NFT_CMP_EQ, native(1))]
  // counter ip6 daddr set ct reply ip6 daddr
  + [Expression("counter"), conntrack(NFT_CT_DST_IP6, of: IP_CT_DIR_REPLY), setDestination]

let restoringLoopback =
  // ip6 daddr != ::1
  compare(NFT_CMP_NEQ, .daddr(.ipv6), Skeleton.loopback6)
  + answersToLoopback
  // counter ip6 daddr set ::1
  + [Expression("counter"), immediate(Skeleton.loopback6.address.bytes), setDestination]

private let answersToLoopback =
  // ct direction reply
  [conntrack(NFT_CT_DIRECTION), compare(NFT_CMP_EQ, [UInt8(IP_CT_DIR_REPLY.rawValue)])]
  // ct original ip6 saddr ::1
  + [conntrack(NFT_CT_SRC_IP6, of: IP_CT_DIR_ORIGINAL), compare(NFT_CMP_EQ, Skeleton.loopback6.address.bytes)]

/// Whether what is for the packet's source would leave by the interface that the packet came by.
private let routeBack = Expression(
  "fib",
  (
    NFTNL_EXPR_FIB_FLAGS,
    .number([NFTA_FIB_F_SADDR, NFTA_FIB_F_IIF, NFTA_FIB_F_PRESENT].reduce(0) { $0 | $1.rawValue })
  ),
  (NFTNL_EXPR_FIB_RESULT, .number(NFT_FIB_RESULT_OIF.rawValue)), (NFTNL_EXPR_FIB_DREG, register(0)))

/// To the first register. The checksum of the protocol above covers the address.
private let setDestination = Expression(
  "payload", (NFTNL_EXPR_PAYLOAD_SREG, register(0)),
  (NFTNL_EXPR_PAYLOAD_BASE, .number(NFT_PAYLOAD_NETWORK_HEADER.rawValue)), (NFTNL_EXPR_PAYLOAD_OFFSET, .number(24)),
  (NFTNL_EXPR_PAYLOAD_LEN, .number(16)), (NFTNL_EXPR_PAYLOAD_CSUM_TYPE, .number(NFT_PAYLOAD_CSUM_NONE.rawValue)),
  (NFTNL_EXPR_PAYLOAD_CSUM_OFFSET, .number(0)),
  (NFTNL_EXPR_PAYLOAD_FLAGS, .number(UInt32(NFT_PAYLOAD_L4CSUM_PSEUDOHDR.rawValue))))

private func conntrack(_ key: nft_ct_keys, of direction: ip_conntrack_dir? = nil) -> Expression {
  var expression = Expression(
    "ct", (NFTNL_EXPR_CT_KEY, .number(key.rawValue)), (NFTNL_EXPR_CT_DREG, register(0)))
  if let direction { expression.attributes.append((NFTNL_EXPR_CT_DIR, .bytes([UInt8(direction.rawValue)]))) }
  return expression
}

private func immediate(_ bytes: [UInt8]) -> Expression {
  Expression("immediate", (NFTNL_EXPR_IMM_DREG, register(0)), (NFTNL_EXPR_IMM_DATA, .bytes(bytes)))
}

/// The flags are stated although they are 0: the kernel lists them, and what it lists is compared with this.
private func find(_ set: SetName, into destination: Expression.Value? = nil) -> Expression {
  var expression = Expression(
    "lookup", (NFTNL_EXPR_LOOKUP_SREG, register(0)), (NFTNL_EXPR_LOOKUP_SET, .string(set.rawValue)),
    (NFTNL_EXPR_LOOKUP_FLAGS, .number(0)))
  if let destination { expression.attributes.append((NFTNL_EXPR_LOOKUP_DREG, destination)) }
  return expression
}

/// Translates to the address in the first register and the port behind it. Upper ends and flags are stated for the
/// same reason as in `find`.
private func translate(_ type: nft_nat_types, _ family: AddressFamily, portAt slot: Int?) -> Expression {
  var flags = UInt32(NF_NAT_RANGE_MAP_IPS)
  if slot != nil { flags |= UInt32(NF_NAT_RANGE_PROTO_SPECIFIED) }
  var expression = Expression(
    "nat", (NFTNL_EXPR_NAT_TYPE, .number(type.rawValue)),
    (NFTNL_EXPR_NAT_FAMILY, .number(UInt32(family.nfproto))),
    (NFTNL_EXPR_NAT_REG_ADDR_MIN, register(0)), (NFTNL_EXPR_NAT_REG_ADDR_MAX, register(0)),
    (NFTNL_EXPR_NAT_FLAGS, .number(flags)))
  if let slot {
    expression.attributes.append((NFTNL_EXPR_NAT_REG_PROTO_MIN, register(slot)))
    expression.attributes.append((NFTNL_EXPR_NAT_REG_PROTO_MAX, register(slot)))
  }
  return expression
}

private func immediate(_ verdict: Verdict) -> Expression {
  var expression = Expression(
    "immediate", (NFTNL_EXPR_IMM_DREG, .number(NFT_REG_VERDICT.rawValue)),
    (NFTNL_EXPR_IMM_VERDICT, .number(UInt32(bitPattern: verdict.code))))
  if let chain = verdict.chain { expression.attributes.append((NFTNL_EXPR_IMM_CHAIN, .string(chain.rawValue))) }
  return expression
}

/// NF_CT_STATE_BIT(IP_CT_ESTABLISHED) and NF_CT_STATE_BIT(IP_CT_RELATED) of linux/netfilter/nf_conntrack_common.h
private let ctStateEstablished: UInt32 = 1 << 1
private let ctStateRelated: UInt32 = 1 << 2

private func native(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }

private func padded(_ name: String) -> [UInt8] {
  let bytes = Array(name.utf8)
  return bytes + [UInt8](repeating: 0, count: DataType.ifname.size - bytes.count)
}
