import Feed
import Glibc
import PortMaps
import TestSupport
import Testing

/// Clients that misbehave cost nobody else anything.
@Suite(.timeLimit(.minutes(2))) struct BadClientTests {
  /// A connection on which anything can be sent.
  private final class Raw {
    private let socket: Descriptor

    init(_ agent: AgentProgram, isBlocking: Bool = true) throws {
      let flags = isBlocking ? SOCK_CLOEXEC.rawValue : SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
      socket = try Descriptor(Glibc.socket(AF_UNIX, CInt(SOCK_STREAM.rawValue | flags), 0), "socket")
      guard withUnixAddress(agent.socket, { connect(socket.number, $0, $1) }) == 0 else { throw SystemError("connect") }
    }

    /// What send(2) returns.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Int { Glibc.send(socket.number, bytes, bytes.count, CInt(MSG_NOSIGNAL)) }
    @discardableResult
    func send(_ text: String) -> Int { send(Array(text.utf8)) }

    /// Until the agent closes the connection, or `lines` have come.
    func receive(lines: Int = .max) throws -> [JSON] {
      var (text, chunk) = ([UInt8](), [UInt8](repeating: 0, count: 65536))
      while text.count(where: { $0 == 0x0a }) < lines {
        let count = recv(socket.number, &chunk, chunk.count, 0)
        guard count > 0 else { break }
        text += chunk[..<count]
      }
      return try text.split(separator: 0x0a).map { try JSON(parsing: Array($0)) }
    }
  }

  private static let start =
    #"{"event":"container.start","container":{"id":"bad","networks":[{"network":"web-net","#
    + #""ipv4":"172.18.0.9"}],"publish":["8090:80"]}}"#

  /// An agent with something to tell.
  private func running() async throws -> AgentProgram {
    let namespace = try NetworkNamespace()
    let agent = try AgentProgram(in: namespace)
    try agent.create(.web)
    for index in 1...50 {
      try agent.succeed(
        #"{"event":"container.start","container":{"id":"c\#(index)","networks":[{"network":"web-net","#
          + #""ipv4":"172.18.1.\#(index)"}],"publish":["\#(8000 + index):80"]}}"#)
    }
    return agent
  }

  /// Runs `body`, with another client being served all the while, and compares what is stored and installed.
  private func unharmed(_ agent: AgentProgram, _ body: (() throws -> Void) throws -> Void) async throws {
    let before = try await agent.state()
    try body { try agent.succeed(#"{"query":"hello"}"#) }
    try agent.succeed(#"{"query":"hello"}"#)
    let after = try await agent.state()
    #expect(after.database == before.database && after.ruleset == before.ruleset)
    #expect(after.generation == before.generation)
    #expect(try agent.succeed(#"{"query":"status"}"#)["held_ports"] == .integer(50))
    // The ports a bad client mentioned are free.
    try agent.succeed(Self.start)
  }

  @Test func oneThatVanishesInTheMiddleOfALine() async throws {
    let agent = try await running()
    try await unharmed(agent) { serve in
      for length in stride(from: 1, to: Self.start.utf8.count, by: 7) {
        try Raw(agent).send(String(Self.start.prefix(length)))
      }
      // Not even a whole line counts without its LF.
      try Raw(agent).send(Self.start)
      try serve()
    }
  }

  @Test func oneThatNeverReads() async throws {
    let agent = try await running()
    try await unharmed(agent) { serve in
      let questions = Array(String(repeating: #"{"query":"list"}"# + "\n", count: 10_000).utf8)
      for _ in 0..<2 {
        let client = try Raw(agent, isBlocking: false)
        // Until neither the agent nor the kernel takes any more.
        while client.send(questions) > 0 { try serve() }
        #expect(errno == EAGAIN)
        try serve()
      }
      // They are gone, and what they have asked and not heard is nobody's business any more.
      try serve()
    }
  }

  @Test func oneThatSendsByteByByte() async throws {
    let agent = try await running()
    try await unharmed(agent) { serve in
      let client = try Raw(agent)
      for (index, byte) in (#"{"id":"slow","query":"hello"}"# + "\n").utf8.enumerated() {
        client.send([byte])
        if index.isMultiple(of: 5) { try serve() }
      }
      let reply = try client.receive(lines: 1)
      #expect(reply.first?["id"] == .string("slow") && reply.first?["ok"] == .bool(true))
    }
  }

  @Test func oneThatSendsAnEndlessLine() async throws {
    let agent = try await running()
    try await unharmed(agent) { serve in
      let client = try Raw(agent)
      client.send(#"{"event":""#)
      let chunk = [UInt8](repeating: UInt8(ascii: "x"), count: 64 << 10)
      // Ends by itself: the agent answers after 1 MiB and closes.
      while client.send(chunk) > 0 { try serve() }
      let replies = try client.receive()
      #expect(replies.map(\.errorCode) == ["line-too-long"])
    }
  }

  @Test(arguments: seeds(3))
  func oneThatSendsGarbage(seed: UInt64) async throws {
    let agent = try await running()
    try await unharmed(agent) { serve in
      var random = SeededGenerator(seed: seed)
      let client = try Raw(agent)
      for _ in 0..<200 {
        // A byte that no JSON text begins with, so that every line is refused; LF would end it.
        let length = Int.random(in: 0..<300, using: &random)
        let line = [0xff] + (0..<length).map { _ in UInt8.random(in: 0x0b...0xff, using: &random) }
        client.send(line + [0x0a])
        #expect(try client.receive(lines: 1).map(\.errorCode) == ["bad-json"])
      }
      try serve()
      client.send(#"{"query":"hello"}"# + "\n")
      #expect(try client.receive(lines: 1).first?["ok"] == .bool(true), "the connection stays usable")
    }
  }
}
