import Feed
import PortMaps

/// A reply as it came, of which only the parts that a command needs are understood.
struct Answer {
  let line: [UInt8]

  init(line: [UInt8]) { self.line = line }

  init(_ reply: Reply) {
    var writer = JSONWriter()
    reply.write(id: nil, to: &writer)
    line = writer.bytes.dropLast()
  }

  /// Fails with `RequestRefused` for a reply that is not `"ok":true`.
  func check() throws {
    if try text(of: "ok").elementsEqual("true".utf8) { return }
    let error = try value(of: "error")
    guard let code = error["code"]?.string, let message = error["message"]?.string else {
      throw UnknownAnswer(part: "error")
    }
    throw RequestRefused(code: code, message: message)
  }

  /// The JSON text of a member's value.
  func text(of key: String) throws(UnknownAnswer) -> ArraySlice<UInt8> {
    var scanner = JSONScanner(bytes: line)
    guard let range = scanner.value(of: key) else { throw UnknownAnswer(part: key) }
    return line[range]
  }

  /// What a line for watchers tells; `nil` for a reply.
  var change: String? {
    get throws {
      var scanner = JSONScanner(bytes: line)
      guard let range = scanner.value(of: "change") else { return nil }
      return try JSON(parsing: Array(line[range])).string
    }
  }

  func value(of key: String) throws -> JSON { try JSON(parsing: Array(text(of: key))) }

  func elements(of key: String) throws -> [JSON] {
    guard case .array(let elements) = try value(of: key) else { throw UnknownAnswer(part: key) }
    return elements
  }
}

/// The answer is an error.
struct RequestRefused: Error, Equatable, CustomStringConvertible {
  /// As sent: an agent of a later version may know more codes.
  let code: String
  let message: String
  var description: String { message }
}

/// The agent closed a connection that was to stay open.
struct AgentLeft: Error, CustomStringConvertible {
  let description: String
}

/// The agent's reply lacks something, or has it in another form.
struct UnknownAnswer: Error, Equatable, CustomStringConvertible {
  let part: String
  var description: String {
    "the agent's reply has no \"\(part)\" that this program understands; are both of the same version?"
  }
}

extension JSON {
  var string: String? { if case .string(let text) = self { text } else { nil } }
  var integer: Int64? { if case .integer(let number) = self { number } else { nil } }
  var bool: Bool? { if case .bool(let bool) = self { bool } else { nil } }
  var elements: [JSON] { if case .array(let elements) = self { elements } else { [] } }
  var members: [(key: String, value: JSON)] { if case .object(let members) = self { members } else { [] } }
}

/// Finds the text of a member's value without understanding what it steps over: a listing of 100,000 mappings is passed
/// on in the time it takes to read it once.
private struct JSONScanner {
  let bytes: [UInt8]
  private var offset = 0

  init(bytes: [UInt8]) { self.bytes = bytes }

  /// `nil` when the object has no such key, or is no JSON object.
  mutating func value(of key: String) -> Range<Int>? {
    guard skip("{") else { return nil }
    repeat {
      guard let name = string(), skip(":"), let value = value() else { return nil }
      if bytes[name].dropFirst().dropLast().elementsEqual(key.utf8) { return value }
    } while skip(",")
    return nil
  }

  private mutating func value() -> Range<Int>? {
    skipBlanks()
    let start = offset
    var depth = 0
    while offset < bytes.count {
      switch bytes[offset] {
      case UInt8(ascii: "\""):
        guard string() != nil else { return nil }
        continue
      case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        if depth == 0 { return start..<offset }
        depth -= 1
      case UInt8(ascii: ",") where depth == 0: return start..<offset
      default: break
      }
      offset += 1
    }
    return nil
  }

  /// With its quotes.
  private mutating func string() -> Range<Int>? {
    skipBlanks()
    let start = offset
    guard offset < bytes.count, bytes[offset] == UInt8(ascii: "\"") else { return nil }
    offset += 1
    while offset < bytes.count {
      switch bytes[offset] {
      case UInt8(ascii: "\""):
        offset += 1
        return start..<offset
      case UInt8(ascii: "\\"): offset += 2
      default: offset += 1
      }
    }
    return nil
  }

  private mutating func skip(_ byte: Unicode.Scalar) -> Bool {
    skipBlanks()
    guard offset < bytes.count, bytes[offset] == UInt8(ascii: byte) else { return false }
    offset += 1
    return true
  }

  private mutating func skipBlanks() {
    while offset < bytes.count, bytes[offset] == UInt8(ascii: " ") { offset += 1 }
  }
}
