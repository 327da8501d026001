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

private let elementKey = Int(NFTA_SET_ELEM_KEY.rawValue)
private let elementKeyEnd = Int(NFTA_SET_ELEM_KEY_END.rawValue)
private let elementData = Int(NFTA_SET_ELEM_DATA.rawValue)
private let elementUserdata = Int(NFTA_SET_ELEM_USERDATA.rawValue)
private let dataValue = Int(NFTA_DATA_VALUE.rawValue)
private let dataVerdict = Int(NFTA_DATA_VERDICT.rawValue)
private let verdictCode = Int(NFTA_VERDICT_CODE.rawValue)
private let verdictChain = Int(NFTA_VERDICT_CHAIN.rawValue)

extension MessageWriter {
  /// The attributes before the list, which every message about elements has.
  mutating func elementSet(_ set: SetName) {
    string(Int(NFTA_SET_ELEM_LIST_TABLE.rawValue), Skeleton.table)
    string(Int(NFTA_SET_ELEM_LIST_SET.rawValue), set.rawValue)
  }

  /// One NFTA_LIST_ELEM. Without `value` it names the element to delete.
  mutating func element(_ element: Element, isInterval: Bool, withValue: Bool) {
    nested(Int(NFTA_LIST_ELEM.rawValue)) {
      $0.nested(elementKey) { $0.attribute(dataValue) { $0.key(element.key, \.address) } }
      if isInterval { $0.nested(elementKeyEnd) { $0.attribute(dataValue) { $0.key(element.key, \.last) } } }
      guard withValue else { return }
      $0.value(element.value)
      if !element.comment.isEmpty { $0.attribute(elementUserdata) { $0.append(userdata(comment: element.comment)) } }
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
    }
  }

  private mutating func value(_ value: Element.Value) {
    switch value {
    case .none: break
    case .verdict(let verdict): nested(elementData) { $0.nested(dataVerdict) { $0.verdict(verdict) } }
    case .destination(let address, let number):
      nested(elementData) {
        $0.attribute(dataValue) {
          $0.address(address)
          $0.number(number)
        }
      }
    case .address(let address): nested(elementData) { $0.attribute(dataValue) { $0.address(address) } }
    }
  }

  private mutating func verdict(_ verdict: Verdict) {
    attribute(verdictCode) { $0.big(UInt32(bitPattern: verdict.code)) }
    if let chain = verdict.chain { string(verdictChain, chain.rawValue) }
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

  fileprivate init?(code: Int32, chain: ChainName?) {
    switch (code, chain) {
    case (Self.drop.code, nil): self = .drop
    case (Self.accept.code, nil): self = .accept
    case (Self.return.code, nil): self = .return
    case (Self.jump(.publish).code, let chain?): self = .jump(chain)
    case (Self.goto(.publish).code, let chain?): self = .goto(chain)
    default: return nil
    }
  }
}

extension Element {
  /// Reads one NFTA_LIST_ELEM; `nil` when it is not one that `MessageWriter.element` could have written.
  init?(_ attributes: Attributes, of definition: SetDefinition) {
    var (start, end, data): (ArraySlice<UInt8>?, ArraySlice<UInt8>?, ArraySlice<UInt8>?)
    var comment = ""
    for (type, value) in attributes {
      switch type {
      case elementKey: start = Attributes(value)[dataValue]
      case elementKeyEnd: end = Attributes(value)[dataValue]
      case elementData: data = value
      case elementUserdata: comment = userdataComment(value)
      case Int(NFTA_SET_ELEM_PAD.rawValue): break
      case Int(NFTA_SET_ELEM_EXPR.rawValue) where definition.hasCounter: break
      default: return nil  // A timeout, a limit, a catch-all.
      }
    }
    guard let start, (end != nil) == definition.isInterval else { return nil }
    guard let key = Key(start, end ?? start, definition.key), let value = Value(data, definition.value) else {
      return nil
    }
    self.init(definition.name, key, value, comment: comment)
  }
}

extension Element.Key {
  fileprivate init?(_ start: ArraySlice<UInt8>, _ end: ArraySlice<UInt8>, _ types: [DataType]) {
    var (first, last) = (FieldReader(start), FieldReader(end))
    // Fields that are not prefixes must be the same in both.
    func exact<T: Equatable>(_ read: (inout FieldReader) -> T?) -> T? {
      let value = read(&first)
      return read(&last) == value ? value : nil
    }
    func address(_ type: DataType) -> IPAddress? { exact { $0.address(type) } }
    func prefix(_ type: DataType) -> IPPrefix? {
      guard let from = first.address(type), let to = last.address(type) else { return nil }
      return IPPrefix(from, through: to)
    }
    func port() -> (TransportProtocol, UInt16)? {
      guard let transport = exact({ $0.transport() }), let number = exact({ $0.port() }) else { return nil }
      return (transport, number)
    }
    func interface() -> String? { exact { $0.interface() } }

    var key: Self?
    switch types {
    case [.inetProto, .inetService]: key = port().map { .port($0, $1) }
    case [.ifname]: key = interface().map { .interface($0) }
    case [.ifname, .ifname]:
      if let name = interface(), let other = interface() { key = .interfaces(name, other) }
    case let types where types.count == 2:
      if let name = interface(), let prefix = prefix(types[1]) { key = .interfacePrefix(name, prefix) }
    case let types where types.count == 3:
      if let address = address(types[0]), let (transport, number) = port() {
        key = .addressPort(address, transport, number)
      }
    case let types where types.count == 4:
      if let source = prefix(types[0]), let destination = prefix(types[1]), let (transport, number) = port() {
        key = .sourceAddressPort(source, destination, transport, number)
      }
    default: break
    }
    guard let key, first.isAtEnd, last.isAtEnd else { return nil }
    self = key
  }
}

extension Element.Value {
  fileprivate init?(_ data: ArraySlice<UInt8>?, _ definition: SetDefinition.Value) {
    guard let data else {
      guard definition == .none else { return nil }
      self = .none
      return
    }
    switch definition {
    case .none: return nil
    case .verdict:
      guard let verdict = Attributes(data)[dataVerdict].map(Attributes.init), let code = verdict[verdictCode] else {
        return nil
      }
      let name = verdict[verdictChain]?.string
      let chain = name.flatMap(ChainName.init(rawValue:))
      guard (name == nil) == (chain == nil),
        let verdict = Verdict(code: Int32(truncatingIfNeeded: code.big), chain: chain)
      else { return nil }
      self = .verdict(verdict)
    case .data(let types):
      guard let bytes = Attributes(data)[dataValue] else { return nil }
      var fields = FieldReader(bytes)
      guard let address = fields.address(types[0]) else { return nil }
      if types.count == 1 {
        self = .address(address)
      } else if let port = fields.port() {
        self = .destination(address, port)
      } else {
        return nil
      }
    }
  }
}

/// Takes the fields of a key or of data off the front of its bytes.
private struct FieldReader {
  private var rest: ArraySlice<UInt8>

  init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

  var isAtEnd: Bool { rest.isEmpty }

  private mutating func field(_ type: DataType) -> ArraySlice<UInt8>? {
    guard rest.count >= type.size else { return nil }
    let field = rest.prefix(type.size)
    rest = rest.dropFirst((type.size + 3) & ~3)
    return field
  }

  /// An IPv4-mapped address is not one of ours: `IPAddress` would read it as IPv4.
  mutating func address(_ type: DataType) -> IPAddress? {
    field(type).flatMap { IPAddress(bytes: $0) }.flatMap { DataType.address($0.family) == type ? $0 : nil }
  }
  mutating func transport() -> TransportProtocol? {
    field(.inetProto).flatMap { TransportProtocol(rawValue: UInt8($0.big)) }
  }
  mutating func port() -> UInt16? { field(.inetService).map { UInt16($0.big) } }
  mutating func interface() -> String? { field(.ifname).map(\.string) }
}

extension IPPrefix {
  /// The prefix that spans exactly these addresses; `nil` for any other range.
  fileprivate init?(_ first: IPAddress, through last: IPAddress) {
    let fixed = (first.high ^ last.high).leadingZeroBitCount
    let length = fixed < 64 ? fixed : 64 + (first.low ^ last.low).leadingZeroBitCount
    self.init(first, length: first.family == .ipv4 ? length - 96 : length)
    guard address == first, self.last == last else { return nil }
  }
}
