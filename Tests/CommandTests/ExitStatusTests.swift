import Agent
import Feed
import Glibc
import PortMaps
import TestSupport
import Testing

@testable import Netfilter
@testable import Storage
@testable import pmagent

struct StatusCase: CustomTestStringConvertible, Sendable {
  let testDescription: String
  let error: any Error
  let status: CommandStatus

  init(_ name: String, _ error: any Error, _ status: CommandStatus) {
    (testDescription, self.error, self.status) = (name, error, status)
  }
}

@Suite struct ExitStatusTests {
  private static func store(_ reason: StoreError.Reason) -> StoreError {
    StoreError(reason: reason, operation: "open", path: "/db", message: "", code: 0)
  }

  @Test(arguments: [
    StatusCase("no socket", FeedClientError.notThere(path: "/s"), .unreachable),
    StatusCase("nobody listens", FeedClientError.refused(path: "/s"), .unreachable),
    StatusCase("agent gone", FeedClientError.connectionLost(path: "/s"), .unreachable),
    StatusCase("agent hangs", FeedClientError.silent(path: "/s", pid: 1), .unreachable),
    StatusCase("agent gone meanwhile", AgentLeft(description: ""), .unreachable),
    StatusCase("socket's mode", FeedClientError.notPermitted(path: "/s"), .notPermitted),
    StatusCase("EPERM of connect", FeedClientError.system(operation: "c", path: "/s", errno: EPERM), .notPermitted),
    StatusCase("EAGAIN of connect", FeedClientError.system(operation: "c", path: "/s", errno: EAGAIN), .failed),
    StatusCase("database's mode", store(.notPermitted), .notPermitted),
    StatusCase("no database", store(.missing), .failed),
    StatusCase("another agent", store(.locked(pid: 1)), .failed),
    StatusCase("table of another", KernelError.notPermitted("owner"), .notPermitted),
    StatusCase("EPERM of a socket", KernelError.system(operation: "bind", errno: EPERM), .notPermitted),
    StatusCase("ENOMEM", KernelError.system(operation: "bind", errno: ENOMEM), .failed),
    StatusCase(
      "EPERM of a message", KernelError.refused(Refusal(operation: "add", elements: [], errno: EPERM)), .notPermitted),
    StatusCase(
      "EEXIST of a message", KernelError.refused(Refusal(operation: "add", elements: [], errno: EEXIST)), .failed),
    StatusCase("refused by the agent", RequestRefused(code: "not-permitted", message: ""), .notPermitted),
    StatusCase("another refusal", RequestRefused(code: "bad-json", message: ""), .failed),
  ])
  func ofAnError(_ row: StatusCase) { #expect(CommandStatus(of: row.error) == row.status) }

  @Test func ofTheProgram() async throws {
    let directory = try TemporaryDirectory()
    let socket = directory.path + "/agent.sock"
    let configuration = directory.path + "/pmagent.toml"
    try write("socket = \"\(socket)\"\ndatabase = \"\(directory.path)/state.db\"\n", to: configuration)

    let nothing = try await program("--config", configuration)
    #expect(nothing.code == 4)
    #expect(nothing.errors == "pmagent: there is no socket \(socket); is the agent running?\n")

    let version = try await program("--version")
    #expect(version.code == 0)
    #expect(version.output == "pmagent \(Version.current)\n")

    let usage = try await program("ls", "--prot")
    #expect(usage.code == 2)
    #expect(usage.errors.hasPrefix("pmagent: Unknown option '--prot'"))

    try write("sockets = \"x\"\n", to: configuration)
    for command in [["ls"], ["status"], ["run"], ["ruleset"]] {
      let bad = try await program(command[0], "--config", configuration)
      #expect(bad.code == 1)
      #expect(bad.errors.hasPrefix("pmagent: \(configuration): key sockets: unknown"))
    }
  }

  @Test func ofAnswers() async throws {
    let agent = try CannedAgent { body in
      switch body {
      case .query(.status):
        .line(#"{"ok":true,"in_sync":false,"degraded":[{"code":"not-in-sync","message":"run pmagent reconcile"}]}"#)
      case .query(.list): .line(#"{"ok":true,"mappings":[]}"#)
      case .query(.networks): .line(#"{"ok":true}"#)
      case .event(.reconcile, _): .line(#"{"ok":false,"error":{"code":"not-permitted","message":"no"}}"#)
      default: .last(#"{"ok":false,"error":{"code":"bad-request","message":"no"}}"#)
      }
    }
    #expect(try await program("status", "--socket", agent.socket).code == 3)
    #expect(try await program("ls", "--json", "--socket", agent.socket) == (0, "[]\n", ""))
    #expect(try await program("networks", "--socket", agent.socket).code == 1)
    #expect(try await program("reconcile", "--socket", agent.socket) == (5, "", "pmagent: no\n"))
    #expect(try await program("watch", "--socket", agent.socket) == (1, "", "pmagent: no\n"))
  }

  /// The first socket would become the standard output otherwise.
  @Test func aClosedStandardOutputIsTold() async throws {
    let agent = try CannedAgent { _ in .line(#"{"ok":true,"mappings":[]}"#) }
    let list = ["ls", "--json", "--config", "/dev/null", "--socket", agent.socket]
    #expect(
      try await shell(#""$@" >&-"#, list) == (1, "", "pmagent: write standard output: Bad file descriptor\n"))
    #expect(try await shell(#""$@" >&- 2>&-"#, list) == (1, "", ""))
    #expect(try await shell(#""$@" 2>&- <&-"#, list) == (0, "[]\n", ""))
    #expect(
      try await shell(#""$@" <&-"#, ["emit", "--config", "/dev/null", "--socket", agent.socket])
        == (1, "", "pmagent: read standard input: Bad file descriptor\n"))
  }

  @Test func theAgentOutlivesWhoeverReadsItsLog() async throws {
    let directory = try TemporaryDirectory()
    // A configuration that ends it, by which time it has said so to nobody.
    try write("=", to: directory.path + "/pmagent.toml")
    let pipe = #"mkfifo "$0/log"; exec 3<> "$0/log" 4> "$0/log" 3<&-; "$@" 2>&4"#
    #expect(
      try await shell(pipe, name: directory.path, ["run", "--config", directory.path + "/pmagent.toml"]) == (1, "", ""))
  }

  @Test func aFullDiskIsTold() throws {
    let full = try Descriptor(open("/dev/full", O_WRONLY), "open /dev/full")
    let directory = try TemporaryDirectory()
    try write("", to: directory.path + "/errors")
    let errors = try Descriptor(open(directory.path + "/errors", O_WRONLY), "open errors")
    let console = Console(input: 0, output: full.number, errors: errors.number)
    #expect(PMAgent.run(["help"], on: console) == .failed)
    #expect(PMAgent.run(["emit", "stop", "web", "--dry-run"], on: console) == .failed)
    let line = "pmagent: write standard output: No space left on device\n"
    #expect(try read(directory.path + "/errors") == line + line)
  }
}
