import CNetfilter
import PortMaps

extension Element {
  /// Reads one NFTA_LIST_ELEM; `nil` when it is not one that `MessageWriter.element` could have written.
  init?(_ attributes: Attributes, of definition: SetDefinition) {
    var (start, end, data): (Bytes?, Bytes?, Bytes?)
    var comment = ""
    for (type, value) in attributes {
      switch type {
      case NFTA_SET_ELEM_KEY: start = Attributes(value)[NFTA_DATA_VALUE]
      case NFTA_SET_ELEM_KEY_END: end = Attributes(value)[NFTA_DATA_VALUE]
      case NFTA_SET_ELEM_DATA: data = value
      case NFTA_SET_ELEM_USERDATA: comment = userdataComment(value)
      case NFTA_SET_ELEM_PAD: break
      case NFTA_SET_ELEM_EXPR where definition.hasCounter: break
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
  fileprivate init?(_ start: Bytes, _ end: Bytes, _ types: [DataType]) {
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
    case [.nfProto]:
      if let number = exact({ $0.nfproto() }) {
        key = AddressFamily.allCases.first { $0.nfproto == number }.map { .family($0) }
      }
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
  fileprivate init?(_ data: Bytes?, _ definition: SetDefinition.Value) {
    guard let data else {
      guard definition == .none else { return nil }
      self = .none
      return
    }
    switch definition {
    case .none: return nil
    case .verdict:
      guard let verdict = Attributes(data)[NFTA_DATA_VERDICT].flatMap({ Verdict(Attributes($0)) }) else { return nil }
      self = .verdict(verdict)
    case .data(let types):
      guard let bytes = Attributes(data)[NFTA_DATA_VALUE] else { return nil }
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
  private var rest: Bytes

  init(_ bytes: Bytes) { rest = bytes }

  var isAtEnd: Bool { rest.isEmpty }

  private mutating func field(_ type: DataType) -> Bytes? {
    guard rest.count >= type.size else { return nil }
    let field = rest.prefix(type.size)
    rest = rest.dropFirst((type.size + 3) & ~3)
    return field
  }

  /// An IPv4-mapped address is not one of ours: `IPAddress` would read it as IPv4.
  mutating func address(_ type: DataType) -> IPAddress? {
    guard let field = field(type) else { return nil }
    if type == .ipv4Address { return IPAddress(ipv4: UInt32(bigEndian: field.native(UInt32.self, at: 0))) }
    let address = IPAddress(
      ipv6: UInt64(bigEndian: field.native(UInt64.self, at: 0)), UInt64(bigEndian: field.native(UInt64.self, at: 8)))
    return address.family == .ipv6 ? address : nil
  }
  mutating func transport() -> TransportProtocol? {
    field(.inetProto).flatMap { TransportProtocol(rawValue: UInt8($0.big)) }
  }
  mutating func port() -> UInt16? { field(.inetService).map { UInt16($0.big) } }
  mutating func nfproto() -> UInt8? { field(.nfProto)?.first }
  mutating func interface() -> String? { field(.ifname).flatMap(\.string) }
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

extension Verdict {
  /// `nil` also for a chain that is not ours.
  fileprivate init?(_ attributes: Attributes) {
    guard let code = attributes[NFTA_VERDICT_CODE] else { return nil }
    let chain = attributes[NFTA_VERDICT_CHAIN]?.string.flatMap(ChainName.init(rawValue:))
    switch (Int32(truncatingIfNeeded: code.big), chain) {
    case (Self.drop.code, nil): self = .drop
    case (Self.accept.code, nil): self = .accept
    case (Self.return.code, nil): self = .return
    case (NFT_JUMP.rawValue, let chain?): self = .jump(chain)
    case (NFT_GOTO.rawValue, let chain?): self = .goto(chain)
    default: return nil
    }
  }
}
