/// A JSON value (RFC 8259) as it was written: members keep their order, numbers that are not plain integers their text.
package enum JSON: Sendable {
  case null
  case bool(Bool)
  case integer(Int64)
  /// A number with a fraction, an exponent or more digits than an `Int64` holds; the text is kept for messages.
  case number(String)
  case string(String)
  case array([JSON])
  /// No two keys are equal in a parsed value.
  case object([(key: String, value: JSON)])

  /// The member of an object; `nil` for other values.
  package subscript(key: String) -> JSON? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.key == key }?.value
  }
}

extension JSON: Equatable {
  package static func == (a: JSON, b: JSON) -> Bool {
    switch (a, b) {
    case (.null, .null): true
    case (.bool(let a), .bool(let b)): a == b
    case (.integer(let a), .integer(let b)): a == b
    case (.number(let a), .number(let b)): a == b
    case (.string(let a), .string(let b)): a == b
    case (.array(let a), .array(let b)): a == b
    case (.object(let a), .object(let b)): a.elementsEqual(b) { $0.key == $1.key && $0.value == $1.value }
    default: false
    }
  }
}

extension JSON: CustomStringConvertible {
  /// Compact JSON text.
  package var description: String {
    var writer = JSONWriter()
    writer.value(self)
    return String(decoding: writer.bytes, as: UTF8.self)
  }

  /// JSON text for people: one member or element a line, nested ones `indent` spaces further in; no final newline.
  package func pretty(indent: Int = 2) -> String {
    var writer = JSONWriter(indent: indent)
    writer.value(self)
    return String(decoding: writer.bytes, as: UTF8.self)
  }

  /// The value as a message quotes it: short whatever a client sent.
  var quoted: String {
    switch self {
    case .object: return "an object"
    case .array: return "a list"
    case .null, .bool, .integer, .number, .string:
      let text = description.unicodeScalars
      return text.count <= 100 ? description : String(text.prefix(100)) + "…"
    }
  }
}
