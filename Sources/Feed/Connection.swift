import Glibc
import NIOCore
import PortMaps

/// One client: its lines on their way in, its replies on their way out.
final class Connection: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  let id: ConnectionID
  private let server: FeedServer
  private var context: ChannelHandlerContext?
  private(set) var credentials: PeerCredentials?

  private var input = LineBuffer()
  /// Replies and watch lines of this round.
  var output = JSONWriter()
  /// Bytes of watch lines in `output`, and those that were flushed and not yet taken by the client's socket.
  private var pushed = 0
  private var unread = 0

  /// Has lines in the server's next round.
  var isWaiting = false
  private(set) var isGone = false
  private(set) var closeReason = CloseReason.byClient
  private var isInputOver = false
  private var isWatching = false
  private var isClosing = false
  private var isReadHeld = false

  init(id: ConnectionID, server: FeedServer) { (self.id, self.server) = (id, server) }

  // MARK: For the server

  var hasLines: Bool { input.hasNext }
  var hasOutput: Bool { !output.bytes.isEmpty }
  var isWritable: Bool { context?.channel.isWritable ?? false }
  /// Everything was asked and answered. A watcher that only shut down its sending side still wants to be told.
  var isFinished: Bool { isInputOver && !isWatching }

  /// Hands over this connection's part of a round.
  func takeLines(into round: inout [FeedServer.Incoming]) {
    isWaiting = false
    for _ in 0..<FeedServer.linesPerRound {
      guard let item = input.next() else { return }
      let decoded = decode(item)
      guard case .request(let request) = decoded, case .query(let query) = request.body else {
        round.append(.init(connection: id, decoded: decoded))
        continue
      }
      // Nobody would read the answer, and there may be a megabyte of questions.
      if isGone { continue }
      round.append(.init(connection: id, decoded: decoded))
      if query == .watch { isWatching = true }
      return
    }
  }

  private func decode(_ item: LineBuffer.Item) -> Decoded {
    switch item {
    case .line(let line): return Request.decode(line: line)
    case .tooLong:
      (isInputOver, isWatching, closeReason) = (true, false, .lineTooLong)
      input.clear()
      return .failed(
        id: nil,
        RequestError(
          .lineTooLong, "a line is longer than \(LineBuffer.maximumLength) bytes; the connection is closed after this"))
    }
  }

  func push(_ lines: [UInt8]) {
    pushed += lines.count
    output.append(line: lines)
  }

  /// Sends this round's output, or closes a connection that has left too much of its watch stream unread.
  func flush(unreadLimit: Int) {
    guard let context else { return }
    let bytes = output.take()
    let count = pushed
    pushed = 0
    // A round may push more than the limit, and a reader that keeps up must be able to take it: only what earlier rounds
    // left behind counts.
    if count > 0, unread > unreadLimit { return close(.tooSlow(unread: unread)) }
    unread += count
    let written = context.writeAndFlush(wrapOutboundOut(context.channel.allocator.buffer(bytes: bytes)))
    guard count > 0 else { return }
    written.assumeIsolated().whenComplete { _ in self.unread -= count }
  }

  /// Ends the connection at once; what it has asked and was not handed over yet is dropped.
  func close(_ reason: CloseReason) {
    (closeReason, isInputOver) = (reason, true)
    input.clear()
    context?.close(promise: nil)
  }

  func closeAfterFlush() {
    guard let context, !isClosing else { return }
    isClosing = true
    // Writes complete in order: an empty one comes after everything else.
    context.writeAndFlush(wrapOutboundOut(ByteBuffer())).assumeIsolated().whenComplete { _ in
      self.context?.close(promise: nil)
    }
  }

  /// Reads on if that was held back and no longer needs to be.
  func readIfWanted() {
    guard isReadHeld, mayRead, let context else { return }
    isReadHeld = false
    context.read()
  }

  private var mayRead: Bool { !input.isFull && !isInputOver }

  // MARK: From the channel

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.context = nil
    isGone = true
    server.settle(self)
  }

  func channelActive(context: ChannelHandlerContext) {
    guard let options = context.channel as? any SocketOptionProvider else { return }
    options.unsafeGetSocketOption(level: .socket, name: .init(rawValue: SO_PEERCRED)).assumeIsolated()
      .whenSuccess { self.credentials = $0 }
  }

  func read(context: ChannelHandlerContext) {
    if mayRead { context.read() } else { isReadHeld = true }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if !isInputOver { input.append(unwrapInboundIn(data)) }
  }

  func channelReadComplete(context: ChannelHandlerContext) { server.settle(self) }

  func channelWritabilityChanged(context: ChannelHandlerContext) { server.settle(self) }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case .inputClosed? = event as? ChannelEvent { isInputOver = true }
    server.settle(self)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // A client that closes without reading its replies resets the connection; that is its right.
    if (error as? IOError)?.errnoCode != ECONNRESET { closeReason = .failed(error) }
    context.close(promise: nil)
  }
}
