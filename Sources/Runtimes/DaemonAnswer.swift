import Feed
import PortMaps

/// What a daemon sent is not what its API says; names the place and what was expected there.
struct UnexpectedAnswer: Error, Equatable, CustomStringConvertible {
  let description: String
}

/// A part of what a daemon sent. What is there must be of the expected type; what is not asked for is ignored, as it is
/// not our contract. Absent and `null` are the type's zero value: that is how Go writes empty lists, maps and omitted
/// fields.
struct Part: Sendable {
  private let value: JSON?
  /// Of this part, for errors: `.State.Running`.
  let path: String

  init(parsing bytes: [UInt8]) throws(UnexpectedAnswer) {
    do {
      value = try JSON(parsing: bytes)
    } catch {
      throw UnexpectedAnswer(description: error.message)
    }
    path = ""
  }

  private init(_ value: JSON?, _ path: String) { (self.value, self.path) = (value, path) }

  subscript(_ key: String) -> Part { Part(value?[key], "\(path).\(key)") }

  var isNull: Bool {
    switch value {
    case nil, .null?: true
    default: false
    }
  }

  func string() throws(UnexpectedAnswer) -> String {
    switch value {
    case nil, .null?: return ""
    case .string(let text)?: return text
    default: throw unexpected("a string")
    }
  }

  func bool() throws(UnexpectedAnswer) -> Bool {
    switch value {
    case nil, .null?: return false
    case .bool(let bool)?: return bool
    default: throw unexpected("true or false")
    }
  }

  func integer() throws(UnexpectedAnswer) -> Int64 {
    switch value {
    case nil, .null?: return 0
    case .integer(let number)?: return number
    default: throw unexpected("an integer")
    }
  }

  func elements() throws(UnexpectedAnswer) -> [Part] {
    switch value {
    case nil, .null?: return []
    case .array(let elements)?: return elements.enumerated().map { Part($0.element, "\(path)[\($0.offset)]") }
    default: throw unexpected("a list")
    }
  }

  func members() throws(UnexpectedAnswer) -> [(key: String, part: Part)] {
    switch value {
    case nil, .null?: return []
    case .object(let members)?: return members.map { ($0.key, Part($0.value, "\(path).\($0.key)")) }
    default: throw unexpected("an object")
    }
  }

  /// "" is none.
  func address() throws(UnexpectedAnswer) -> IPAddress? {
    let text = try string()
    if text.isEmpty { return nil }
    guard let address = IPAddress(parsing: text) else { throw unexpected("an address") }
    return address
  }

  func unexpected(_ expected: String) -> UnexpectedAnswer {
    let text = (value ?? .null).description.unicodeScalars
    let quoted = text.count <= 100 ? String(text) : String(text.prefix(100)) + "…"
    return UnexpectedAnswer(description: "\(path): \(expected) is expected, not \(quoted)")
  }
}
