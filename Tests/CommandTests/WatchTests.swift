import Feed
import Testing

@testable import pmagent

@Suite struct StatusAndWatchTests {
  private static let mapping =
    #""container":"c","name":"web","network":"n","family":"ipv4","protocol":"tcp","mode":"nat","host_ip":"0.0.0.0","#
    + #""host_port":8080,"container_ip":"172.18.0.2","container_port":80,"state":"degraded","reason":"busy""#
  private static let lines = [
    #"{"change":"present",\#(mapping)}"#, #"{"change":"ready"}"#, #"{"change":"removed",\#(mapping)}"#,
  ]

  private func agent() throws -> CannedAgent { try CannedAgent { _ in .last(Self.lines.joined(separator: "\n")) } }

  @Test func changesForPeople() throws {
    let agent = try agent()
    let outcome = try pmagent(["watch", "--socket", agent.socket])
    #expect(
      outcome.output == """
        present web n 0.0.0.0:8080->80/tcp degraded: busy
        removed web n 0.0.0.0:8080->80/tcp degraded: busy

        """)
    #expect(outcome.status == .unreachable)
    #expect(outcome.errors.contains("the agent closed the connection on \(agent.socket): it has ended"))
  }

  @Test func changesForPrograms() throws {
    let agent = try agent()
    let outcome = try pmagent(["watch", "--json", "--socket", agent.socket])
    #expect(outcome.output == Self.lines.map { $0 + "\n" }.joined())
  }

  /// The second is carried out, and asks for the table to be taken back when nobody is there any more.
  @Test(arguments: [[], ["--", "true"]])
  func maintenanceIsEndedByTheAgent(_ command: [String]) throws {
    let agent = try CannedAgent { _ in .last(#"{"ok":true}"#) }
    let outcome = try pmagent(["maintenance", "--socket", agent.socket] + command)
    #expect(outcome.status == .unreachable)
    #expect(
      outcome.errors.hasPrefix("pmagent: the agent closed the connection on \(agent.socket), which ends maintenance: "),
      "\(outcome)")
  }

  @Test func status() throws {
    let line =
      #"{"ok":true,"in_sync":true,"mappings":2,"generation":null,"degraded":[{"code":"host-port-in-use","message":"m"}],"#
      + #""later_field":["x"]}"#
    let agent = try CannedAgent { _ in .line(line) }
    #expect(
      try pmagent(["status", "--socket", agent.socket])
        == Outcome(
          status: .ok,
          output: """
            in sync      yes
            mappings     2
            generation   unknown
            later field  ["x"]
            degraded     host-port-in-use: m

            """, errors: ""))
    #expect(
      try pmagent(["status", "--json", "--socket", agent.socket])
        == Outcome(status: .ok, output: line + "\n", errors: ""))
  }
}
