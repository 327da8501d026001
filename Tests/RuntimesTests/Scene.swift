import Feed
import Logging
import NIOCore
import NIOPosix
import PortMaps
import TestSupport
import Testing

@testable import Runtimes

/// A scripted daemon, a follower, and a server that stands in for the agent.
final class Scene {
  enum AgentKind {
    case listening
    /// Accepts connections and never reads.
    case deaf
  }

  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
  private let directory: TemporaryDirectory
  private let scripted: NIOLoopBound<ScriptedDaemon>
  private let health: RuntimeHealth
  private let parts: NIOLoopBound<Parts>
  private var received: AsyncStream<String>.AsyncIterator
  /// Of the follower.
  let loop: any EventLoop
  let path: String

  private final class Parts {
    var follower: RuntimeFollower?
    var server: FeedServer?
    var deaf: (any Channel)?
  }

  /// `refusing`: lines that are refused once each. `prepare` is called before anybody connects.
  init(
    agent: AgentKind = .listening, refusing: [String] = [],
    prepare: @escaping @Sendable (ScriptedDaemon) -> Void = { _ in }
  ) async throws {
    directory = try TemporaryDirectory()
    let (own, other) = (group.next(), group.next())
    loop = own
    let (path, agentSocket) = (directory.path + "/daemon.sock", directory.path + "/agent.sock")
    self.path = path
    let health = RuntimeHealth(of: try RuntimeSocket(parsing: "docker=unix://\(path)"))
    self.health = health
    scripted = try await other.submit {
      let daemon = ScriptedDaemon(at: path, on: other)
      prepare(daemon)
      return NIOLoopBound(daemon, eventLoop: other)
    }.get()
    let (lines, continuation) = AsyncStream.makeStream(of: String.self)
    received = lines.makeAsyncIterator()
    parts = try await own.submit { NIOLoopBound(Parts(), eventLoop: own) }.get()
    try await daemonFuture { $0.listen() }
    let parts = parts
    switch agent {
    case .listening:
      try await own.flatSubmit {
        Self.serve(at: agentSocket, refusing: refusing, parts.value, on: own) { continuation.yield($0) }
      }.get()
    case .deaf:
      let channel = try await ServerBootstrap(group: other).childChannelOption(.autoRead, value: false)
        .bind(unixDomainSocketPath: agentSocket).get()
      try await own.submit { parts.value.deaf = channel }.get()
    }
    try await own.submit {
      let follower = RuntimeFollower(
        health, agentSocket: agentSocket, on: own, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
      parts.value.follower = follower
      follower.start()
    }.get()
  }

  deinit {
    let (parts, scripted) = (parts, scripted)
    loop.execute {
      parts.value.follower?.stop()
      parts.value.server?.close()
      parts.value.deaf?.close(promise: nil)
    }
    scripted.eventLoop.execute { _ = scripted.value.die() }
    group.shutdownGracefully { _ in }
  }

  private static func serve(
    at path: String, refusing: [String], _ parts: Parts, on loop: any EventLoop, _ yield: @escaping (String) -> Void
  ) -> EventLoopFuture<Void> {
    var refusing = refusing
    let server = FeedServer(
      eventLoop: loop,
      onRound: { [unowned parts] round in
        for incoming in round {
          guard case .request(let request) = incoming.decoded, case .event(let event, _) = request.body else {
            continue
          }
          let line = event.summary
          yield(line)
          var reply = Reply.changed(revision: 1, ports: nil, warnings: [])
          if let index = refusing.firstIndex(of: line) {
            refusing.remove(at: index)
            reply = .failed(RequestError(.portAlreadyAllocated, "as scripted"))
          }
          parts.server?.reply(reply, id: request.id, to: incoming.connection)
        }
      }, onClose: { _, _ in })
    parts.server = server
    do {
      return server.serve(try ListeningSocket.listen(at: path))
    } catch {
      return loop.makeFailedFuture(error)
    }
  }

  // MARK: For tests

  func daemon<Value: Sendable>(_ body: @escaping @Sendable (ScriptedDaemon) -> Value) async throws -> Value {
    let scripted = scripted
    return try await scripted.eventLoop.submit { body(scripted.value) }.get()
  }

  func daemonFuture(_ body: @escaping @Sendable (ScriptedDaemon) -> EventLoopFuture<Void>) async throws {
    let scripted = scripted
    try await scripted.eventLoop.flatSubmit { body(scripted.value) }.get()
  }

  /// The lines that the agent gets, up to and with `last`.
  func lines(through last: String) async throws -> [String] {
    var lines: [String] = []
    while lines.last != last { lines.append(try #require(await received.next())) }
    return lines
  }

  func expect(_ expected: [String], sourceLocation: SourceLocation = #_sourceLocation) async throws {
    var lines: [String] = []
    while lines.count < expected.count { lines.append(try #require(await received.next())) }
    #expect(lines == expected, sourceLocation: sourceLocation)
  }

  func expectEmptySnapshot(sourceLocation: SourceLocation = #_sourceLocation) async throws {
    try await expect(["snapshot.begin", "network.create n1", "snapshot.end"], sourceLocation: sourceLocation)
  }

  /// Looks whenever the follower's loop has done something.
  func until(_ condition: @escaping @Sendable (RuntimeHealth.State) -> Bool) async throws {
    while !condition(health.current) {
      try Task.checkCancellation()
      try await loop.submit {}.get()
    }
  }
}

extension Event {
  fileprivate var summary: String {
    switch self {
    case .networkCreate(let network): "network.create \(network.id)"
    case .networkRemove(let id): "network.remove \(id)"
    case .containerStart(let container):
      "container.start \(container.id) "
        + container.publish.compactMap { $0.hostPorts?.description }.joined(separator: " ")
    case .containerStop(let id, _, _): "container.stop \(id)"
    case .snapshotBegin: "snapshot.begin"
    case .snapshotEnd: "snapshot.end"
    default: "\(self)"
    }
  }
}
