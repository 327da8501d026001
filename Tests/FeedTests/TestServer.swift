import Feed
import Glibc
import NIOCore
import NIOPosix
import PortMaps
import Synchronization
import Testing

/// A directory of its own for a test's sockets, removed afterwards.
final class TemporaryDirectory: Sendable {
  let path: String

  init() throws {
    var template = Array("/tmp/feed-tests.XXXXXX".utf8CString)
    try #require(mkdtemp(&template) != nil)
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit {
    for name in ["socket", "deep/socket"] { unlink("\(path)/\(name)") }
    rmdir("\(path)/deep")
    rmdir(path)
  }
}

/// Stands in for the agent: answers an event with the next revision, `list` with `listing`, `watch` with no mapping,
/// other queries with the connection's number as the revision.
final class EchoAgent {
  let server: FeedServer
  private let state: State

  private final class State {
    var server: FeedServer?
    var rounds: [[FeedServer.Incoming]] = []
    var revision = 0
    var timesFull = 0
  }

  var timesFull: Int { state.timesFull }

  var rounds: [[FeedServer.Incoming]] { state.rounds }

  init(
    eventLoop: any EventLoop, listing: [Mapping], unreadLimit: Int, connectionLimit: Int,
    closes: AsyncStream<(id: ConnectionID, reason: CloseReason)>.Continuation
  ) {
    let state = State()
    self.state = state
    server = FeedServer(
      eventLoop: eventLoop, unreadLimit: unreadLimit, connectionLimit: connectionLimit,
      onFull: { state.timesFull += 1 },
      onRound: { round in
        state.rounds.append(round)
        for incoming in round { Self.answer(incoming, listing, state) }
      }, onClose: { closes.yield((id: $0, reason: $1)) })
    state.server = server
  }

  private static func answer(_ incoming: FeedServer.Incoming, _ listing: [Mapping], _ state: State) {
    switch incoming.decoded {
    case .failed(let id, let error, _):
      state.server?.reply(.failed(error), id: id, to: incoming.connection)
    case .request(let request):
      let reply: Reply
      switch request.body {
      case .event:
        state.revision += 1
        reply = .changed(revision: state.revision, ports: nil, warnings: [])
      case .query(.list): reply = .mappings(listing)
      case .query(.watch): reply = .watching([])
      case .query: reply = .changed(revision: -1, ports: nil, warnings: [])
      }
      state.server?.reply(reply, id: request.id, to: incoming.connection)
    }
  }
}

/// A feed server on a thread and a socket of its own.
struct TestServer: Sendable {
  let path: String
  let loop: any EventLoop
  let closes: AsyncStream<(id: ConnectionID, reason: CloseReason)>
  private let agent: NIOLoopBound<EchoAgent>

  static func run(
    listing: [Mapping] = [], unreadLimit: Int = 1 << 20, connectionLimit: Int = 1024,
    _ body: (TestServer) async throws -> Void
  ) async throws {
    let directory = try TemporaryDirectory()
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let loop = group.next()
    let path = directory.path + "/socket"
    let (closes, closed) = AsyncStream.makeStream(of: (id: ConnectionID, reason: CloseReason).self)
    let agent = try await loop.submit {
      NIOLoopBound(
        EchoAgent(
          eventLoop: loop, listing: listing, unreadLimit: unreadLimit, connectionLimit: connectionLimit, closes: closed),
        eventLoop: loop)
    }.get()
    try await loop.flatSubmit {
      do { return agent.value.server.serve(try ListeningSocket.listen(at: path)) } catch {
        return loop.makeFailedFuture(error)
      }
    }.get()
    let server = TestServer(path: path, loop: loop, closes: closes, agent: agent)
    let result: Result<Void, any Error>
    do { result = .success(try await body(server)) } catch { result = .failure(error) }
    try await server.onLoop { $0.server.close() }
    try await group.shutdownGracefully()
    try result.get()
  }

  func onLoop<T: Sendable>(_ body: @escaping @Sendable (EchoAgent) throws -> T) async throws -> T {
    try await loop.submit { [agent] in try body(agent.value) }.get()
  }

  /// The next connection that ended.
  func nextClose() async throws -> (id: ConnectionID, reason: CloseReason) {
    for await close in closes { return close }
    throw Finished()
  }

  struct Finished: Error {}
}

/// A client that can do everything wrong. Calls give up after half a minute.
final class TestClient: Sendable {
  struct OutOfDescriptors: Error {}

  private let descriptor: Int32
  private let isOpen = Atomic(true)
  private let received = Mutex<[UInt8]>([])

  init(_ path: String) throws {
    descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { throw OutOfDescriptors() }
    var patience = timeval(tv_sec: 30, tv_usec: 0)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
      setsockopt(descriptor, SOL_SOCKET, option, &patience, socklen_t(MemoryLayout<timeval>.size))
    }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let status = withUnsafePointer(to: address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    try #require(status == 0, "connect: \(errno)")
  }

  deinit { close() }

  func close() {
    if isOpen.exchange(false, ordering: .relaxed) { Glibc.close(descriptor) }
  }

  /// Sends the bytes as they are; false once the server has gone away.
  @discardableResult func send(_ bytes: [UInt8]) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      if count < 0 { return false }
      rest = rest.dropFirst(count)
    }
    return true
  }

  @discardableResult func send(_ text: String) -> Bool { send(Array(text.utf8)) }

  /// Sends as many of the bytes as the socket takes at once, and tells how many those were.
  func sendWithoutWaiting(_ bytes: ArraySlice<UInt8>) -> Int {
    let count = bytes.withUnsafeBytes {
      Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
    }
    return max(count, 0)
  }

  /// The next line without its LF; `nil` at the end of the stream.
  func line() throws -> String? {
    try received.withLock { received in
      while true {
        if let end = received.firstIndex(of: 0x0a) {
          defer { received.removeSubrange(...end) }
          return String(decoding: received[..<end], as: UTF8.self)
        }
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        let count = recv(descriptor, &chunk, chunk.count, 0)
        if count < 0, errno == ECONNRESET { return nil }
        try #require(count >= 0, "recv: \(errno)")
        if count == 0 { return nil }
        received += chunk[..<count]
      }
    }
  }

  func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }
}
