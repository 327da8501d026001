import Feed
import PortMaps
import TestSupport
import Testing

/// The examples of Docs/protocol.md, sent to an agent in their order, and its lists of names.
@Suite struct ProtocolPageTests {
  private let page: Page
  init() throws { page = try Page("Docs/protocol.md") }

  private var examples: [String] {
    page.blocks.filter { $0.language == "wire" }.flatMap { page.lines[$0.range] }
  }

  private func start() async throws -> AgentProgram {
    let host = try NetworkNamespace()
    // Without a local address, a new namespace lets a socket be bound to any.
    try await host.command("ip", "link", "set", "lo", "up")
    try await host.command("ip", "link", "add", "br-mynet", "type", "bridge")
    return try AgentProgram(in: host)
  }

  @Test func theExamplesAreReal() async throws {
    let agent = try await start()
    var client = try FeedClient.connect(to: agent.socket)
    for line in examples {
      let text = String(line.dropFirst(2))
      if line.hasPrefix("> ") {
        try client.send(Array("\(text)\n".utf8))
      } else {
        let reply = String(decoding: try #require(try client.receiveLine()), as: UTF8.self)
        #expect(matches(reply, text), "\(reply)\nis not\n\(text)")
      }
    }
  }

  @Test(arguments: [("event", "unknown-event"), ("query", "unknown-query")])
  func everyRequestHasAnExampleAndARow(_ kind: String, _ code: String) async throws {
    let agent = try await start()
    let reply = try agent.send(#"{"\#(kind)":"?"}"#)
    #expect(reply.errorCode == code)
    guard case .string(let message)? = reply["error"]?["message"] else { throw Unexpected(reply: "\(reply)") }
    let names = message.split(separator: "there are ").last?.split(separator: ", ") ?? []
    #expect(names.count > 5)
    for name in names {
      #expect(examples.contains { $0.hasPrefix("> ") && $0.contains("\"\(kind)\":\"\(name)\"") }, "\(name)")
      #expect(page.prose.contains("`\(name)`"), "\(name)")
    }
  }

  /// The page says of a code that it is not sent yet if and only if no source uses it.
  @Test func whatIsNotSentYet() throws {
    let sources = try files(below: "Sources").filter { $0.hasSuffix(".swift") && !$0.hasSuffix("/Errors.swift") }
      .map { try read("\(projectDirectory)/\($0)") }
    let codes = ErrorCode.allCases.map { ("\($0)", $0.rawValue) } + Warning.Code.allCases.map { ("\($0)", $0.rawValue) }
    for (name, code) in codes {
      let isSent = sources.contains { $0.contains(".\(name)") }
      let row = page.lines.first { $0.hasPrefix("| `") && $0.contains("`\(code)`") } ?? ""
      #expect(row.contains("not sent yet") == !isSent, "\(code)")
    }
  }

  @Test(arguments: ErrorCode.allCases.map(\.rawValue) + Warning.Code.allCases.map(\.rawValue))
  func everyCodeIsExplained(_ code: String) {
    #expect(page.lines.contains { $0.hasPrefix("| `") && $0.contains("`\(code)`") })
  }
}

private struct Unexpected: Error { let reply: String }
