import Agent
import Feed
import Glibc
import PortMaps
import Storage
import TestSupport
import Testing

@testable import pmagent

/// What works while the agent is down, on a real database.
@Suite struct ReadingTests {
  private let directory: TemporaryDirectory
  private var database: String { directory.path + "/state.db" }
  private var configuration: String { directory.path + "/pmagent.toml" }

  init() throws {
    directory = try TemporaryDirectory()
    try write(
      "socket = \"\(directory.path)/agent.sock\"\ndatabase = \"\(directory.path)/state.db\"\n",
      to: directory.path + "/pmagent.toml")
  }

  private func store() throws -> Store { try Store.open(at: database, access: .readWrite) }

  private func record(_ store: Store) throws {
    try store.record(
      Network(source: "default", id: "n1", name: "mynet", bridge: "br-mynet", subnets: ["172.18.0.0/16"]))
    _ = try store.record(
      ContainerRecord(
        row: 0,
        container: Container(
          source: "default", id: "4c01", name: "web",
          endpoints: [Endpoint(network: "n1", ipv4: "172.18.0.2")], publish: ["8080:80"]),
        bindings: [
          Binding(
            network: "n1", mode: .nat, transport: .tcp, hostAddress: "0.0.0.0", hostPorts: PortRange(8080),
            containerAddress: "172.18.0.2", containerPorts: PortRange(80), request: 0)
        ], warnings: []))
  }

  private static let table = """
    CONTAINER  NETWORK  PORTS                 STATE
    web        mynet    0.0.0.0:8080->80/tcp  live

    """

  @Test func theDatabaseAnswersForAnAgentThatIsDown() throws {
    try record(store())
    let run = { (arguments: [String]) in try pmagent(arguments, configuration: configuration) }
    let note =
      "pmagent: there is no socket \(directory.path)/agent.sock: the agent is not running; showing the database \(database)\n"
    #expect(try run([]) == Outcome(status: .ok, output: Self.table, errors: note))
    #expect(try run(["list", "-q"]) == Outcome(status: .ok, output: "4c01\n", errors: note))
    #expect(try run(["port", "we", "80"]) == Outcome(status: .ok, output: "0.0.0.0:8080\n", errors: note))
    #expect(
      try run(["networks"])
        == Outcome(
          status: .ok,
          output: """
            NETWORK  BRIDGE    SUBNET         MODE  BIND     CONTAINERS
            mynet    br-mynet  172.18.0.0/16  nat   0.0.0.0  1

            """, errors: note))
    let inspection = try run(["inspect", "web"])
    #expect(inspection.status == .ok)
    #expect(try JSON(parsing: Array(inspection.output.utf8)).elements.first?["Name"] == "/web")
    let unknown = try run(["port", "x"])
    #expect(
      unknown
        == Outcome(
          status: .failed, output: "", errors: note + "pmagent: no container has the id, name or prefix \"x\"\n"))
    #expect(try run(["status"]).status == .unreachable)
    #expect(try run(["watch"]).status == .unreachable)
  }

  /// The database of the configuration is perhaps another agent's.
  @Test(arguments: [["ls"], ["port", "web"], ["inspect", "web"], ["networks"]])
  func noDatabaseAnswersForASocketThatWasNamed(_ arguments: [String]) throws {
    try record(store())
    let socket = directory.path + "/other.sock"
    #expect(
      try pmagent(arguments + ["--socket", socket], configuration: configuration)
        == Outcome(
          status: .unreachable, output: "", errors: "pmagent: there is no socket \(socket); is the agent running?\n"))
  }

  @Test(arguments: [["ls"], ["port", "web"], ["inspect", "web"], ["networks"], ["status"], ["reconcile"]])
  func anAgentThatHangsIsNotWaitedForForever(_ arguments: [String]) throws {
    let listener = try Descriptor(socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0), "socket")
    let path = directory.path + "/agent.sock"
    guard withUnixAddress(path, { bind(listener.number, $0, $1) }) == 0, listen(listener.number, 1) == 0 else {
      throw SystemError("listen on \(path)")
    }
    let outcome = try AgentConnection.$limit.withValue(.milliseconds(50)) {
      try pmagent(arguments, configuration: configuration)
    }
    #expect(outcome.status == .unreachable)
    #expect(outcome.errors.hasPrefix("pmagent: process \(getpid()) does not answer on \(path); "), "\(outcome)")
  }

  @Test func aDatabaseIsReadWithoutTheAgent() throws {
    try record(store())
    #expect(try pmagent(["--database", database]) == Outcome(status: .ok, output: Self.table, errors: ""))
    let ruleset = try pmagent(["ruleset", "--database", database])
    #expect(ruleset.status == .ok)
    #expect(ruleset.output.contains("8080"))
    #expect(try pmagent(["ls", "--database", database, "--socket", "/s"]).status == .usage)
    #expect(try pmagent(["ls", "--database", database + "x"]).status == .failed)
  }

  @Test(arguments: [["--wide"], ["--json"], ["--port", "8080"], ["--protocol", "tcp", "--network", "mynet"]])
  func theAgentAndItsDatabaseAreShownAlike(_ arguments: [String]) throws {
    try record(store())
    let state = try StoredState.open(Configuration.load(configuration, mustExist: true))
    let list = String(decoding: Answer(.mappings(try state.mappings(MappingFilter()))).line, as: UTF8.self)
    let inspection = String(decoding: Answer(.inspect(try state.inspect("web"))).line, as: UTF8.self)
    let agent = try CannedAgent { body in
      if case .query(.inspect) = body { .line(inspection) } else { .line(list) }
    }
    let live = try pmagent(["ls"] + arguments + ["--socket", agent.socket])
    #expect(live.status == .ok)
    #expect(try pmagent(["ls"] + arguments + ["--database", database]) == live)
  }

  @Test func filtersReachTheAgent() throws {
    let agent = try CannedAgent { body in
      body
        == .query(
          .list(MappingFilter(container: "web", network: "mynet", hostPort: 8080, transport: .udp)))
        ? .line(#"{"ok":true,"extra":["}"],"mappings":[1,2]}"#) : .last("")
    }
    let outcome = try pmagent([
      "ls", "--json", "--container", "web", "--network", "mynet", "--port", "8080", "--protocol", "UDP", "--socket",
      agent.socket,
    ])
    #expect(outcome == Outcome(status: .ok, output: "[1,2]\n", errors: ""))
  }

  @Test func warningsAreShownWide() throws {
    let agent = try CannedAgent { body in
      switch body {
      case .query(.inspect(container: "4c01")):
        .line(#"{"ok":true,"warnings":[{"code":"port-not-held","message":"limit reached"}]}"#)
      case .query(.inspect): .line(#"{"ok":false,"error":{"code":"unknown-container","message":""}}"#)
      default:
        .line(
          #"{"ok":true,"mappings":["#
            + [("4c01", 8080), ("gone", 8081)].map { id, port in
              #"{"container":"\#(id)","name":"web","network":"n","family":"ipv4","protocol":"tcp","mode":"nat","#
                + #""host_ip":"0.0.0.0","host_port":\#(port),"container_ip":"172.18.0.2","container_port":80,"#
                + #""state":"pending","reason":"no such address"}"#
            }.joined(separator: ",") + "]}")
      }
    }
    #expect(
      try pmagent(["ls", "--wide", "--socket", agent.socket]).output == """
        CONTAINER  ID    NETWORK  MODE  PORTS                 ADDRESS     STATE    REASON
        web        4c01  n        nat   0.0.0.0:8080->80/tcp  172.18.0.2  pending  no such address
        web        gone  n        nat   0.0.0.0:8081->80/tcp  172.18.0.2  pending  no such address
        warning: web: port-not-held: limit reached

        """)
  }

  @Test func teardownNamesTheAgentThatRuns() throws {
    let store = try store()
    defer { withExtendedLifetime(store) {} }
    let outcome = try pmagent(["teardown"], configuration: configuration)
    #expect(outcome.status == .failed)
    #expect(outcome.errors.contains("in use by another agent"))
  }

}
