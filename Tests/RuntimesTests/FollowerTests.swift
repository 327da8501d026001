import Feed
import Logging
import NIOCore
import NIOPosix
import PortMaps
import Synchronization
import TestSupport
import Testing

@testable import Runtimes

/// A follower between a scripted daemon and the agent's server, on real sockets.
@Suite(.timeLimit(.minutes(1))) struct FollowerTests {
  @Test func followsBeforeItReads() async throws {
    let scene = try await Scene { $0.containers["c1"] = ScriptedDaemon.container("c1", hostPort: 8080) }
    try await scene.expect(["snapshot.begin", "network.create n1", "container.start c1 8080", "snapshot.end"])
    let requests = try await scene.daemon { $0.requests }
    #expect(requests == ["/version", "/events", "/networks", "/containers/json", "/containers/c1/json"])
    try await scene.until { $0.isConnected && $0.runtime == "docker 20.10.24" }
  }

  @Test func eventsBecomeChanges() async throws {
    let scene = try await Scene()
    try await scene.expectEmptySnapshot()
    try await scene.daemon {
      $0.containers["c1"] = ScriptedDaemon.container("c1", hostPort: 8080)
      $0.say(event: ScriptedDaemon.event("start", "c1"))
    }
    try await scene.expect(["container.start c1 8080"])
    try await scene.until { $0.startToLive != nil }
    try await scene.daemon {
      $0.containers["c1"] = nil
      $0.say(event: ScriptedDaemon.event("die", "c1"))
      $0.say(event: ScriptedDaemon.event("destroy", "c1"))
    }
    try await scene.expect(["container.stop c1"])
    try await scene.until { $0.events == 3 && $0.lag != nil }
  }

  @Test(arguments: [Int64.min, -1, .max]) func noTimeOfAnEventIsTooMuch(time: Int64) async throws {
    let scene = try await Scene()
    try await scene.expectEmptySnapshot()
    try await scene.daemon {
      $0.containers["c1"] = ScriptedDaemon.container("c1", hostPort: 8080)
      $0.say(event: #"{"Type":"container","Action":"start","Actor":{"ID":"c1"},"timeNano":\#(time)}"#)
    }
    try await scene.expect(["container.start c1 8080"])
    try await scene.until { $0.startToLive != nil }
  }

  /// An event that comes in pieces, and several at once.
  @Test func linesAreFoundInChunks() async throws {
    let scene = try await Scene()
    try await scene.expectEmptySnapshot()
    let events = ["c1", "c2"].map { ScriptedDaemon.event("start", $0) + "\n" }.joined()
    let split = events.utf8.count / 3
    try await scene.daemon { daemon in
      for id in ["c1", "c2"] { daemon.containers[id] = ScriptedDaemon.container(id, hostPort: 8080) }
      daemon.say(String(events.prefix(split)))
      daemon.say(String(events.dropFirst(split)))
    }
    try await scene.expect(["container.start c1 8080", "container.start c2 8080"])
  }

  /// Started between the daemon's list and the end of the snapshot.
  @Test func noGapBetweenTheListAndTheEvents() async throws {
    let scene = try await Scene { daemon in
      daemon.onRequest = { [unowned daemon] target in
        guard target == "/containers/json" else { return }
        daemon.onRequest = { _ in }
        daemon.say(event: ScriptedDaemon.event("start", "late"))
        daemon.faults[target] = [.bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")]
        daemon.containers["late"] = ScriptedDaemon.container("late", hostPort: 8080)
      }
    }
    let lines = try await scene.lines(through: "container.start late 8080")
    #expect(lines.first == "snapshot.begin")
  }

  /// It stopped after the daemon had made up its answer.
  @Test func anAnswerOlderThanAnEventIsAskedForAgain() async throws {
    let scene = try await Scene()
    try await scene.expectEmptySnapshot()
    try await scene.daemon { daemon in
      daemon.containers["c1"] = ScriptedDaemon.container("c1", hostPort: 8080)
      daemon.onRequest = { [unowned daemon] target in
        guard target == "/containers/c1/json" else { return }
        daemon.onRequest = { _ in }
        daemon.say(event: ScriptedDaemon.event("die", "c1"))
        let old = ScriptedDaemon.container("c1", hostPort: 8080)
        // The answer leaves on another connection than the event before it; only the second look can be the newer one.
        daemon.faults[target] = [.bytes("HTTP/1.1 200 OK\r\nContent-Length: \(old.utf8.count)\r\n\r\n\(old)")]
        daemon.containers["c1"] = nil
        daemon.containers["c2"] = ScriptedDaemon.container("c2", hostPort: 8082)
        daemon.say(event: ScriptedDaemon.event("start", "c2"))
      }
      daemon.say(event: ScriptedDaemon.event("start", "c1"))
    }
    let lines = try await scene.lines(through: "container.start c2 8082")
    let starts = lines.filter { $0.hasPrefix("container.start c1") }.count
    let stops = lines.filter { $0.hasPrefix("container.stop c1") }.count
    #expect(starts == stops, "\(lines)")
  }

  @Test func aDaemonThatRestartsIsFollowedAgain() async throws {
    let scene = try await Scene { $0.containers["c1"] = ScriptedDaemon.container("c1", hostPort: 8080) }
    _ = try await scene.lines(through: "snapshot.end")
    try await scene.daemonFuture { $0.die() }
    try await scene.until { !$0.isConnected && $0.problem != nil }
    try await scene.daemon {
      $0.containers = ["c2": ScriptedDaemon.container("c2", hostPort: 8082)]
    }
    try await scene.daemonFuture { $0.listen() }
    try await scene.expect(["snapshot.begin", "network.create n1", "container.start c2 8082", "snapshot.end"])
    try await scene.until { $0.isConnected && $0.problem == nil }
  }

  @Test(arguments: [
    "", "5\r\n{\"Typ", "zz\r\n", "2\r\n{}\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n",
  ])
  func aStreamThatBreaksLeadsToASnapshot(_ end: String) async throws {
    let scene = try await Scene()
    try await scene.expectEmptySnapshot()
    try await scene.daemon { daemon in
      daemon.write(end)
      daemon.endStreams()
    }
    try await scene.expectEmptySnapshot()
  }

  @Test func aLineThatIsNoEventLeadsToASnapshot() async throws {
    let scene = try await Scene()
    try await scene.expectEmptySnapshot()
    try await scene.daemon { $0.say(event: "{\"Type\":7}") }
    try await scene.expectEmptySnapshot()
    #expect(try await scene.daemon { $0.streams.count } == 1, "the stream goes on")
  }

  @Test func aLineWithoutEndIsNotCollected() async throws {
    let scene = try await Scene()
    try await scene.expectEmptySnapshot()
    let megabyte = String(repeating: "x", count: 1 << 20)
    try await scene.daemon { daemon in for _ in 0...(HTTPClient.lineLimit >> 20) { daemon.say(megabyte) } }
    try await scene.expectEmptySnapshot()
  }

  @Test(arguments: ["/version", "/events", "/networks", "/containers/json"])
  func aDaemonThatFailsIsAskedAgain(_ target: String) async throws {
    let faults: [ScriptedDaemon.Fault] = [
      .status(500), .bytes(""), .bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), .bytes("nonsense\r\n\r\n"),
    ]
    let scene = try await Scene { $0.faults[target] = faults }
    var lines = try await scene.lines(through: "snapshot.end")
    #expect(Array(lines.suffix(3)) == ["snapshot.begin", "network.create n1", "snapshot.end"])
    lines.removeAll { ["snapshot.begin", "network.create n1"].contains($0) }
    #expect(lines == ["snapshot.end"])
  }

  /// 500 for one container: the others are announced, nothing is pruned, and a later snapshot is whole.
  @Test func aContainerThatCannotBeReadIsNotGone() async throws {
    let scene = try await Scene { daemon in
      for id in ["c1", "c2"] { daemon.containers[id] = ScriptedDaemon.container(id, hostPort: 8080) }
      daemon.faults["/containers/c1/json"] = [.status(500)]
    }
    try await scene.expect([
      "snapshot.begin", "network.create n1", "container.start c2 8080",
      "snapshot.begin", "network.create n1", "container.start c1 8080", "container.start c2 8080", "snapshot.end",
    ])
  }

  @Test func aNetworkThatCannotBeReadIsNotGone() async throws {
    let scene = try await Scene { $0.networks["n2"] = #"{"Id":"n2","Name":7}"# }
    try await scene.expect(["snapshot.begin", "network.create n1"])
    try await scene.daemon { $0.networks["n2"] = nil }
    try await scene.expectEmptySnapshot()
  }

  @Test func whatTheAgentRefusesIsTriedAgain() async throws {
    let scene = try await Scene(refusing: ["container.start c1 8080"]) {
      $0.containers["c1"] = ScriptedDaemon.container("c1", hostPort: 8080)
    }
    let whole = ["snapshot.begin", "network.create n1", "container.start c1 8080", "snapshot.end"]
    try await scene.expect(whole + whole)
    try await scene.until { $0.problem == nil }
  }

  @Test func whatTheAgentRefusesIsSaid() async throws {
    let always = [String](repeating: "container.start c1 8080", count: 100)
    let scene = try await Scene(refusing: always) {
      $0.containers["c1"] = ScriptedDaemon.container("c1", hostPort: 8080)
    }
    try await scene.until { $0.problem == "port-already-allocated: as scripted" }
  }

  /// The daemon gets rid of its events however little the agent takes.
  @Test func aSlowAgentDoesNotSlowTheDaemon() async throws {
    let scene = try await Scene(agent: .deaf) { daemon in
      daemon.containers["c1"] = ScriptedDaemon.container("c1", hostPort: 8080)
    }
    try await scene.until { $0.isConnected }
    // More than any socket buffers.
    let events = String(repeating: ScriptedDaemon.event("start", "c1") + "\n", count: 100)
    for _ in 0..<1000 { try await scene.daemonFuture { $0.say(events) } }
    try await scene.until { $0.events == 100_000 }
  }

  @Test func anAnswerThatNeverComes() async throws {
    let scene = try await Scene { $0.faults["/late"] = [.silence] }
    let client = HTTPClient(path: scene.path, loop: scene.loop, patience: .milliseconds(20))
    await #expect(throws: HTTPError.self) { try await client.get("/late").get() }
    #expect(try await client.get("/version").get().isEmpty == false)
  }

  @Test func anAnswerIsBounded() async throws {
    let scene = try await Scene {
      $0.faults["/giant"] = [
        .bytes("HTTP/1.1 200 OK\r\n\r\n" + String(repeating: " ", count: HTTPClient.answerLimit + 1))
      ]
    }
    let client = HTTPClient(path: scene.path, loop: scene.loop)
    await #expect { try await client.get("/giant").get() } throws: { "\($0)".contains("longer than") }
  }
}
