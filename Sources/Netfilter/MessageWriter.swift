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
  /// Longer than what is written: numbers are stored into it whole, where appending to an array goes byte by byte.
  private var buffer: [UInt8] = []
  private(set) var count = 0
  /// The last one written, and where: those of a range all have one.
  private var comment: (text: String, place: Range<Int>)?

  var bytes: ArraySlice<UInt8> { buffer[..<count] }

  mutating func removeAll() { (count, comment) = (0, nil) }

  private mutating func reserve(_ size: Int) {
    guard count + size > buffer.count else { return }
    buffer.append(contentsOf: repeatElement(0, count: max(buffer.count, size, 256)))
  }

  mutating func append(_ other: UnsafeRawBufferPointer) {
    reserve(other.count)
    let start = count
    buffer.withUnsafeMutableBytes { $0[start..<start + other.count].copyBytes(from: other) }
    count += other.count
  }

  mutating func message(
    _ type: UInt16, flags: Int32, sequence: UInt32, family: UInt8, resource: UInt16 = 0, _ body: (inout Self) -> Void
  ) {
    message(type, flags: flags, sequence: sequence) {
      $0.append(family)
      $0.append(0)
      $0.big(resource)
      body(&$0)
    }
  }

  /// A message of another netlink family: `body` begins with that family's own header.
  mutating func message(_ type: UInt16, flags: Int32, sequence: UInt32, _ body: (inout Self) -> Void) {
    let start = count
    native(UInt32(0))
    native(type)
    native(UInt16(flags))
    native(sequence)
    native(UInt32(0))
    body(&self)
    patch(UInt32(count - start), at: start)
  }

  /// Sets NLM_F_ACK on the message that starts at `start`.
  mutating func requestAcknowledgement(messageAt start: Int) {
    let offset = start + 6
    let flags = buffer.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: UInt16.self) }
    patch(flags | UInt16(NLM_F_ACK), at: offset)
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
      $0.append(text.utf8)
      $0.append(0)
    }
  }

  private mutating func attribute(_ type: UInt16, _ body: (inout Self) -> Void) {
    let start = count
    native(UInt16(0))
    native(type)
    body(&self)
    patch(UInt16(count - start), at: start)
    while count & 3 != 0 { append(0) }
  }

  /// NFTNL_UDATA_SET_ELEM_COMMENT.
  mutating func append(comment text: String) {
    let start = count
    if let comment, comment.text == text {
      reserve(comment.place.count)
      buffer.withUnsafeMutableBytes { $0[start..<start + comment.place.count].copyBytes(from: $0[comment.place]) }
      count += comment.place.count
    } else {
      appendUserdata(comment: text)
      comment = (text, start..<count)
    }
  }

  mutating func append(_ byte: UInt8) { native(byte) }

  mutating func append(_ text: some Sequence<UInt8>) {
    guard text.withContiguousStorageIfAvailable({ append(UnsafeRawBufferPointer($0)) }) == nil else { return }
    for byte in text { append(byte) }
  }

  /// Network byte order.
  mutating func big(_ value: some FixedWidthInteger) { native(value.bigEndian) }

  mutating func native<T: FixedWidthInteger>(_ value: T) {
    let size = MemoryLayout<T>.size
    reserve(size)
    patch(value, at: count)
    count += size
  }

  private mutating func patch<T: FixedWidthInteger>(_ value: T, at offset: Int) {
    buffer.withUnsafeMutableBytes { $0.storeBytes(of: value, toByteOffset: offset, as: T.self) }
  }
}
