// GET requests to a daemon's Unix socket. Each has a connection of its own: connect(2) costs less than the daemon's answer,
// and nothing is left to go wrong between two requests (a daemon that closes idle connections, an answer that was not read
// to its end).

import NIOCore
import NIOHTTP1
import NIOPosix

enum HTTPError: Error, CustomStringConvertible {
  case status(UInt, message: String)
  /// The daemon closed the connection before the end of its answer.
  case endedEarly
  case tooLong(limit: Int)
  case timedOut(seconds: Int64)

  var description: String {
    switch self {
    case .status(let code, let message): "HTTP status \(code): \(message)"
    case .endedEarly: "the daemon closed the connection in the middle of its answer"
    case .tooLong(let limit): "the daemon's answer is longer than \(limit) bytes"
    case .timedOut(let seconds): "no answer within \(seconds) seconds"
    }
  }
}

/// Belongs to its event loop.
struct HTTPClient: Sendable {
  let path: String
  let loop: any EventLoop

  /// Bytes of an answer. A container that publishes every port there is has some 15 MB.
  static let answerLimit = 64 << 20
  /// Bytes of a line of a stream; labels of containers are part of it.
  static let lineLimit = 4 << 20
  static let patience = TimeAmount.seconds(10)

  /// The body of an answer with status 200; fails with `HTTPError` or what connect(2) says.
  func get(_ target: String) -> EventLoopFuture<[UInt8]> {
    let answer = loop.makePromise(of: [UInt8].self)
    let deadline = loop.scheduleTask(in: Self.patience) {
      answer.fail(HTTPError.timedOut(seconds: Self.patience.nanoseconds / 1_000_000_000))
    }
    let connection = connect(target) { HTTPAnswer(answer) }
    connection.whenFailure { answer.fail($0) }
    answer.futureResult.whenComplete { _ in
      deadline.cancel()
      connection.whenSuccess { $0.close(promise: nil) }
    }
    return answer.futureResult
  }

  /// Lines of an answer that does not end, each without its LF, from the moment it begins with status 200. The channel
  /// closes when the stream has ended, whatever the reason; `onEnd` is told which.
  func follow(
    _ target: String, onLine: @escaping ([UInt8]) -> Void, onEnd: @escaping (any Error) -> Void
  ) -> EventLoopFuture<any Channel> {
    let begun = loop.makePromise(of: Void.self)
    let deadline = loop.scheduleTask(in: Self.patience) {
      begun.fail(HTTPError.timedOut(seconds: Self.patience.nanoseconds / 1_000_000_000))
    }
    let stream = NIOLoopBound(HTTPLines(begun, onLine: onLine, onEnd: onEnd), eventLoop: loop)
    let connection = connect(target) { stream.value }
    connection.whenFailure { begun.fail($0) }
    begun.futureResult.whenComplete { result in
      deadline.cancel()
      if case .failure = result { connection.whenSuccess { $0.close(promise: nil) } }
    }
    return begun.futureResult.flatMap { connection }
  }

  private func connect(
    _ target: String, _ handler: @escaping @Sendable () -> some ChannelHandler
  ) -> EventLoopFuture<any Channel> {
    ClientBootstrap(group: loop)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHTTPClientHandlers()
          try channel.pipeline.syncOperations.addHandler(handler())
        }
      }
      .connect(unixDomainSocketPath: path)
      .map { channel in
        // HTTP/1.1 asks for a Host; a socket has none, and daemons ignore it.
        let headers: HTTPHeaders = ["Host": "localhost", "User-Agent": "pmagent", "Connection": "close"]
        let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: target, headers: headers)
        channel.write(HTTPClientRequestPart.head(head), promise: nil)
        channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
        return channel
      }
  }
}

/// Collects an answer to its end.
private final class HTTPAnswer: ChannelInboundHandler {
  typealias InboundIn = HTTPClientResponsePart

  private let answer: EventLoopPromise<[UInt8]>
  private var status = HTTPResponseStatus.ok
  private var body: [UInt8] = []

  init(_ answer: EventLoopPromise<[UInt8]>) { self.answer = answer }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): status = head.status
    case .body(let bytes):
      guard body.count + bytes.readableBytes <= HTTPClient.answerLimit else {
        return answer.fail(HTTPError.tooLong(limit: HTTPClient.answerLimit))
      }
      body.append(contentsOf: bytes.readableBytesView)
    case .end:
      if status == .ok { answer.succeed(body) } else { answer.fail(HTTPError(status, body)) }
    }
  }

  func channelInactive(context: ChannelHandlerContext) { answer.fail(HTTPError.endedEarly) }
  func errorCaught(context: ChannelHandlerContext, error: any Error) { answer.fail(error) }
}

/// Takes an answer apart into lines as they come.
private final class HTTPLines: ChannelInboundHandler {
  typealias InboundIn = HTTPClientResponsePart

  private let begun: EventLoopPromise<Void>
  private let onLine: ([UInt8]) -> Void
  private let onEnd: (any Error) -> Void
  private var line: [UInt8] = []
  private var isOver = false

  init(_ begun: EventLoopPromise<Void>, onLine: @escaping ([UInt8]) -> Void, onEnd: @escaping (any Error) -> Void) {
    (self.begun, self.onLine, self.onEnd) = (begun, onLine, onEnd)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if isOver { return }
    switch unwrapInboundIn(data) {
    case .head(let head) where head.status == .ok: begun.succeed()
    case .head(let head): end(HTTPError(head.status, []), context)
    case .body(let bytes): append(bytes.readableBytesView, context)
    case .end: end(HTTPError.endedEarly, context)
    }
  }

  private func append(_ bytes: ByteBufferView, _ context: ChannelHandlerContext) {
    var rest = bytes[...]
    while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
      line.append(contentsOf: rest[..<end])
      let complete = line
      line = []
      if !complete.isEmpty { onLine(complete) }
      if isOver { return }
      rest = rest[(end + 1)...]
    }
    line.append(contentsOf: rest)
    if line.count > HTTPClient.lineLimit { end(HTTPError.tooLong(limit: HTTPClient.lineLimit), context) }
  }

  private func end(_ error: any Error, _ context: ChannelHandlerContext) {
    if isOver { return }
    isOver = true
    begun.fail(error)
    onEnd(error)
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) { end(HTTPError.endedEarly, context) }
  func errorCaught(context: ChannelHandlerContext, error: any Error) { end(error, context) }
}

extension HTTPError {
  /// Docker's errors are `{"message":"…"}`, Podman's have more members.
  fileprivate init(_ status: HTTPResponseStatus, _ body: [UInt8]) {
    var message = status.reasonPhrase
    do {
      let text = try Part(parsing: body)["message"].string()
      if !text.isEmpty { message = text }
    } catch {
      // Not an answer of the daemon's own; the status says enough.
    }
    self = .status(status.code, message: message)
  }
}
