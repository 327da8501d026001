import Feed
import Glibc
import PortMaps
import Testing

private func event(_ id: Int) -> String { #"{"id":\#(id),"event":"reconcile"}"# + "\n" }

private func reply(_ id: Int, _ revision: Int) -> String { #"{"id":\#(id),"ok":true,"revision":\#(revision)}"# }

/// An event of exactly this many bytes, LF not counted.
private func event(length: Int) -> [UInt8] {
  let (head, tail) = (#"{"id":1,"event":"reconcile""#, "}")
  return Array((head + String(repeating: " ", count: length - head.utf8.count - tail.utf8.count) + tail).utf8)
}

/// One mapping of so many ports that its listing is `count` times 200 bytes or more.
private func listing(ports count: UInt16) -> [Mapping] {
  let ports = PortRange(1, count)
  return [
    Mapping(
      container: String(repeating: "c", count: 64), name: "web", network: "mynet",
      binding: Binding(
        network: "n1", mode: .nat, transport: .tcp, hostAddress: address("0.0.0.0"), hostPorts: ports,
        containerAddress: address("172.18.0.2"), containerPorts: ports, request: 0), state: .live)
  ]
}

@Suite(.timeLimit(.minutes(2))) struct FeedServerTests {
  @Test func answersPipelinedRequestsInOrder() async throws {
    try await TestServer.run { server in
      let client = try TestClient(server.path)
      client.send((1...500).map { $0 % 50 == 0 ? "\n{\n" : event($0) }.joined())
      var revision = 0
      for id in 1...500 {
        if id % 50 == 0 {
          #expect(try client.line()?.hasPrefix(#"{"ok":false,"error":{"code":"bad-json""#) == true)
        } else {
          revision += 1
          #expect(try client.line() == reply(id, revision))
        }
      }
    }
  }

  @Test func answersTwoInterleavedClients() async throws {
    try await TestServer.run { server in
      let (a, b) = (try TestClient(server.path), try TestClient(server.path))
      for round in 0..<50 {
        a.send(event(1).dropLast(5).description)
        b.send(event(2))
        a.send(event(1).suffix(5).description)
        #expect(try b.line()?.hasPrefix(#"{"id":2,"ok":true"#) == true, "round \(round)")
        #expect(try a.line()?.hasPrefix(#"{"id":1,"ok":true"#) == true, "round \(round)")
      }
    }
  }

  @Test func takesAByteAtATime() async throws {
    try await TestServer.run { server in
      let client = try TestClient(server.path)
      for byte in Array("\r\n \n\(event(1))\(event(2))".utf8) { client.send([byte]) }
      #expect(try client.line() == reply(1, 1))
      #expect(try client.line() == reply(2, 2))
    }
  }

  @Test func answersAHalfClosedClientAndCloses() async throws {
    try await TestServer.run { server in
      let client = try TestClient(server.path)
      client.send((1...200).map(event).joined() + #"{"id":201,"event":"reconcile"}"#)
      client.finishSending()
      for id in 1...200 { #expect(try client.line() == reply(id, id)) }
      #expect(try client.line() == nil)
      guard case .byClient = try await server.nextClose().reason else {
        Issue.record("closed for another reason")
        return
      }
    }
  }

  @Test func carriesOutWholeLinesOfAClientThatVanishes() async throws {
    try await TestServer.run { server in
      var client: TestClient? = try TestClient(server.path)
      client?.send((1...200).map(event).joined() + #"{"event":"reconc"#)
      client = nil
      let close = try await server.nextClose()
      let requests = try await server.onLoop { $0.rounds.joined().map(\.connection) }
      #expect(requests == Array(repeating: close.id, count: 200))
      let other = try TestClient(server.path)
      other.send(event(1))
      #expect(try other.line() == reply(1, 201))
    }
  }

  @Test func acceptsTheLongestLine() async throws {
    try await TestServer.run { server in
      let client = try TestClient(server.path)
      client.send(event(length: 1_048_576) + [0x0a])
      client.send(event(2))
      #expect(try client.line() == reply(1, 1))
      #expect(try client.line() == reply(2, 2))
    }
  }

  @Test(arguments: [1_048_577, 4_000_000])
  func closesAfterALineThatIsTooLong(_ length: Int) async throws {
    try await TestServer.run { server in
      let client = try TestClient(server.path)
      client.send(event(1))
      client.send(event(length: length) + [0x0a])
      client.send(event(2))
      #expect(try client.line() == reply(1, 1))
      #expect(try client.line()?.hasPrefix(#"{"ok":false,"error":{"code":"line-too-long""#) == true)
      #expect(try client.line() == nil)
      guard case .lineTooLong = try await server.nextClose().reason else {
        Issue.record("closed for another reason")
        return
      }
      let requests = try await server.onLoop { $0.rounds.joined().count }
      #expect(requests == 2)
    }
  }

  @Test func handsOverTogetherWhatArrivesTogether() async throws {
    try await TestServer.run { server in
      let clients = try (1...5).map { _ in try TestClient(server.path) }
      for client in clients {
        client.send(event(0))
        _ = try client.line()
      }
      // While the loop runs this, it does not look at its sockets.
      let before = try await server.onLoop { agent in
        for client in clients { client.send(event(1) + event(2)) }
        return agent.rounds.count
      }
      for client in clients { _ = (try client.line(), try client.line()) }
      let rounds = try await server.onLoop { Array($0.rounds[before...]) }
      #expect(rounds.count == 1)
      #expect(rounds.first?.count == 10)
      #expect(Set(rounds.joined().map(\.connection)).count == 5)
    }
  }

  @Test func sharesRoundsFairly() async throws {
    try await TestServer.run { server in
      let (greedy, modest) = (try TestClient(server.path), try TestClient(server.path))
      for client in [greedy, modest] {
        client.send(event(0))
        _ = try client.line()
      }
      let before = try await server.onLoop { agent in
        greedy.send((1...1000).map(event).joined())
        modest.send(event(1))
        return agent.rounds.count
      }
      for _ in 1...1000 { _ = try greedy.line() }
      let rounds = try await server.onLoop { Array($0.rounds[before...]) }
      #expect(rounds.first?.count == 65)
      #expect(rounds.allSatisfy { $0.count <= 65 })
      #expect(rounds.joined().count == 1001)
    }
  }

  @Test func endsAConnectionsPartOfARoundWithAQuery() async throws {
    try await TestServer.run { server in
      let client = try TestClient(server.path)
      client.send(String(repeating: #"{"event":"reconcile"}"# + "\n" + #"{"query":"status"}"# + "\n", count: 10))
      for _ in 1...20 { _ = try client.line() }
      let rounds = try await server.onLoop { $0.rounds }
      for round in rounds { #expect(round.count <= 2) }
    }
  }

  /// Each reply is 200 KB and more; sixty of them do not fit anywhere.
  @Test func waitsForAClientThatDoesNotReadAndServesOthers() async throws {
    try await TestServer.run(listing: listing(ports: 1000)) { server in
      let (lazy, other) = (try TestClient(server.path), try TestClient(server.path))
      lazy.send(String(repeating: #"{"query":"list"}"# + "\n", count: 60))
      for id in 1...200 {
        other.send(event(id))
        #expect(try other.line() == reply(id, id))
      }
      let answered = try await server.onLoop { $0.rounds.joined().count - 200 }
      #expect((1...15).contains(answered), "\(answered)")
      lazy.finishSending()
      for _ in 1...60 { #expect(try lazy.line()?.hasSuffix(#""container_port":1000,"state":"live"}]}"#) == true) }
      #expect(try lazy.line() == nil)
    }
  }

  @Test func stopsReadingWhatItCannotAnswer() async throws {
    try await TestServer.run(listing: listing(ports: 1000)) { server in
      let (lazy, other) = (try TestClient(server.path), try TestClient(server.path))
      lazy.send(String(repeating: #"{"query":"list"}"# + "\n", count: 20))
      let lines = (1...200_000).map(event).joined()
      var rest = Array(lines.utf8)[...]
      var unchanged = 0
      while unchanged < 20, !rest.isEmpty {
        let count = lazy.sendWithoutWaiting(rest)
        rest = rest.dropFirst(count)
        unchanged = count == 0 ? unchanged + 1 : 0
        other.send(#"{"query":"status"}"# + "\n")
        _ = try other.line()
      }
      let taken = lines.utf8.count - rest.count
      #expect((1 << 20...3 << 20).contains(taken), "\(taken)")
      for _ in 1...20 { #expect(try lazy.line()?.hasPrefix(#"{"ok":true,"mappings""#) == true) }
      for id in 1...taken / 64 { #expect(try lazy.line() == reply(id, id)) }
    }
  }

  @Test func forgetsAClientThatVanishesUnread() async throws {
    try await TestServer.run(listing: listing(ports: 1000)) { server in
      var lazy: TestClient? = try TestClient(server.path)
      lazy?.send(String(repeating: #"{"query":"list"}"# + "\n", count: 200))
      let other = try TestClient(server.path)
      for id in 1...50 {
        other.send(event(id))
        _ = try other.line()
      }
      lazy = nil
      let close = try await server.nextClose()
      let credentials = try await server.onLoop { $0.server.credentials(of: close.id) }
      #expect(credentials == nil)
      // Nobody waits for the answers any more.
      let questions = try await server.onLoop { $0.rounds.joined().count { $0.connection == close.id } }
      #expect(questions < 100)
    }
  }

  @Test func letsNoMoreInThanThereIsRoomFor() async throws {
    try await TestServer.run(connectionLimit: 2) { server in
      let first = try TestClient(server.path)
      var second: TestClient? = try TestClient(server.path)
      for client in [first, second] {
        client?.send(event(1))
        _ = try client?.line()
      }
      let late = try TestClient(server.path)
      late.send(event(99))
      for id in 1...50 {
        first.send(event(id))
        _ = try first.line()
      }
      #expect(try await server.onLoop { $0.rounds.joined().count } == 52)
      #expect(try await server.onLoop { $0.timesFull } == 1)
      second = nil
      #expect(try late.line()?.contains("99") == true)
      _ = second
    }
  }

  @Test func tellsWhoIsThere() async throws {
    try await TestServer.run { server in
      let client = try TestClient(server.path)
      client.send(event(1))
      _ = try client.line()
      let credentials = try await server.onLoop { agent in
        agent.rounds.first?.first.flatMap { agent.server.credentials(of: $0.connection) }
      }
      #expect(credentials == PeerCredentials(pid: getpid(), uid: getuid(), gid: getgid()))
    }
  }
}
