import Feed
import PortMaps
import TestSupport
import Testing

struct JSONCase: Sendable, CustomTestStringConvertible {
  let name: String
  let bytes: [UInt8]
  let value: JSON?
  let message: String

  var testDescription: String { name }

  /// Accepted, with this value.
  init(_ name: String, _ text: String, _ value: JSON) {
    (self.name, self.bytes, self.value, self.message) = (name, Array(text.utf8), value, "")
  }

  /// Refused, with a message that contains `message`.
  init(_ name: String, _ text: String, refused message: String) {
    self.init(name, Array(text.utf8), refused: message)
  }

  init(_ name: String, _ bytes: [UInt8], refused message: String) {
    (self.name, self.bytes, self.value, self.message) = (name, bytes, nil, message)
  }
}

@Suite struct JSONTests {
  @Test(arguments: [
    JSONCase("null", "null", .null),
    JSONCase("true", " true\t", .bool(true)),
    JSONCase("false", "\r\nfalse", .bool(false)),
    JSONCase("zero", "0", .integer(0)),
    JSONCase("negative", "-17", .integer(-17)),
    JSONCase("largest", "9223372036854775807", .integer(.max)),
    JSONCase("smallest", "-9223372036854775808", .integer(.min)),
    JSONCase("one more than the largest", "9223372036854775808", .number("9223372036854775808")),
    JSONCase("exponent", "8e1", .number("8e1")),
    JSONCase("fraction", "80.0", .number("80.0")),
    JSONCase("fraction and exponent", "-0.5E-3", .number("-0.5E-3")),
    JSONCase("empty string", "\"\"", .string("")),
    JSONCase("UTF-8", "\"Bü→😀\"", .string("Bü→😀")),
    JSONCase("short escapes", #""\"\\\/\b\f\n\r\t""#, .string("\"\\/\u{8}\u{c}\n\r\t")),
    JSONCase("escaped NUL", #""a\u0000b""#, .string("a\0b")),
    JSONCase("escape in either case", #""\u00fC""#, .string("ü")),
    JSONCase("surrogate pair", #""\ud83d\uDE00""#, .string("😀")),
    JSONCase("empty list", "[ ]", .array([])),
    JSONCase("list", "[1, [2], \"3\"]", .array([.integer(1), .array([.integer(2)]), .string("3")])),
    JSONCase("empty object", "{ }", .object([])),
    JSONCase(
      "members keep their order", #"{"b":1, "a" : {"b":null}}"#,
      .object([("b", .integer(1)), ("a", .object([("b", .null)]))])),
    JSONCase("depth 32", String(repeating: "[", count: 32) + String(repeating: "]", count: 32), nested(32)),
  ])
  func accepts(_ row: JSONCase) throws {
    let value = try JSON(parsing: row.bytes)
    #expect(value == row.value)
    #expect(try JSON(parsing: Array(value.description.utf8)) == value)
    #expect(try JSON(parsing: Array(value.pretty().utf8)) == value)
  }

  @Test(arguments: [
    JSONCase("nothing", "", refused: "expected a value at byte 0, found the end of the line"),
    JSONCase("blanks only", "  ", refused: "expected a value at byte 2"),
    JSONCase("byte order mark", "\u{feff}{}", refused: "expected a value at byte 0, found byte 0xef"),
    JSONCase("misspelt literal", "nul", refused: "expected a value at byte 0, found \"n\""),
    JSONCase("literal in capitals", "True", refused: "expected a value"),
    JSONCase("NaN", "NaN", refused: "expected a value"),
    JSONCase("garbage after", "{} {}", refused: "expected nothing after the value at byte 3, found \"{\""),
    JSONCase("literal run on", "truex", refused: "expected nothing after the value at byte 4"),
    JSONCase("comment", "{} // x", refused: "expected nothing after the value"),
    JSONCase("leading zero", "080", refused: "expected nothing after the value at byte 1"),
    JSONCase("plus sign", "+1", refused: "expected a value"),
    JSONCase("sign alone", "-", refused: "expected a digit at byte 1"),
    JSONCase("no digit before the point", ".5", refused: "expected a value"),
    JSONCase("no digit after the point", "1.", refused: "expected a digit at byte 2"),
    JSONCase("no digit in the exponent", "1e+", refused: "expected a digit at byte 3"),
    JSONCase("hexadecimal", "0x50", refused: "expected nothing after the value at byte 1"),
    JSONCase("trailing comma in a list", "[1,]", refused: "expected a value at byte 3, found \"]\""),
    JSONCase("trailing comma in an object", #"{"a":1,}"#, refused: "expected a key in quotes at byte 7"),
    JSONCase("no comma", "[1 2]", refused: "expected \",\" or \"]\" at byte 3"),
    JSONCase("no comma between members", #"{"a":1 "b":2}"#, refused: "expected \",\" or \"}\" at byte 7"),
    JSONCase("no colon", #"{"a" 1}"#, refused: "expected \":\" at byte 5"),
    JSONCase("key without quotes", "{a:1}", refused: "expected a key in quotes at byte 1"),
    JSONCase("single quotes", "'a'", refused: "expected a value"),
    JSONCase("list without end", "[1", refused: "expected \",\" or \"]\" at byte 2, found the end of the line"),
    JSONCase("object without end", "{", refused: "expected a key in quotes at byte 1, found the end of the line"),
    JSONCase("string without end", "\"abc", refused: "expected a closing quote"),
    JSONCase("backslash at the end", "\"a\\", refused: "expected an escape"),
    JSONCase("unknown escape", #""\x41""#, refused: "expected an escape"),
    JSONCase("short hexadecimal escape", #""\u00f""#, refused: "expected four hexadecimal digits"),
    JSONCase("tab in a string", "\"a\tb\"", refused: "expected a closing quote"),
    JSONCase("lone lead surrogate", #""\ud83d""#, refused: "the escape at byte 1 is half of a surrogate pair"),
    JSONCase("lone trail surrogate", #""\ude00""#, refused: "half of a surrogate pair"),
    JSONCase("two lead surrogates", #""\ud83d\ud83d""#, refused: "half of a surrogate pair"),
    JSONCase("equal keys", #"{"a":1,"b":2,"a":1}"#, refused: "key \"a\" appears twice in one object, again at byte 13"),
    JSONCase(
      "many keys, the last equal to the first", #"{"a":0,"b":1,"c":2,"d":3,"e":4,"f":5,"g":6,"h":7,"i":8,"a":9}"#,
      refused: "key \"a\" appears twice"),
    JSONCase(
      "many keys, the last two equal", #"{"a":0,"b":1,"c":2,"d":3,"e":4,"f":5,"g":6,"h":7,"i":8,"i":9}"#,
      refused: "key \"i\" appears twice"),
    JSONCase("equal keys, one escaped", #"{"a":1,"\u0061":2}"#, refused: "key \"a\" appears twice"),
    JSONCase("equal keys further in", #"[{"x":{"a":1,"a":2}}]"#, refused: "key \"a\" appears twice"),
    JSONCase("depth 33", String(repeating: "[", count: 33), refused: "nesting at byte 32 is deeper than 32"),
    JSONCase("depth 33 of objects", String(repeating: #"{"a":"#, count: 33), refused: "deeper than 32"),
    JSONCase("depth of a million", String(repeating: "[", count: 1_000_000), refused: "deeper than 32"),
    JSONCase("cut UTF-8", [0x22, 0xc3, 0x22], refused: "the string at byte 1 is not valid UTF-8"),
    JSONCase("overlong UTF-8", [0x22, 0xc0, 0xaf, 0x22], refused: "not valid UTF-8"),
    JSONCase("surrogate in UTF-8", [0x22, 0xed, 0xa0, 0x80, 0x22], refused: "not valid UTF-8"),
    JSONCase("invalid UTF-8 in a key", [0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d], refused: "not valid UTF-8"),
    JSONCase("invalid UTF-8 outside of strings", [0xff], refused: "found byte 0xff"),
  ])
  func refuses(_ row: JSONCase) {
    let error = #expect(throws: RequestError.self) { try JSON(parsing: row.bytes) }
    #expect(error?.code == .badJSON)
    #expect(error?.message.contains(row.message) == true, "\(error?.message ?? "")")
  }

  @Test func writesCompactly() throws {
    let text = #"{"a":[1,-2,8e1,true,null,"q\"\\\n\r\t\u0001\u001f/ü"],"b":{},"c":[]}"#
    #expect(try JSON(parsing: Array(text.utf8)).description == text)
  }

  @Test func writesForPeople() throws {
    let value = JSON.object([
      ("a", .array([.integer(1), .object([("x", .string("}"))])])), ("b", .object([])), ("c", .array([])),
    ])
    #expect(
      value.pretty() == """
        {
          "a": [
            1,
            {
              "x": "}"
            }
          ],
          "b": {},
          "c": []
        }
        """)
    #expect(value.pretty(indent: 4).hasPrefix("{\n    \"a\": [\n        1,"))
  }

  @Test func subscriptFindsMembers() throws {
    let value = try JSON(parsing: Array(#"{"a":1}"#.utf8))
    #expect(value["a"] == .integer(1))
    #expect(value["b"] == nil)
    #expect(JSON.null["a"] == nil)
  }

  /// Whatever the bytes, the parser returns; what it accepts survives being written and parsed again.
  @Test func survivesNoise() throws {
    let seed = Effort.seed()
    var random = SeededGenerator(seed: seed)
    let alphabet = Array(#"{}[]",:\u0123456789eE+-.truefalsn "#.utf8) + [0x00, 0x0a, 0x7f, 0xc3, 0xbc, 0xed, 0xff]
    let start = Array(#"{"id":7,"a":[1,-2.5e3,"xü\ud83d\ude00\n",{"b":null}],"c":true}"#.utf8)
    var accepted = 0
    for _ in 0..<20_000 {
      var bytes = start
      for _ in 0..<Int.random(in: 0...4, using: &random) {
        let index = Int.random(in: 0..<bytes.count, using: &random)
        let byte = alphabet[Int.random(in: 0..<alphabet.count, using: &random)]
        switch Int.random(in: 0..<3, using: &random) {
        case 0: bytes[index] = byte
        case 1: bytes.insert(byte, at: index)
        default: bytes.remove(at: index)
        }
      }
      do throws(RequestError) {
        let value = try JSON(parsing: bytes)
        accepted += 1
        #expect(try JSON(parsing: Array(value.description.utf8)) == value, "seed \(seed): \(bytes)")
        #expect(try JSON(parsing: Array(value.pretty().utf8)) == value, "seed \(seed): \(bytes)")
      } catch {
        #expect(error.code == .badJSON, "seed \(seed): \(bytes)")
      }
    }
    #expect(accepted > 1000 && accepted < 19_000, "seed \(seed)")
  }
}

private func nested(_ depth: Int) -> JSON { depth == 1 ? .array([]) : .array([nested(depth - 1)]) }
