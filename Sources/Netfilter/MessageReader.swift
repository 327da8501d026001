/// Bytes that were received, which belong to whoever received them: valid until that returns. Slices of an array would count
/// references at each step, which is half of what reading an element costs.
typealias Bytes = Slice<UnsafeRawBufferPointer>

/// A received netlink message: its header and what follows it. Layout: see `MessageWriter`.
struct Message {
  let type: UInt16
  let flags: UInt16
  let sequence: UInt32
  let portID: UInt32
  /// With the header.
  let bytes: Bytes

  static let headerSize = 16

  /// The message at the start of `buffer`; `nil` when it is cut short.
  init?(_ buffer: Bytes) {
    guard buffer.count >= Self.headerSize else { return nil }
    let length = Int(buffer.native(UInt32.self, at: 0))
    guard length >= Self.headerSize, length <= buffer.count else { return nil }
    bytes = buffer.prefix(length)
    type = buffer.native(UInt16.self, at: 4)
    flags = buffer.native(UInt16.self, at: 6)
    sequence = buffer.native(UInt32.self, at: 8)
    portID = buffer.native(UInt32.self, at: 12)
  }

  /// What follows the `struct nfgenmsg` of an nf_tables message.
  var attributes: Attributes { Attributes(bytes.dropFirst(Self.headerSize + 4)) }
}

/// The attributes in `bytes`, in order. Iteration ends early at one that is cut short.
struct Attributes: Sequence, IteratorProtocol {
  private var rest: Bytes

  init(_ bytes: Bytes) { rest = bytes }

  mutating func next() -> (type: UInt16, value: Bytes)? {
    guard rest.count >= 4 else { return nil }
    let length = Int(rest.native(UInt16.self, at: 0))
    guard length >= 4, length <= rest.count else { return nil }
    // The two high bits are NLA_F_NESTED and NLA_F_NET_BYTEORDER.
    let type = rest.native(UInt16.self, at: 2) & 0x3fff
    let value = rest.prefix(length).dropFirst(4)
    rest = rest.dropFirst((length + 3) & ~3)
    return (type, value)
  }

  /// The value of the first attribute of this type.
  subscript(type: some RawRepresentable<UInt32>) -> Bytes? { first { type ~= $0.type }?.value }
}

/// Compares an attribute's type with a constant of a C enum.
func ~= (constant: some RawRepresentable<UInt32>, type: UInt16) -> Bool { constant.rawValue == type }

extension Bytes {
  /// A number in host byte order, `offset` bytes into the slice, which has as many.
  func native<T: FixedWidthInteger>(_: T.Type, at offset: Int) -> T {
    base.loadUnaligned(fromByteOffset: startIndex + offset, as: T.self)
  }

  /// The whole slice as a number in network byte order.
  var big: UInt64 { reduce(0) { $0 << 8 | UInt64($1) } }

  /// Up to the first NUL; `nil` when that is not UTF-8.
  var string: String? {
    let text = UnsafeRawBufferPointer(rebasing: prefix { $0 != 0 })
    // Names are ASCII, nearly all of them, in which nothing can be invalid.
    return text.allSatisfy { $0 < 0x80 }
      ? String(decoding: text, as: UTF8.self) : String(validating: text, as: UTF8.self)
  }
}
