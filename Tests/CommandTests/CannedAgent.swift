import Feed
import NIOCore
import NIOPosix
import TestSupport

/// A peer on a socket of its own that has its replies from a function.
final class CannedAgent: Sendable {
  enum Answer: Sendable {
    case line(String)
    /// Sends it and closes the connection.
    case last(String)
  }

  let socket: String
  private let directory: TemporaryDirectory
  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
  private let server: NIOLoopBound<FeedServer>

  /// Requests that cannot be understood are refused as the agent refuses them.
  init(_ answer: @escaping @Sendable (Request.Body) -> Answer) throws {
    directory = try TemporaryDirectory()
    let socket = directory.path + "/agent.sock"
    self.socket = socket
    let loop = group.next()
    server = try loop.submit {
      var server: FeedServer?
      let made = FeedServer(
        eventLoop: loop,
        onRound: { round in
          for incoming in round { server.map { Self.reply(to: incoming, by: $0, answer) } }
        }, onClose: { _, _ in })
      server = made
      return NIOLoopBound(made, eventLoop: loop)
    }.wait()
    let server = server
    try loop.flatSubmit {
      do {
        return server.value.serve(try ListeningSocket.listen(at: socket))
      } catch { return loop.makeFailedFuture(error) }
    }.wait()
  }

  private static func reply(
    to incoming: FeedServer.Incoming, by server: FeedServer, _ answer: (Request.Body) -> Answer
  ) {
    switch incoming.decoded {
    case .failed(let id, let error, _): server.reply(.failed(error), id: id, to: incoming.connection)
    case .request(let request):
      switch answer(request.body) {
      case .line(let line): server.push(Array("\(line)\n".utf8), to: incoming.connection)
      case .last(let line):
        server.push(Array("\(line)\n".utf8), to: incoming.connection)
        server.close()
      }
    }
  }

  deinit {
    let server = server
    group.next().execute { server.value.close() }
    group.shutdownGracefully { _ in }
  }
}
