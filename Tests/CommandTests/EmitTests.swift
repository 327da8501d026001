import ArgumentParser
import Feed
import Glibc
import NIOCore
import NIOPosix
import TestSupport
import Testing

@testable import pmagent

struct LineCase: CustomTestStringConvertible, Sendable {
  let arguments: String
  let line: String
  init(_ arguments: String, _ line: String) { (self.arguments, self.line) = (arguments, line) }
  var testDescription: String { arguments }
}

@Suite struct EmitTests {
  static let lines = [
    LineCase("start web", #"{"event":"container.start","container":{"id":"web","name":"web"}}"#),
    LineCase(
      "start web --id 4c01 --generation 3 --source docker --network mynet --ipv4 172.18.0.2 --ipv6 2001:db8::2 "
        + "--gateway-priority -1 -p 8080:80 --publish [::]::81/udp --expose 9000/tcp --expose 90-91 -P",
      #"{"event":"container.start","source":"docker","container":{"id":"4c01","name":"web","generation":3,"#
        + #""networks":[{"network":"mynet","ipv4":"172.18.0.2","ipv6":"2001:db8::2","gateway_priority":-1}],"#
        + #""publish":["8080:80","[::]::81/udp"],"expose":["9000/tcp","90-91"],"publish_all":true}}"#),
    LineCase("stop web", #"{"event":"container.stop","container":"web"}"#),
    LineCase(
      "stop web --generation 0 --reset", #"{"event":"container.stop","container":"web","generation":0,"reset":true}"#),
    LineCase(
      "connect web mynet --ipv4 172.18.0.2",
      #"{"event":"container.connect","container":"web","endpoint":{"network":"mynet","ipv4":"172.18.0.2"}}"#),
    LineCase(
      "disconnect web mynet --source cni",
      #"{"event":"container.disconnect","source":"cni","container":"web","network":"mynet"}"#),
    LineCase(
      "publish web 8080:80 53/udp",
      #"{"event":"container.publish","container":"web","publish":["8080:80","53/udp"]}"#),
    LineCase("unpublish web 80", #"{"event":"container.unpublish","container":"web","publish":["80"]}"#),
    LineCase(
      "network-create mynet --id n1 --bridge br-mynet --subnet 172.18.0.0/16 --subnet 2001:db8::/64 --internal "
        + "-o com.docker.network.bridge.enable_icc=false --option a=b=c",
      #"{"event":"network.create","network":{"id":"n1","name":"mynet","bridge":"br-mynet","internal":true,"#
        + #""subnets":["172.18.0.0/16","2001:db8::/64"],"#
        + #""options":{"com.docker.network.bridge.enable_icc":"false","a":"b=c"}}}"#),
    LineCase(
      "network-create host --driver host",
      #"{"event":"network.create","network":{"id":"host","name":"host","driver":"host"}}"#),
    LineCase("network-remove mynet", #"{"event":"network.remove","network":"mynet"}"#),
  ]

  @Test(arguments: lines)
  func argumentsBecomeALine(_ row: LineCase) throws {
    let outcome = try pmagent(["emit"] + row.arguments.split(separator: " ").map(String.init) + ["--dry-run"])
    #expect(outcome == Outcome(status: .ok, output: row.line + "\n", errors: ""))
  }

  @Test func everySubcommandHasALine() {
    var commands: Set<String> = []
    for case let command as any EventCommand.Type in PMAgent.Emit.configuration.subcommands {
      commands.insert(command._commandName)
    }
    let covered = Self.lines.map { String($0.arguments.prefix { $0 != " " }) }
    #expect(Set(covered) == commands)
  }

  @Test(arguments: [
    LineCase("start web -p 80:", "publish \"80:\""),
    LineCase("start web --ipv4 172.18.0.2", "--network"),
    LineCase("start web --network mynet --ipv4 2001:db8::2", "not an IPv4 address"),
    LineCase("start _web", "\"_web\" is not 1-128"),
    LineCase("publish web 70000", "\"70000\" is not in 1-65535"),
    LineCase("network-create mynet --subnet 172.18.0.0/16", "the interface name is missing"),
    LineCase("network-create mynet --bridge br0 --subnet 172.18.0.0/16 -o icc", "option \"icc\" is not KEY=VALUE"),
    LineCase(
      "network-create mynet --bridge br0 --subnet 172.18.0.0/16 -o a=1 -o a=2", "key \"a\" appears twice"),
  ])
  func mistakesAreFoundBeforeTheAgentIsAsked(_ row: LineCase) throws {
    let outcome = try pmagent(["emit"] + row.arguments.split(separator: " ").map(String.init))
    #expect(outcome.status == .usage)
    #expect(outcome.errors.contains(row.line), "\(outcome.errors)")
  }

  private static func agent() throws -> CannedAgent {
    try CannedAgent { body in
      switch body {
      case .event(.containerStop(let id, _, _), _): .line(#"{"ok":true,"stopped":"\#(id)"}"#)
      case .event(.networkRemove, _): .line(#"{"ok":false,"error":{"code":"network-in-use","message":"used"}}"#)
      default: .last(#"{"ok":true,"last":true}"#)
      }
    }
  }

  @Test func anEventIsAnsweredOnStandardOutput() throws {
    let agent = try Self.agent()
    #expect(
      try pmagent(["emit", "stop", "web", "--socket", agent.socket])
        == Outcome(status: .ok, output: #"{"ok":true,"stopped":"web"}"# + "\n", errors: ""))
    #expect(
      try pmagent(["emit", "network-remove", "n", "--socket", agent.socket])
        == Outcome(
          status: .failed, output: #"{"ok":false,"error":{"code":"network-in-use","message":"used"}}"# + "\n",
          errors: ""))
  }

  @Test func linesOfStandardInputAreAnsweredInOrder() throws {
    let agent = try Self.agent()
    func stop(_ id: String) -> String { #"{"event":"container.stop","container":"\#(id)"}"# }
    // Blank lines have no reply; the last line has no LF.
    let input = "\n\(stop("a"))\n \t\r\n{\"event\":\"network.remove\",\"network\":\"n\"}\n\(stop("b"))"
    let outcome = try pmagent(["emit", "--socket", agent.socket], input: input)
    #expect(
      outcome
        == Outcome(
          status: .failed,
          output: """
            {"ok":true,"stopped":"a"}
            {"ok":false,"error":{"code":"network-in-use","message":"used"}}
            {"ok":true,"stopped":"b"}

            """, errors: ""))
  }

  @Test func manyLinesArePipelined() throws {
    let agent = try Self.agent()
    let count = 20_000
    let input = (0..<count).map { "{\"event\":\"container.stop\",\"container\":\"c\($0)\"}\n" }.joined()
    let outcome = try pmagent(["emit", "--socket", agent.socket], input: input)
    #expect(outcome.status == .ok)
    #expect(outcome.output == (0..<count).map { "{\"ok\":true,\"stopped\":\"c\($0)\"}\n" }.joined())
  }

  @Test func aPipeThatGrowsIsAnsweredAsItComes() throws {
    let agent = try Self.agent()
    var input = try Pipe()
    let output = try Pipe()
    let writer = try #require(output.writer)
    let (socket, console) = (
      agent.socket, Console(input: input.reader.number, output: writer.number, errors: writer.number)
    )
    let status = NIOSingletons.posixBlockingThreadPool.runIfActive(
      eventLoop: NIOSingletons.posixEventLoopGroup.any()
    ) { PMAgent.run(["emit", "--socket", socket], on: console) }
    for name in ["a", "b"] {
      try input.writeLine(#"{"event":"container.stop","container":"\#(name)"}"#)
      #expect(try output.readLine() == #"{"ok":true,"stopped":"\#(name)"}"#)
    }
    input.writer = nil
    #expect(try status.wait() == .ok)
  }

  @Test func repliesThatFillEveryBufferHoldNobodyUp() throws {
    let reply = #"{"ok":true,"mappings":[""# + String(repeating: "x", count: 1 << 18) + #""]}"#
    let agent = try CannedAgent { _ in .line(reply) }
    let lines = 100
    let outcome = try pmagent(
      ["emit", "--socket", agent.socket], input: String(repeating: "{\"query\":\"list\"}\n", count: lines))
    #expect(outcome.status == .ok)
    #expect(outcome.output.utf8.count == (reply.utf8.count + 1) * lines)
  }

  @Test func whatTheAgentSaidBeforeItClosedIsPrinted() throws {
    let agent = try Self.agent()
    let outcome = try pmagent(
      ["emit", "--socket", agent.socket], input: String(repeating: "{\"event\":\"snapshot.begin\"}\n", count: 3))
    #expect(outcome.status == .unreachable)
    #expect(outcome.output == #"{"ok":true,"last":true}"# + "\n")
    #expect(outcome.errors.contains("closed the connection"))
  }

  @Test func aLineWithoutEndIsNotReadIntoMemory() throws {
    let agent = try Self.agent()
    let outcome = try pmagent(["emit", "/dev/zero", "--socket", agent.socket])
    #expect(outcome.status == .failed)
    #expect(outcome.errors == "pmagent: /dev/zero: a line is longer than 1048576 bytes\n")
  }

  @Test func filesAreReadInTheirOrder() throws {
    let agent = try Self.agent()
    let directory = try TemporaryDirectory()
    try write(#"{"event":"container.stop","container":"a"}"#, to: directory.path + "/a")
    let outcome = try pmagent(
      ["emit", directory.path + "/a", "-", directory.path + "/b", "--socket", agent.socket],
      input: #"{"event":"container.stop","container":"b"}"#)
    #expect(outcome.status == .failed)
    #expect(outcome.output == "{\"ok\":true,\"stopped\":\"a\"}\n{\"ok\":true,\"stopped\":\"b\"}\n")
    #expect(outcome.errors == "pmagent: open \(directory.path)/b: No such file or directory\n")
  }
}

/// A pipe(7) that is read and written line by line.
private struct Pipe {
  let reader: Descriptor
  /// `nil` closes it.
  var writer: Descriptor?

  init() throws(SystemError) {
    var ends: [CInt] = [-1, -1]
    guard pipe(&ends) == 0 else { throw SystemError("pipe") }
    (reader, writer) = (try Descriptor(ends[0], "pipe"), try Descriptor(ends[1], "pipe"))
    // Programs that other tests start meanwhile must not keep it open.
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
  }

  func writeLine(_ line: String) throws(SystemError) {
    let bytes = Array("\(line)\n".utf8)
    guard Glibc.write(writer?.number ?? -1, bytes, bytes.count) == bytes.count else { throw SystemError("write") }
  }

  /// Waits for a whole line.
  func readLine() throws(SystemError) -> String {
    var line: [UInt8] = []
    while line.last != UInt8(ascii: "\n") {
      var byte: UInt8 = 0
      guard Glibc.read(reader.number, &byte, 1) == 1 else { throw SystemError("read") }
      line.append(byte)
    }
    return String(decoding: line.dropLast(), as: UTF8.self)
  }
}
