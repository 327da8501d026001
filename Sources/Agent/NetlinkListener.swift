import Logging
import NIOCore
import NIOPosix

/// A netlink socket that is only listened to, on an event loop. After messages were lost (ENOBUFS) it goes on with a new one,
/// as soon as there can be one.
final class NetlinkListener {
  private let subject: String
  private let loop: any EventLoop
  private let log: Logger
  private let openSocket: () throws -> CInt
  private let onMessages: (ByteBuffer) -> Void
  private let onLoss: () -> Void
  private var channel: (any Channel)?
  /// From the first failure to open a new socket on; all of them are one line of the log.
  private var reopening: Scheduled<Void>?
  private var isClosed = false

  /// `subject`: what the messages are about, for the log. `onMessages` gets whole messages, `onLoss` is called when some were
  /// lost, once there is a new socket; both on `loop`, where all of this lives.
  init(
    of subject: String, on loop: any EventLoop, log: Logger, openSocket: @escaping () throws -> CInt,
    onMessages: @escaping (ByteBuffer) -> Void, onLoss: @escaping () -> Void
  ) {
    (self.subject, self.loop, self.log, self.openSocket) = (subject, loop, log, openSocket)
    (self.onMessages, self.onLoss) = (onMessages, onLoss)
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
    reopening?.cancel()
    channel?.close(promise: nil)
  }

  private func reopen() {
    channel?.close(promise: nil)
    channel = nil
    if isClosed { return }
    do {
      try start().assumeIsolated().whenComplete { [self] in reopened($0) }
    } catch {
      reopened(.failure(error))
    }
  }

  private func reopened(_ result: Result<Void, any Error>) {
    if isClosed { return }
    switch result {
    case .success:
      reopening = nil
      onLoss()
    case .failure(let error):
      if reopening == nil {
        log.error(
          "changes go unnoticed until the kernel can be listened to again, which is tried every second",
          metadata: ["of": "\(subject)", "error": "\(error)"])
      }
      reopening = loop.assumeIsolated().scheduleTask(in: .seconds(1)) { [weak self] in self?.reopen() }
    }
  }

  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private unowned let listener: NetlinkListener
    init(_ listener: NetlinkListener) { self.listener = listener }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { listener.onMessages(unwrapInboundIn(data)) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { listener.reopen() }
  }
}
