import CNetfilter
import PortMaps

// Elements on the wire (linux/netfilter/nf_tables.h, enum nft_set_elem_attributes):
//
//   NFTA_SET_ELEM_LIST_TABLE     "pmagent"
//   NFTA_SET_ELEM_LIST_SET       "any4"
//   NFTA_SET_ELEM_LIST_ELEMENTS
//     NFTA_LIST_ELEM
//       NFTA_SET_ELEM_KEY        NFTA_DATA_VALUE    the fields of the key, each padded to 4 bytes
//       NFTA_SET_ELEM_KEY_END    NFTA_DATA_VALUE    interval sets: the last key of the range; exact fields repeated
//       NFTA_SET_ELEM_DATA       NFTA_DATA_VALUE    172.18.0.2 . 80, padded likewise
//                                NFTA_DATA_VERDICT  NFTA_VERDICT_CODE, NFTA_VERDICT_CHAIN
//       NFTA_SET_ELEM_USERDATA   type 0, length, comment, NUL (libnftnl's NFTNL_UDATA_SET_ELEM_COMMENT)
//     NFTA_LIST_ELEM …
//
// Numbers in fields and verdict codes are in network byte order; an interface name fills 16 bytes.

extension MessageWriter {
  /// The attributes before the list, which every message about elements has.
  mutating func elementSet(_ set: SetName) {
    string(NFTA_SET_ELEM_LIST_TABLE, Skeleton.table)
    string(NFTA_SET_ELEM_LIST_SET, set.rawValue)
  }

  /// One NFTA_LIST_ELEM. Without `value` it names the element to delete.
  mutating func element(_ element: Element, isInterval: Bool, withValue: Bool) {
    nested(NFTA_LIST_ELEM) {
      $0.nested(NFTA_SET_ELEM_KEY) { $0.attribute(NFTA_DATA_VALUE) { $0.key(element.key, \.address) } }
      if isInterval {
        $0.nested(NFTA_SET_ELEM_KEY_END) { $0.attribute(NFTA_DATA_VALUE) { $0.key(element.key, \.last) } }
      }
      guard withValue else { return }
      $0.value(element.value)
      if !element.comment.isEmpty {
        $0.attribute(NFTA_SET_ELEM_USERDATA) { $0.append(comment: element.comment) }
      }
    }
  }

  /// `edge`: the first or the last address of a prefix.
  private mutating func key(_ key: Element.Key, _ edge: (IPPrefix) -> IPAddress) {
    switch key {
    case .port(let transport, let number): port(transport, number)
    case .addressPort(let address, let transport, let number):
      self.address(address)
      port(transport, number)
    case .sourceAddressPort(let source, let destination, let transport, let number):
      address(edge(source))
      address(edge(destination))
      port(transport, number)
    case .interface(let name): interface(name)
    case .interfaces(let first, let second):
      interface(first)
      interface(second)
    case .interfacePrefix(let name, let prefix):
      interface(name)
      address(edge(prefix))
    case .family(let family): big(UInt32(family.nfproto) << 24)
    }
  }

  private mutating func value(_ value: Element.Value) {
    switch value {
    case .none: break
    case .verdict(let verdict): nested(NFTA_SET_ELEM_DATA) { $0.nested(NFTA_DATA_VERDICT) { $0.verdict(verdict) } }
    case .destination(let address, let number):
      nested(NFTA_SET_ELEM_DATA) {
        $0.attribute(NFTA_DATA_VALUE) {
          $0.address(address)
          $0.number(number)
        }
      }
    case .address(let address): nested(NFTA_SET_ELEM_DATA) { $0.attribute(NFTA_DATA_VALUE) { $0.address(address) } }
    }
  }

  private mutating func verdict(_ verdict: Verdict) {
    attribute(NFTA_VERDICT_CODE) { $0.big(UInt32(bitPattern: verdict.code)) }
    if let chain = verdict.chain { string(NFTA_VERDICT_CHAIN, chain.rawValue) }
  }

  private mutating func port(_ transport: TransportProtocol, _ number: UInt16) {
    big(UInt32(transport.rawValue) << 24)
    self.number(number)
  }

  private mutating func number(_ number: UInt16) { big(UInt32(number) << 16) }

  private mutating func address(_ address: IPAddress) {
    if address.family == .ipv4 {
      big(UInt32(truncatingIfNeeded: address.low))
    } else {
      big(address.high)
      big(address.low)
    }
  }

  private mutating func interface(_ name: String) {
    let bytes = name.utf8.prefix(DataType.ifname.size - 1)
    append(bytes)
    for _ in bytes.count..<DataType.ifname.size { append(0) }
  }
}

extension AddressFamily {
  /// `NFPROTO_IPV4`, `NFPROTO_IPV6` of linux/netfilter.h.
  var nfproto: UInt8 { UInt8(self == .ipv4 ? NFPROTO_IPV4 : NFPROTO_IPV6) }
}

extension Verdict {
  /// NF_DROP, NF_ACCEPT and `enum nft_verdicts`.
  var code: Int32 {
    switch self {
    case .drop: NF_DROP
    case .accept: NF_ACCEPT
    case .jump: NFT_JUMP.rawValue
    case .goto: NFT_GOTO.rawValue
    case .return: NFT_RETURN.rawValue
    }
  }

  var chain: ChainName? {
    switch self {
    case .jump(let chain), .goto(let chain): chain
    case .accept, .drop, .return: nil
    }
  }
}
