import Testing

@testable import Runtimes

@Suite struct RuntimeSocketTests {
  @Test(arguments: [
    ("unix:///run/docker.sock", "docker", "/run/docker.sock"),
    ("unix:///run/podman/podman.sock", "podman", "/run/podman/podman.sock"),
    ("unix:///run/user/1000/docker", "docker", "/run/user/1000/docker"),
    ("two=unix:///run/docker.sock", "two", "/run/docker.sock"),
    ("unix:///run/a=b/docker.sock", "docker", "/run/a=b/docker.sock"),
  ])
  func named(_ text: String, _ name: String, _ path: String) throws {
    let socket = try RuntimeSocket(parsing: text)
    #expect((socket.name, socket.path) == (name, path))
    #expect(try RuntimeSocket(parsing: socket.description) == socket)
  }

  @Test(arguments: [
    "", "/run/docker.sock", "tcp://127.0.0.1:2375", "unix://run/docker.sock", "unix://", "=unix:///run/docker.sock",
    "a b=unix:///run/docker.sock", "unix:///run/.sock", "unix:///\(String(repeating: "x", count: 107))",
  ])
  func refused(_ text: String) {
    #expect(throws: RuntimeSocketError.self) { try RuntimeSocket(parsing: text) }
  }

  @Test func twoOfOneNameAreRefused() throws {
    #expect(
      try RuntimeSocket.list(parsing: ["unix:///a/docker.sock", "b=unix:///b/docker.sock"]).map(\.name) == [
        "docker", "b",
      ])
    let error = #expect(throws: RuntimeSocketError.self) {
      try RuntimeSocket.list(parsing: ["unix:///a/docker.sock", "unix:///b/docker.sock"])
    }
    #expect(error?.description.contains("/a/docker.sock and /b/docker.sock are both called docker") == true)
  }
}
