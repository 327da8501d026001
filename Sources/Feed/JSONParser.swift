import PortMaps

extension JSON {
  /// Parses exactly one value, with blanks around it and nothing else.
  ///
  /// Stricter than RFC 8259 asks: equal keys in an object, nesting deeper than 32, escapes of half a surrogate pair and
  /// invalid UTF-8 are refused. Fails with `bad-json`; offsets in messages count bytes from 0.
  package init(parsing bytes: [UInt8]) throws(RequestError) {
    var parser = JSONParser(bytes: bytes)
    self = try parser.document()
  }
}

/// A recursive descent over the bytes of one value.
struct JSONParser {
  static let maximumDepth = 32

  private let bytes: [UInt8]
  private var offset = 0

  init(bytes: [UInt8]) { self.bytes = bytes }

  mutating func document() throws(RequestError) -> JSON {
    let value = try value(depth: 0)
    skipBlanks()
    if offset < bytes.count { throw unexpected("nothing after the value") }
    return value
  }

  private mutating func value(depth: Int) throws(RequestError) -> JSON {
    skipBlanks()
    switch peek {
    case UInt8(ascii: "{"): return .object(try members(depth: depth + 1))
    case UInt8(ascii: "["): return .array(try elements(depth: depth + 1))
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "-"), .some(0x30...0x39): return try number()
    case UInt8(ascii: "t") where skip("true"): return .bool(true)
    case UInt8(ascii: "f") where skip("false"): return .bool(false)
    case UInt8(ascii: "n") where skip("null"): return .null
    default: throw unexpected("a value")
    }
  }

  private mutating func members(depth: Int) throws(RequestError) -> [(key: String, value: JSON)] {
    try enter(depth)
    var members: [(key: String, value: JSON)] = []
    var keys: Set<String> = []
    if skip("}") { return members }
    repeat {
      skipBlanks()
      let start = offset
      guard peek == UInt8(ascii: "\"") else { throw unexpected("a key in quotes") }
      let key = try string()
      // An object has few, nearly always: to compare them is cheaper than to hash them.
      if members.count == 8 { keys = Set(members.map(\.key)) }
      let isNew = members.count < 8 ? !members.contains { $0.key == key } : keys.insert(key).inserted
      guard isNew else {
        throw RequestError(
          .badJSON, "key \(JSON.string(key).quoted) appears twice in one object, again at byte \(start)")
      }
      guard skip(":") else { throw unexpected("\":\"") }
      members.append((key, try value(depth: depth)))
    } while skip(",")
    guard skip("}") else { throw unexpected("\",\" or \"}\"") }
    return members
  }

  private mutating func elements(depth: Int) throws(RequestError) -> [JSON] {
    try enter(depth)
    var elements: [JSON] = []
    if skip("]") { return elements }
    repeat { elements.append(try value(depth: depth)) } while skip(",")
    guard skip("]") else { throw unexpected("\",\" or \"]\"") }
    return elements
  }

  /// Steps over the opening bracket.
  private mutating func enter(_ depth: Int) throws(RequestError) {
    guard depth <= Self.maximumDepth else {
      throw RequestError(.badJSON, "nesting at byte \(offset) is deeper than \(Self.maximumDepth)")
    }
    offset += 1
  }

  // MARK: Numbers

  private mutating func number() throws(RequestError) -> JSON {
    let start = offset
    var isInteger = true
    if peek == UInt8(ascii: "-") { offset += 1 }
    if peek == UInt8(ascii: "0") { offset += 1 } else { try digits() }
    if peek == UInt8(ascii: ".") {
      isInteger = false
      offset += 1
      try digits()
    }
    if peek == UInt8(ascii: "e") || peek == UInt8(ascii: "E") {
      isInteger = false
      offset += 1
      if peek == UInt8(ascii: "+") || peek == UInt8(ascii: "-") { offset += 1 }
      try digits()
    }
    let text = String(decoding: bytes[start..<offset], as: UTF8.self)
    return isInteger ? Int64(text).map(JSON.integer) ?? .number(text) : .number(text)
  }

  private mutating func digits() throws(RequestError) {
    let start = offset
    while let byte = peek, (0x30...0x39).contains(byte) { offset += 1 }
    if offset == start { throw unexpected("a digit") }
  }

  // MARK: Strings

  private mutating func string() throws(RequestError) -> String {
    offset += 1
    var text = try plainText()
    while true {
      switch peek {
      case UInt8(ascii: "\""):
        offset += 1
        return text
      case UInt8(ascii: "\\"):
        text.unicodeScalars.append(try escape())
        text += try plainText()
      default:
        throw unexpected("a closing quote (control characters must be escaped)")
      }
    }
  }

  /// The characters up to a quote, a backslash or a control character.
  private mutating func plainText() throws(RequestError) -> String {
    let start = offset
    var isASCII = true
    while let byte = peek, byte >= 0x20, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") {
      if byte >= 0x80 { isASCII = false }
      offset += 1
    }
    // Nothing in it can be invalid, and to have that looked for takes longer than all the rest.
    if isASCII { return String(decoding: bytes[start..<offset], as: UTF8.self) }
    guard let text = String(validating: bytes[start..<offset], as: UTF8.self) else {
      throw RequestError(.badJSON, "the string at byte \(start) is not valid UTF-8")
    }
    return text
  }

  private mutating func escape() throws(RequestError) -> Unicode.Scalar {
    let start = offset
    offset += 2
    switch start + 1 < bytes.count ? bytes[start + 1] : 0 {
    case UInt8(ascii: "\""): return "\""
    case UInt8(ascii: "\\"): return "\\"
    case UInt8(ascii: "/"): return "/"
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{c}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"):
      let first = try hexadecimal()
      if let scalar = Unicode.Scalar(first) { return scalar }
      if UTF16.isLeadSurrogate(first), skipBytes("\\u") {
        let second = try hexadecimal()
        let pair = 0x10000 + UInt32(first & 0x3ff) << 10 + UInt32(second & 0x3ff)
        if UTF16.isTrailSurrogate(second), let scalar = Unicode.Scalar(pair) { return scalar }
      }
      throw RequestError(.badJSON, "the escape at byte \(start) is half of a surrogate pair")
    default:
      offset = start
      throw unexpected("an escape: one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX")
    }
  }

  private mutating func hexadecimal() throws(RequestError) -> UInt16 {
    var value: UInt16 = 0
    for _ in 0..<4 {
      guard let digit = peek.flatMap({ Character(Unicode.Scalar($0)).hexDigitValue }) else {
        throw unexpected("four hexadecimal digits")
      }
      value = value << 4 | UInt16(digit)
      offset += 1
    }
    return value
  }

  // MARK: Bytes

  private var peek: UInt8? { offset < bytes.count ? bytes[offset] : nil }

  private mutating func skipBlanks() {
    while let byte = peek, byte == 0x20 || (0x09...0x0d).contains(byte) && byte != 0x0b && byte != 0x0c { offset += 1 }
  }

  /// Steps over blanks and then `token`, if that is what comes next.
  private mutating func skip(_ token: StaticString) -> Bool {
    skipBlanks()
    return skipBytes(token)
  }

  private mutating func skipBytes(_ token: StaticString) -> Bool {
    let isNext = token.withUTF8Buffer { bytes[offset...].starts(with: $0) }
    if isNext { offset += token.utf8CodeUnitCount }
    return isNext
  }

  private func unexpected(_ expected: String) -> RequestError {
    let found =
      switch peek {
      case nil: "the end of the line"
      case .some(0x20...0x7e): "\"\(Character(Unicode.Scalar(bytes[offset])))\""
      case .some(let byte): "byte 0x\(String(byte, radix: 16))"
      }
    return RequestError(.badJSON, "expected \(expected) at byte \(offset), found \(found)")
  }
}
