import NIOCore
import NIOPosix

/// A netlink socket that is only listened to, on an event loop. After messages were lost (ENOBUFS) it goes on with a new one.
final class NetlinkListener {
  private let loop: any EventLoop
  private let openSocket: () throws -> CInt
  private let onMessages: (ByteBuffer) -> Void
  private let onLoss: () -> Void
  private var channel: (any Channel)?
  private var isClosed = false

  /// `onMessages` gets whole messages, `onLoss` is called when some were lost; both on `loop`, where all of this lives.
  init(
    on loop: any EventLoop, openSocket: @escaping () throws -> CInt, onMessages: @escaping (ByteBuffer) -> Void,
    onLoss: @escaping () -> Void
  ) {
    (self.loop, self.openSocket, self.onMessages, self.onLoss) = (loop, openSocket, onMessages, onLoss)
  }

  /// Fails when the socket cannot be opened. What happens from when this returns on is told.
  func start() throws -> EventLoopFuture<Void> {
    let handler = NIOLoopBound(Handler(self), eventLoop: loop)
    return NIOPipeBootstrap(group: loop)
      // A message that does not fit is cut short without a word (netlink(7)); these are 8 KiB at most, bar one element of a
      // dump that is larger.
      .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 64 << 10))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(handler.value) }
      }
      .takingOwnershipOfDescriptor(input: try openSocket())
      .assumeIsolated()
      .map { [self] channel in
        self.channel = channel
        if isClosed { channel.close(promise: nil) }
      }
      .nonisolated()
  }

  func close() {
    isClosed = true
    channel?.close(promise: nil)
  }

  private func reopen() throws {
    channel?.close(promise: nil)
    channel = nil
    if !isClosed { _ = try start() }
    onLoss()
  }

  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private unowned let listener: NetlinkListener
    init(_ listener: NetlinkListener) { self.listener = listener }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { listener.onMessages(unwrapInboundIn(data)) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
      do {
        try listener.reopen()
      } catch {
        context.fireErrorCaught(error)
      }
    }
  }
}
