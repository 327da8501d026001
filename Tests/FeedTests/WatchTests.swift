import Feed
import NIOCore
import PortMaps
import Testing

private let ready = #"{"change":"ready"}"#

private func line(bytes: Int) -> [UInt8] { Array(repeating: 0x78, count: bytes - 1) + [0x0a] }

extension TestServer {
  /// A client that watches, and its connection.
  fileprivate func watcher() async throws -> (client: TestClient, id: ConnectionID) {
    let client = try TestClient(path)
    client.send(#"{"query":"watch"}"# + "\n")
    #expect(try client.line() == ready)
    let id = try await onLoop { $0.rounds.last?.last?.connection }
    return (client, try #require(id))
  }
}

@Suite(.timeLimit(.minutes(2))) struct WatchTests {
  @Test func pushesAndStillAnswers() async throws {
    try await TestServer.run { server in
      let (client, id) = try await server.watcher()
      try await server.onLoop { $0.server.push(Array("1\n2\n".utf8), to: id) }
      client.send(#"{"event":"reconcile"}"# + "\n")
      #expect(try client.line() == "1")
      #expect(try client.line() == "2")
      #expect(try client.line() == #"{"ok":true,"revision":1}"#)
      try await server.onLoop { $0.server.push(Array("3\n".utf8), to: id) }
      #expect(try client.line() == "3")
    }
  }

  @Test func keepsTellingAHalfClosedWatcher() async throws {
    try await TestServer.run { server in
      let (client, id) = try await server.watcher()
      client.finishSending()
      for number in 1...20 {
        try await server.onLoop { $0.server.push(Array("\(number)\n".utf8), to: id) }
        #expect(try client.line() == "\(number)")
      }
    }
  }

  @Test func noticesThatAWatcherIsGone() async throws {
    try await TestServer.run { server in
      let id = try await server.watcher().id
      let close = try await server.nextClose()
      #expect(close.id == id)
      try await server.onLoop { $0.server.push(line(bytes: 10), to: id) }
    }
  }

  @Test func noticesThatAHalfClosedWatcherIsGone() async throws {
    try await TestServer.run { server in
      func visit() async throws -> ConnectionID {
        let (client, id) = try await server.watcher()
        client.finishSending()
        return id
      }
      let id = try await visit()
      #expect(try await server.nextClose().id == id)
    }
  }

  @Test func closesAWatcherThatDoesNotRead() async throws {
    try await TestServer.run(unreadLimit: 1 << 20) { server in
      let (lazy, id) = try await server.watcher()
      let (eager, other) = try await server.watcher()
      // 4 MiB are beyond the limit and what two socket buffers take.
      for _ in 1...64 {
        try await server.onLoop {
          $0.server.push(line(bytes: 1 << 16), to: id)
          $0.server.push(line(bytes: 10), to: other)
        }
        #expect(try eager.line()?.count == 9)
      }
      let close = try await server.nextClose()
      #expect(close.id == id)
      guard case .tooSlow(let unread) = close.reason else {
        Issue.record("closed for another reason")
        return
      }
      #expect((1 << 20...2 << 20).contains(unread))
      while try lazy.line() != nil {}
      #expect(eager.send(#"{"event":"reconcile"}"# + "\n"))
      #expect(try eager.line() == #"{"ok":true,"revision":1}"#)
    }
  }

  /// One change of the world may be larger than what a watcher may leave unread.
  @Test func toleratesABurst() async throws {
    try await TestServer.run(unreadLimit: 1 << 16) { server in
      let (client, id) = try await server.watcher()
      for _ in 1...3 {
        try await server.onLoop { agent in
          for _ in 1...64 { agent.server.push(line(bytes: 1 << 16), to: id) }
        }
        for _ in 1...64 { #expect(try client.line()?.count == 65_535) }
        // A reply means that everything before it was taken.
        client.send(#"{"event":"reconcile"}"# + "\n")
        #expect(try client.line()?.hasPrefix(#"{"ok":true"#) == true)
      }
    }
  }

  @Test func endsEveryConnectionWhenItCloses() async throws {
    try await TestServer.run { server in
      let clients = (try await server.watcher().client, try TestClient(server.path))
      clients.1.send(#"{"event":"reconcile"}"# + "\n")
      _ = try clients.1.line()
      try await server.onLoop { agent in
        for connection in Set(agent.rounds.joined().map(\.connection)) {
          agent.server.push(Array("bye\n".utf8), to: connection)
        }
        agent.server.close()
      }
      for client in [clients.0, clients.1] {
        #expect(try client.line() == "bye")
        #expect(try client.line() == nil)
        guard case .byServer = try await server.nextClose().reason else {
          Issue.record("closed for another reason")
          return
        }
      }
      #expect(throws: FeedClientError.notThere(path: server.path)) { _ = try FeedClient.connect(to: server.path) }
    }
  }
}
