import CNetfilter

/// Appends netlink messages to a byte buffer: plain Swift, because a bounds-checked append costs less than a call of
/// mnl_attr_put.
///
/// ```
/// struct nlmsghdr   length:u32  type:u16  flags:u16  sequence:u32  port id:u32        host byte order
/// struct nfgenmsg   family:u8   version:u8  resource id:u16 (big endian)
/// struct nlattr     length:u16  type:u16  payload, padded to 4 bytes                  host byte order
/// ```
struct MessageWriter {
  private(set) var bytes: [UInt8] = []

  mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }
  mutating func append(_ other: UnsafeRawBufferPointer) { bytes.append(contentsOf: other) }

  mutating func message(
    _ type: UInt16, flags: Int32, sequence: UInt32, family: UInt8, resource: UInt16 = 0, _ body: (inout Self) -> Void
  ) {
    message(type, flags: flags, sequence: sequence) {
      $0.bytes.append(family)
      $0.bytes.append(0)
      $0.big(resource)
      body(&$0)
    }
  }

  /// A message of another netlink family: `body` begins with that family's own header.
  mutating func message(_ type: UInt16, flags: Int32, sequence: UInt32, _ body: (inout Self) -> Void) {
    let start = bytes.count
    native(UInt32(0))
    native(type)
    native(UInt16(flags))
    native(sequence)
    native(UInt32(0))
    body(&self)
    patch(UInt32(bytes.count - start), at: start)
  }

  /// Sets NLM_F_ACK on the message that starts at `start`.
  mutating func requestAcknowledgement(messageAt start: Int) {
    let offset = start + 6
    patch(bytes[offset...].native(UInt16.self, at: 0) | UInt16(NLM_F_ACK), at: offset)
  }

  /// The payload that `body` appends must stay below 64 KiB.
  mutating func attribute(_ type: some RawRepresentable<UInt32>, _ body: (inout Self) -> Void) {
    attribute(UInt16(type.rawValue), body)
  }

  mutating func nested(_ type: some RawRepresentable<UInt32>, _ body: (inout Self) -> Void) {
    attribute(UInt16(type.rawValue) | UInt16(NLA_F_NESTED), body)
  }

  mutating func string(_ type: some RawRepresentable<UInt32>, _ text: String) {
    attribute(type) {
      $0.bytes.append(contentsOf: text.utf8)
      $0.bytes.append(0)
    }
  }

  private mutating func attribute(_ type: UInt16, _ body: (inout Self) -> Void) {
    let start = bytes.count
    native(UInt16(0))
    native(type)
    body(&self)
    patch(UInt16(bytes.count - start), at: start)
    while bytes.count & 3 != 0 { bytes.append(0) }
  }

  mutating func append(_ byte: UInt8) { bytes.append(byte) }
  mutating func append(_ text: some Sequence<UInt8>) { bytes.append(contentsOf: text) }

  /// Network byte order.
  mutating func big(_ value: some FixedWidthInteger & UnsignedInteger) {
    for shift in stride(from: value.bitWidth - 8, through: 0, by: -8) {
      bytes.append(UInt8(truncatingIfNeeded: value >> shift))
    }
  }

  mutating func native(_ value: some FixedWidthInteger) {
    withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
  }

  private mutating func patch(_ value: some FixedWidthInteger, at offset: Int) {
    withUnsafeBytes(of: value) { bytes.replaceSubrange(offset..<offset + $0.count, with: $0) }
  }
}
