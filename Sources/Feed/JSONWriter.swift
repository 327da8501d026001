import PortMaps

/// Appends JSON text to a byte array, without a tree in between. Commas are put where they belong.
package struct JSONWriter: Sendable {
  package private(set) var bytes: [UInt8] = []
  /// Spaces of each level; 0 = compact.
  private let indent: Int
  private var depth = 0

  package init(indent: Int = 0) { self.indent = indent }

  /// The bytes so far; the writer is empty afterwards.
  mutating func take() -> [UInt8] {
    defer { bytes = [] }
    return bytes
  }

  mutating func endLine() { bytes.append(UInt8(ascii: "\n")) }

  /// Adds text that is complete JSON already, with its LF.
  mutating func append(line: [UInt8]) { bytes += line }

  mutating func beginObject() { open("{") }
  mutating func endObject() { close("}", after: "{") }
  mutating func beginArray() { open("[") }
  mutating func endArray() { close("]", after: "[") }

  mutating func key(_ name: StaticString) {
    separate()
    bytes.append(UInt8(ascii: "\""))
    // A name that is written in the program has nothing to escape.
    name.withUTF8Buffer { bytes.append(contentsOf: $0) }
    bytes.append(UInt8(ascii: "\""))
    colon()
  }

  /// One that the program does not know beforehand.
  mutating func key(of name: String) {
    value(name)
    colon()
  }

  mutating func null() { literal("null") }
  mutating func value(_ value: Bool) { literal(value ? "true" : "false") }

  mutating func value(_ number: some BinaryInteger) {
    separate()
    if number < 0 { bytes.append(UInt8(ascii: "-")) }
    decimal(UInt64(number.magnitude))
  }

  private mutating func decimal(_ number: UInt64) {
    if number > 9 { decimal(number / 10) }
    bytes.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number % 10))
  }

  mutating func value(_ text: String) {
    separate()
    var text = text
    text.withUTF8 { quote($0) }
  }

  mutating func value(_ address: IPAddress) {
    separate()
    address.withUTF8 { quote($0) }
  }

  private mutating func quote(_ text: UnsafeBufferPointer<UInt8>) {
    bytes.append(UInt8(ascii: "\""))
    if text.contains(where: Self.needsEscape) {
      for byte in text { escape(byte) }
    } else {
      bytes.append(contentsOf: text)
    }
    bytes.append(UInt8(ascii: "\""))
  }

  mutating func value(_ json: JSON) {
    switch json {
    case .null: null()
    case .bool(let bool): value(bool)
    case .integer(let integer): value(integer)
    case .number(let text): literal(text)
    case .string(let text): value(text)
    case .array(let elements):
      beginArray()
      for element in elements { value(element) }
      endArray()
    case .object(let members):
      beginObject()
      for member in members {
        key(of: member.key)
        value(member.value)
      }
      endObject()
    }
  }

  private mutating func literal(_ text: String) {
    separate()
    bytes.append(contentsOf: text.utf8)
  }

  private mutating func open(_ bracket: Unicode.Scalar) {
    separate()
    bytes.append(UInt8(ascii: bracket))
    depth += 1
  }

  private mutating func close(_ bracket: Unicode.Scalar, after opening: Unicode.Scalar) {
    depth -= 1
    if bytes.last != UInt8(ascii: opening) { breakLine() }
    bytes.append(UInt8(ascii: bracket))
  }

  private mutating func colon() {
    bytes.append(UInt8(ascii: ":"))
    if indent > 0 { bytes.append(UInt8(ascii: " ")) }
  }

  /// A comma is due unless the last byte opened something; strings end with a quote, so their content cannot mislead.
  private mutating func separate() {
    switch bytes.last {
    case nil, UInt8(ascii: "\n"), UInt8(ascii: ":"), UInt8(ascii: " "): return
    case UInt8(ascii: "{"), UInt8(ascii: "["): break
    default: bytes.append(UInt8(ascii: ","))
    }
    breakLine()
  }

  private mutating func breakLine() {
    guard indent > 0 else { return }
    endLine()
    bytes.append(contentsOf: repeatElement(UInt8(ascii: " "), count: indent * depth))
  }

  private static func needsEscape(_ byte: UInt8) -> Bool {
    byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
  }

  /// RFC 8259 §7: quote, backslash and U+0000 to U+001F must be escaped, nothing else.
  private mutating func escape(_ byte: UInt8) {
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
    case UInt8(ascii: "\n"): bytes.append(contentsOf: "\\n".utf8)
    case UInt8(ascii: "\r"): bytes.append(contentsOf: "\\r".utf8)
    case UInt8(ascii: "\t"): bytes.append(contentsOf: "\\t".utf8)
    case 0..<0x20: bytes.append(contentsOf: ((byte < 0x10 ? "\\u000" : "\\u00") + String(byte, radix: 16)).utf8)
    default: bytes.append(byte)
    }
  }
}
