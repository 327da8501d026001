import Feed
import NIOCore
import NIOPosix
import PortMaps

/// A client of the agent's socket that pipelines: what it says, and which of it was refused.
///
/// Belongs to its event loop.
final class FeedConnection: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// `nil`: stored and live.
  typealias OnReply = (Event, Refusal?) -> Void

  private let source: String
  private let onReply: OnReply
  private let onEnd: (any Error) -> Void
  private var channel: (any Channel)?
  private var unanswered = CircularBuffer<Event>()
  private var line: [UInt8] = []
  private var isOver = false

  private init(source: String, onReply: @escaping OnReply, onEnd: @escaping (any Error) -> Void) {
    (self.source, self.onReply, self.onEnd) = (source, onReply, onEnd)
  }

  static func connect(
    to path: String, source: String, on loop: any EventLoop, onReply: @escaping OnReply,
    onEnd: @escaping (any Error) -> Void
  ) -> EventLoopFuture<FeedConnection>.Isolated {
    let connection = FeedConnection(source: source, onReply: onReply, onEnd: onEnd)
    let bound = NIOLoopBound(connection, eventLoop: loop)
    return ClientBootstrap(group: loop)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(bound.value) }
      }
      .connect(unixDomainSocketPath: path)
      .assumeIsolated()
      .map { channel in
        connection.channel = channel
        return connection
      }
  }

  /// Requests whose replies have not come yet.
  var waiting: Int { unanswered.count }

  func send(_ event: Event) {
    guard let channel, !isOver else { return }
    unanswered.append(event)
    var writer = JSONWriter()
    event.write(source: source, to: &writer)
    channel.writeAndFlush(ByteBuffer(bytes: writer.bytes), promise: nil)
  }

  func close() {
    isOver = true
    channel?.close(promise: nil)
  }

  // MARK: From the channel

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let bytes = unwrapInboundIn(data).readableBytesView
    var rest = bytes[...]
    while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
      line.append(contentsOf: rest[..<end])
      let complete = line
      line = []
      guard !isOver, let event = unanswered.popFirst() else { return }
      do {
        onReply(event, try Refusal(reply: complete))
      } catch {
        return self.end(error, context)
      }
      rest = rest[(end + 1)...]
    }
    line.append(contentsOf: rest)
  }

  private func end(_ error: any Error, _ context: ChannelHandlerContext) {
    if isOver { return }
    isOver = true
    context.close(promise: nil)
    onEnd(error)
  }

  func channelInactive(context: ChannelHandlerContext) { end(FeedEnded(), context) }
  func errorCaught(context: ChannelHandlerContext, error: any Error) { end(error, context) }
}

/// The agent closed the connection.
struct FeedEnded: Error, CustomStringConvertible {
  var description: String { "the agent closed the connection" }
}

extension Refusal {
  /// `nil` for a reply that is `"ok":true`.
  init?(reply line: [UInt8]) throws(UnexpectedAnswer) {
    let reply = try Part(parsing: line)
    if try reply["ok"].bool() { return nil }
    let (error, field) = (reply["error"], reply["error"]["field"])
    self.init(
      code: try error["code"].string(), message: try error["message"].string(),
      field: field.isNull ? nil : try field.string())
  }
}
