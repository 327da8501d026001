import Feed
import PortMaps
import TestSupport
import Testing

@testable import Runtimes

/// Real runtimes, without them: what they said while containers of all shapes came and went.
@Suite struct RecordingTests {
  private static let recordings = [("docker", "docker-20.10"), ("podman", "podman-4.3")]

  @Test(arguments: recordings)
  func announcesWhatTheRuntimeHas(_ source: String, _ name: String) throws {
    var replay = Replay(source: source)
    try replay.play(Recording(name))
    #expect(replay.unasked == [])
    #expect(replay.open == [])
    try expectGolden(replay.feed, "\(name).feed")
  }

  /// Whatever was missed, a snapshot of the end of the world is the end of following it.
  @Test(arguments: recordings)
  func nothingIsLeftOver(_ source: String, _ name: String) throws {
    var replay = Replay(source: source)
    try replay.play(Recording(name))
    var running: Set<String> = []
    for event in replay.announced {
      switch event {
      case .containerStart(let container): running.insert(container.name)
      case .containerStop(let id, _, _):
        let names = replay.announced.compactMap { event -> String? in
          guard case .containerStart(let container) = event, container.id == id else { return nil }
          return container.name
        }
        running.subtract(names)
      default: break
      }
    }
    let shared = ["all", "before", "dual", "loop2", "one", "opt", "routed"]
    #expect(running.filter { !$0.hasSuffix("-infra") && $0 != "pool" }.sorted() == shared)
  }

  /// Every line is what the agent's own decoder understands.
  @Test(arguments: recordings)
  func linesAreRequests(_ source: String, _ name: String) throws {
    var replay = Replay(source: source)
    try replay.play(Recording(name))
    let decoded = replay.feed.split(separator: "\n").map { Request.decode(line: Array($0.utf8)) }
    #expect(decoded == replay.announced.map { .request(Request(.event($0, source: source))) })
  }
}
