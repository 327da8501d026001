import Feed
import Glibc
import Testing

/// What needs a process of its own: other limits, other users.
@Suite(.timeLimit(.minutes(2))) struct ProcessLimitTests {
  @Test func survivesRunningOutOfDescriptors() async {
    await #expect(processExitsWith: .success) {
      try await TestServer.run { server in
        let first = try TestClient(server.path)
        first.send(#"{"event":"reconcile"}"# + "\n")
        #expect(try first.line() != nil)
        // With the loop held here, clients take every descriptor before the server can accept one of them.
        let waiting = try await server.onLoop { _ in
          var limit = rlimit(rlim_cur: 64, rlim_max: 64)
          try #require(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
          var clients: [TestClient] = []
          do { while true { clients.append(try TestClient(server.path)) } } catch is TestClient.OutOfDescriptors {}
          return clients
        }
        try #require(waiting.count > 10)
        first.send(#"{"event":"reconcile"}"# + "\n")
        #expect(try first.line() == #"{"ok":true,"revision":2}"#)
        for client in waiting.dropFirst(5) { client.close() }
        for client in waiting.prefix(5) {
          client.send(#"{"event":"reconcile"}"# + "\n")
          #expect(try client.line()?.hasPrefix(#"{"ok":true"#) == true)
        }
      }
    }
  }

  @Test func tellsThatTheSocketIsNotForUs() async {
    await #expect(processExitsWith: .success) {
      let directory = try TemporaryDirectory()
      let path = directory.path + "/socket"
      let socket = try ListeningSocket.listen(at: path)
      chmod(path, 0)
      // Modes mean nothing to root.
      if geteuid() == 0 { try #require(seteuid(65_534) == 0) }
      #expect(throws: FeedClientError.notPermitted(path: path)) { _ = try FeedClient.connect(to: path) }
      _ = consume socket
      seteuid(getuid())
    }
  }
}
