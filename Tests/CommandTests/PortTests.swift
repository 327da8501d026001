import Feed
import PortMaps
import Testing

@testable import pmagent

struct PortCase: CustomTestStringConvertible, Sendable {
  let testDescription: String
  let ports: String
  let only: ContainerPort?
  let lines: [String]

  init(_ name: String, _ ports: String, only: ContainerPort? = nil, _ lines: [String]) {
    (testDescription, self.ports, self.only, self.lines) = (name, ports, only, lines)
  }
}

@Suite struct PortTests {
  static let both = #"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}]}"#

  @Test(arguments: [
    PortCase("both families", both, ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"]),
    PortCase("one port", both, only: ContainerPort(80, .tcp), ["0.0.0.0:8080", "[::]:8080"]),
    PortCase("another protocol", both, only: ContainerPort(80, .udp), []),
    PortCase("exposed only", #"{"9000/tcp":null}"#, []),
    PortCase(
      "routed: no host port", #"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":""},{"HostIp":"::","HostPort":""}]}"#,
      ["80/tcp -> 0.0.0.0:", "80/tcp -> [::]:"]),
    PortCase(
      "ports as numbers, then protocols as text",
      #"""
      {"1000/tcp":[{"HostIp":"0.0.0.0","HostPort":"1"}],"53/udp":[{"HostIp":"0.0.0.0","HostPort":"2"}],
       "53/tcp":[{"HostIp":"0.0.0.0","HostPort":"3"}],"53/sctp":[{"HostIp":"0.0.0.0","HostPort":"4"}]}
      """#,
      [
        "53/sctp -> 0.0.0.0:4", "53/tcp -> 0.0.0.0:3", "53/udp -> 0.0.0.0:2", "1000/tcp -> 0.0.0.0:1",
      ]),
    PortCase(
      "addresses and host ports as numbers",
      #"""
      {"80/tcp":[{"HostIp":"192.0.2.10","HostPort":"80"},{"HostIp":"192.0.2.9","HostPort":"8080"},
                 {"HostIp":"192.0.2.9","HostPort":"999"}]}
      """#,
      ["80/tcp -> 192.0.2.9:999", "80/tcp -> 192.0.2.9:8080", "80/tcp -> 192.0.2.10:80"]),
  ])
  func lines(_ row: PortCase) throws {
    #expect(try PMAgent.Port.lines(JSON(parsing: Array(row.ports.utf8)), only: row.only) == row.lines)
  }

  @Test(arguments: [
    ("2", "10"), ("a2", "a10"), ("1a", "aa"), ("a", "b"), ("a", "ab"), ("1.2", "1.10"), ("", "a"), ("9:", "9:1"),
  ])
  func naturalOrder(_ first: String, _ second: String) {
    #expect(naturallyPrecedes(first, second))
    #expect(!naturallyPrecedes(second, first))
    #expect(!naturallyPrecedes(first, first))
  }

  @Test func ofTheAgent() throws {
    let agent = try CannedAgent { body in
      body == .query(.inspect(container: "web"))
        ? .line(#"{"ok":true,"ports":\#(Self.both)}"#)
        : .line(#"{"ok":false,"error":{"code":"unknown-container","message":"no container \"x\""}}"#)
    }
    let run = { (arguments: [String]) in try pmagent(["port"] + arguments + ["--socket", agent.socket]) }
    #expect(
      try run(["web"])
        == Outcome(status: .ok, output: "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n", errors: ""))
    #expect(try run(["web", "80"]) == Outcome(status: .ok, output: "0.0.0.0:8080\n[::]:8080\n", errors: ""))
    #expect(
      try run(["web", "80/udp"])
        == Outcome(status: .failed, output: "", errors: "pmagent: no public port '80/udp' published for web\n"))
    #expect(try run(["x"]) == Outcome(status: .failed, output: "", errors: "pmagent: no container \"x\"\n"))
    for port in ["0", "65536", "80/icmp", "/tcp", "80/", "http"] { #expect(try run(["web", port]).status == .usage) }
  }
}
