import Agent
import ArgumentParser
import Runtimes
import TestSupport
import Testing

@testable import pmagent

@Suite struct ConfigTests {
  private func check(_ text: String?) throws -> (outcome: Outcome, path: String) {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/pmagent.toml"
    if let text { try write(text, to: path) }
    return (try pmagent(["config", "check", path]), path)
  }

  @Test func usable() throws {
    let (outcome, path) = try check("hold_ports = \"all\"\n")
    #expect(outcome == Outcome(status: .ok, output: "\(path): ok\n", errors: ""))
  }

  @Test(arguments: ["hold_ports = \"some\"\n", "unknown = 1\n", "=", nil])
  func notUsable(_ text: String?) throws {
    let (outcome, path) = try check(text)
    #expect(outcome.status == .failed)
    #expect(outcome.output == "")
    #expect(outcome.errors.hasPrefix("pmagent: \(path): "))
  }

  @Test func nothingIsReadBehindANUL() throws {
    let (outcome, path) = try check("owner = true\n\0\nunknown = 1\n")
    #expect(outcome.status == .failed)
    #expect(outcome.errors.hasPrefix("pmagent: \(path): line 2: a NUL"), "\(outcome)")
  }

  @Test(arguments: [(107, CommandStatus.ok), (108, .failed)])
  func aSocketHasAShortPath(_ length: Int, _ status: CommandStatus) throws {
    let socket = "/" + String(repeating: "x", count: length - 1)
    let (outcome, path) = try check("socket = \"\(socket)\"\n")
    #expect(outcome.status == status)
    #expect(outcome.errors == "" || outcome.errors.hasPrefix("pmagent: \(path): key socket: \"\(socket)\" is longer"))
  }

  @Test func optionsWinOverTheFile() throws {
    let directory = try TemporaryDirectory()
    try write("socket = \"/file.sock\"\ndatabase = \"/file.db\"\n", to: directory.path + "/pmagent.toml")
    let file = ["--config", directory.path + "/pmagent.toml"]
    let fromFile = try PMAgent.Run.parse(file).configuration()
    #expect((fromFile.socket, fromFile.database, fromFile.ip) == ("/file.sock", "/file.db", nil))
    let options = try PMAgent.Run.parse(
      file + ["--socket", "/o.sock", "--database", "/o.db", "--ip", "192.0.2.1"]
    ).configuration()
    #expect((options.socket, options.database, options.ip) == ("/o.sock", "/o.db", "192.0.2.1"))
  }

  @Test func runtimesToFollow() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/pmagent.toml"
    try write("docker = [\"unix:///run/docker.sock\"]\n", to: path)
    let fromFile = try PMAgent.Run.parse(["--config", path]).configuration()
    #expect(fromFile.runtimes.map(\.description) == ["docker=unix:///run/docker.sock"])
    // They bind the ports they publish themselves, unless the administrator says otherwise.
    #expect(fromFile.holdPolicy(of: "docker") == .none)
    #expect(fromFile.holdPolicy(of: "default") == .auto)
    try write("docker = [\"unix:///run/docker.sock\"]\n[source.docker]\nhold_ports = \"all\"\n", to: path)
    #expect(try PMAgent.Run.parse(["--config", path]).configuration().holdPolicy(of: "docker") == .all)
    let options = try PMAgent.Run.parse(
      ["--config", path, "--docker", "unix:///a/podman.sock", "--docker", "two=unix:///b/podman.sock"]
    ).configuration()
    #expect(options.runtimes.map(\.name) == ["podman", "two"])
  }

  @Test(arguments: [
    "docker = \"unix:///run/docker.sock\"", "docker = [1]", "docker = [\"/run/docker.sock\"]",
    "docker = [\"unix:///a/docker.sock\", \"unix:///b/docker.sock\"]",
  ])
  func runtimesThatCannotBeFollowed(_ text: String) throws {
    let (outcome, path) = try check(text)
    #expect(outcome.status == .failed)
    #expect(outcome.errors.hasPrefix("pmagent: \(path): key docker: "))
  }

  @Test func whatRunRefuses() throws {
    #expect(try pmagent(["run", "--docker", "tcp://127.0.0.1:2375"]).status == .usage)
    #expect(try pmagent(["run", "--ip", "localhost"]).status == .usage)
    #expect(try pmagent(["run", "--log-level", "loud"]).status == .usage)
  }
}
