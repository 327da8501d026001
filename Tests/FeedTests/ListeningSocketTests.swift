import Feed
import Glibc
import Testing

private func mode(_ path: String) -> mode_t {
  var status = stat()
  return lstat(path, &status) == 0 ? status.st_mode & 0o7777 : 0
}

/// Binds a socket file; only with `backlog` somebody listens on it.
private func bindSocket(_ path: String, backlog: Int32?) throws -> Int32 {
  let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
  var address = sockaddr_un()
  address.sun_family = sa_family_t(AF_UNIX)
  withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
  let status = withUnsafePointer(to: address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
    }
  }
  try #require(status == 0)
  if let backlog { try #require(listen(descriptor, backlog) == 0) }
  return descriptor
}

private func listenAndClose(_ path: String) throws(ListenError) { _ = try ListeningSocket.listen(at: path) }

@Suite struct ListeningSocketTests {
  @Test func makesTheDirectoryAndTheFile() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/deep/socket"
    let socket = try ListeningSocket.listen(at: path)
    #expect(mode(path) == 0o660)
    #expect(mode(directory.path + "/deep") == 0o755)
    _ = try FeedClient.connect(to: path)
    _ = consume socket
  }

  @Test func replacesADeadSocket() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/socket"
    close(try bindSocket(path, backlog: nil))
    chmod(path, 0o777)
    let socket = try ListeningSocket.listen(at: path)
    #expect(mode(path) == 0o660)
    _ = try FeedClient.connect(to: path)
    _ = consume socket
  }

  @Test func respectsALiveSocket() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/socket"
    let descriptor = try bindSocket(path, backlog: 1)
    defer { close(descriptor) }
    let error = ListenError.inUse(path: path, pid: getpid())
    #expect(throws: error) { try listenAndClose(path) }
    #expect(error.description.hasPrefix("another agent (process \(getpid())) listens on \(path); stop it"))
    _ = try FeedClient.connect(to: path)
  }

  @Test func respectsALiveSocketThatIsBusy() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/socket"
    let descriptor = try bindSocket(path, backlog: 0)
    defer { close(descriptor) }
    let queued = try FeedClient.connect(to: path)
    let error = ListenError.inUse(path: path, pid: nil)
    #expect(throws: error) { try listenAndClose(path) }
    #expect(error.description.contains("ss -xlp src \(path)"))
    _ = consume queued
  }

  @Test func leavesOtherFilesAlone() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/socket"
    let file = open(path, O_CREAT | O_WRONLY, 0o644)
    close(file)
    #expect(throws: ListenError.notASocket(path: path)) { try listenAndClose(path) }
    #expect(mode(path) == 0o644)
  }

  @Test func refusesLongPaths() {
    let path = "/tmp/" + String(repeating: "x", count: 108)
    #expect(throws: ListenError.system(operation: "bind", path: path, errno: ENAMETOOLONG)) {
      try listenAndClose(path)
    }
  }

  @Test func refusesAMissingGrandparent() throws {
    let path = try TemporaryDirectory().path + "/no/such/socket"
    let error = #expect(throws: ListenError.self) { try listenAndClose(path) }
    #expect(error?.description.hasSuffix("/no/such: No such file or directory") == true, "\(String(describing: error))")
  }

  @Test func leavesAFileThatIsNoLongerIts() async throws {
    try await TestServer.run { server in
      try #require(rename(server.path, server.path + ".old") == 0)
      close(try bindSocket(server.path, backlog: nil))
      try await server.onLoop { $0.server.close() }
      #expect(mode(server.path) != 0)
      unlink(server.path + ".old")
    }
  }

  @Test func adoptsOnlyWhatListens() throws {
    let directory = try TemporaryDirectory()
    let bound = try bindSocket(directory.path + "/socket", backlog: nil)
    #expect(throws: ListenError.self) { _ = try ListeningSocket.adopt(bound) }
    #expect(throws: ListenError.self) { _ = try ListeningSocket.adopt(-1) }
    let internet = socket(AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
    try #require(listen(internet, 1) == 0)
    #expect(throws: ListenError.noPath(descriptor: internet)) { _ = try ListeningSocket.adopt(internet) }
  }

  @Test func anAdoptedSocketKnowsItsPath() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/socket"
    let socket = try ListeningSocket.adopt(try bindSocket(path, backlog: 1))
    #expect(socket.path == path)
    _ = consume socket
  }

  @Test func servesAnAdoptedSocketAndLeavesItsFile() async throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/socket"
    let descriptor = try bindSocket(path, backlog: 5)
    try await TestServer.run { server in
      try await server.onLoop { _ = $0.server.serve(try ListeningSocket.adopt(descriptor)) }
      let client = try TestClient(path)
      client.send(#"{"event":"reconcile"}"# + "\n")
      #expect(try client.line() == #"{"ok":true,"revision":1}"#)
    }
    #expect(mode(path) != 0)
  }
}

@Suite struct FeedClientTests {
  @Test func asksAndIsAnswered() async throws {
    try await TestServer.run { server in
      var client = try FeedClient.connect(to: server.path)
      for id in 1...3 { try client.send(Array(#"{"id":\#(id),"event":"reconcile"}"#.utf8)) }
      client.finishSending()
      for id in 1...3 {
        let line = try client.receiveLine().map { String(decoding: $0, as: UTF8.self) }
        #expect(line == #"{"id":\#(id),"ok":true,"revision":\#(id)}"#)
      }
      let end = try client.receiveLine()
      #expect(end == nil)
    }
  }

  @Test func tellsWhyThereIsNoAgent() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/socket"
    #expect(throws: FeedClientError.notThere(path: path)) { _ = try FeedClient.connect(to: path) }
    close(try bindSocket(path, backlog: nil))
    #expect(throws: FeedClientError.refused(path: path)) { _ = try FeedClient.connect(to: path) }
    let long = String(repeating: "x", count: 108)
    #expect(throws: FeedClientError.system(operation: "connect", path: long, errno: ENAMETOOLONG)) {
      _ = try FeedClient.connect(to: long)
    }
  }

  @Test func doesNotWaitLongerThanItsLimit() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/socket"
    let listener = try bindSocket(path, backlog: 0)
    defer { close(listener) }
    let silent = FeedClientError.silent(path: path, pid: getpid())
    var client = try FeedClient.connect(to: path, limit: .milliseconds(50))
    #expect(throws: silent) { _ = try client.receiveLine() }
    // More than the socket's buffers take.
    #expect(throws: silent) { try client.send([UInt8](repeating: 0x20, count: 8 << 20)) }
    #expect(throws: FeedClientError.silent(path: path, pid: nil)) {
      _ = try FeedClient.connect(to: path, limit: .milliseconds(50))
    }
  }

  @Test func noticesThatTheAgentDies() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/socket"
    let listener = try bindSocket(path, backlog: 1)
    var client = try FeedClient.connect(to: path)
    let peer = accept(listener, nil, nil)
    let answer = Array("{}\n{\"ok\"".utf8)
    #expect(write(peer, answer, answer.count) == answer.count)
    close(peer)
    close(listener)
    let line = try client.receiveLine()
    #expect(line == Array("{}".utf8))
    #expect(throws: FeedClientError.connectionLost(path: path)) { _ = try client.receiveLine() }
    #expect(throws: FeedClientError.connectionLost(path: path)) { try client.send(Array("{}".utf8)) }
  }
}
