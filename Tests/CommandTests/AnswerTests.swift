import Feed
import Testing

@testable import pmagent

struct MemberCase: CustomTestStringConvertible, Sendable {
  let testDescription: String
  let line: String
  /// The text of member `x`; `nil` when there is none.
  let text: String?

  init(_ name: String, _ line: String, _ text: String?) { (testDescription, self.line, self.text) = (name, line, text) }
}

@Suite struct AnswerTests {
  @Test(arguments: [
    MemberCase("first", #"{"x":1,"y":2}"#, "1"),
    MemberCase("last", #"{"y":2,"x":[1,{"a":"b"}]}"#, #"[1,{"a":"b"}]"#),
    MemberCase("behind a member with braces in a string", #"{"y":"}]{,","x":true}"#, "true"),
    MemberCase("behind escaped quotes", #"{"y":"\",\"x\":0,","x":3}"#, "3"),
    MemberCase("behind an escaped backslash", #"{"y":"\\","x":3}"#, "3"),
    MemberCase("not the one further inside", #"{"y":{"x":1},"x":2}"#, "2"),
    MemberCase("only further inside", #"{"y":{"x":1}}"#, nil),
    MemberCase("a value that looks like the key", #"{"y":"x"}"#, nil),
    MemberCase("blanks", #"{ "x" : [ 1 ] , "y": 2 }"#, "[ 1 ] "),
    MemberCase("empty object", "{}", nil),
    MemberCase("no object", "[1]", nil),
    MemberCase("cut in a string", #"{"x":"abc"#, nil),
    MemberCase("cut in an escape", #"{"x":"abc\"#, nil),
    MemberCase("cut in a list", #"{"x":[1,2"#, nil),
    MemberCase("empty line", "", nil),
  ])
  func text(_ row: MemberCase) throws {
    let answer = Answer(line: Array(row.line.utf8))
    guard let text = row.text else {
      #expect(throws: UnknownAnswer(part: "x")) { try answer.text(of: "x") }
      return
    }
    #expect(String(decoding: try answer.text(of: "x"), as: UTF8.self) == text)
  }

  @Test func aRefusalKeepsCodesOfLaterVersions() {
    let answer = Answer(line: Array(#"{"ok":false,"error":{"code":"too-new","message":"no"}}"#.utf8))
    #expect(throws: RequestRefused(code: "too-new", message: "no")) { try answer.check() }
  }

  @Test(arguments: [
    #"{"ok":false}"#, #"{"ok":false,"error":{}}"#, #"{"error":{"code":"x","message":"y"}}"#, "null", "{",
  ])
  func whatIsNoReply(_ line: String) {
    #expect(throws: UnknownAnswer.self) { try Answer(line: Array(line.utf8)).check() }
  }

  @Test(arguments: [
    "container", "name", "network", "protocol", "mode", "host_ip", "host_port", "container_ip", "container_port",
    "state",
  ])
  func aMappingNeeds(_ field: String) throws {
    let text = #"""
      {"container":"c","name":"web","network":"n","family":"ipv4","protocol":"tcp","mode":"nat","host_ip":"0.0.0.0",
       "host_port":8080,"container_ip":"172.18.0.2","container_port":80,"state":"live"}
      """#
    let whole = try JSON(parsing: Array(text.utf8))
    #expect(try Mapping(whole).ports == "0.0.0.0:8080->80/tcp")
    let without = JSON.object(whole.members.filter { $0.key != field })
    #expect(throws: UnknownAnswer.self) { try Mapping(without) }
    let zero = JSON.object(whole.members.map { ($0.key, $0.key == field ? .integer(-1) : $0.value) })
    #expect(throws: UnknownAnswer.self) { try Mapping(zero) }
  }
}
