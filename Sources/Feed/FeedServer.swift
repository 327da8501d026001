import Glibc
import NIOCore
import NIOPosix
import PortMaps

/// Names a connection for as long as the server lives.
package struct ConnectionID: Sendable, Hashable, CustomStringConvertible {
  let number: Int
  package init(number: Int) { self.number = number }
  package var description: String { "\(number)" }
}

/// Who is at the other end of a connection, as the kernel recorded it at connect(2) (`SO_PEERCRED`).
package struct PeerCredentials: Sendable, Hashable {
  // The layout of `struct ucred`, unix(7).
  package var pid: Int32
  package var uid: UInt32
  package var gid: UInt32

  package init(pid: Int32, uid: UInt32, gid: UInt32) { (self.pid, self.uid, self.gid) = (pid, uid, gid) }

  /// The process at the other end of a connected `socket`: for who connected, the one that listens. `nil` when it is in a pid
  /// namespace that this one cannot see into.
  static func process(behind socket: Int32) -> Int32? {
    var (peer, size) = (PeerCredentials(pid: 0, uid: 0, gid: 0), socklen_t(MemoryLayout<PeerCredentials>.size))
    guard getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0, peer.pid > 0 else { return nil }
    return peer.pid
  }
}

/// Why a connection ended.
package enum CloseReason: Sendable {
  case byClient
  case byServer
  case lineTooLong
  /// The client left this many bytes of its watch stream unread.
  case tooSlow(unread: Int)
  case failed(any Error)
}

/// Lines on a Unix socket ⇄ requests and replies.
///
/// Requests are handed over in *rounds*: everything that had arrived on all connections when the event loop looked, so
/// that the agent can commit once for all of them. A connection has at most `linesPerRound` lines in a round and its
/// part ends with a query, whose reply may be large; the rest waits for the next round.
///
/// The lines of a connection wait while it leaves its replies unread, and it is not read while its line buffer is full,
/// so what it costs is bounded. What a watcher leaves unread is bounded by `unreadLimit`, beyond which it is closed. No
/// client can hold up another. Beyond `connectionLimit`, who connects waits until somebody leaves.
///
/// Belongs to its event loop: create it there and call it there.
package final class FeedServer {
  package struct Incoming: Sendable {
    package var connection: ConnectionID
    package var decoded: Decoded

    package init(connection: ConnectionID, decoded: Decoded) {
      (self.connection, self.decoded) = (connection, decoded)
    }
  }

  static let linesPerRound = 64

  private let loop: NIOIsolatedEventLoop
  private let eventLoop: any EventLoop
  private let unreadLimit: Int
  private let connectionLimit: Int
  private let onFull: () -> Void
  private let onRound: ([Incoming]) -> Void
  private let onClose: (ConnectionID, CloseReason) -> Void

  private var connections: [ConnectionID: Connection] = [:]
  private var lastNumber = 0
  /// Connections with lines for the next round, in the order of their arrival.
  private var waiting: [Connection] = []
  /// Connections with output that is not flushed.
  private var written: [Connection] = []
  private var isRoundScheduled = false
  private var isFull = false
  private var listeners: [(channel: any Channel, file: SocketFile?)] = []

  /// - Parameters:
  ///   - unreadLimit: Bytes of a watch stream a client may leave unread.
  ///   - connectionLimit: Clients at a time, and a few more. Without descriptors for them, accept(2) would fail again and again.
  ///   - onFull: Called when no more are let in.
  ///   - onRound: Gets a round and replies to each of its requests in order, before it returns.
  ///   - onClose: Called once for each connection, after the last of its requests was handed over.
  package init(
    eventLoop: any EventLoop, unreadLimit: Int = 64 << 20, connectionLimit: Int = 1024,
    onFull: @escaping () -> Void = {}, onRound: @escaping ([Incoming]) -> Void,
    onClose: @escaping (ConnectionID, CloseReason) -> Void
  ) {
    self.eventLoop = eventLoop
    self.loop = eventLoop.assumeIsolated()
    self.unreadLimit = unreadLimit
    self.connectionLimit = connectionLimit
    self.onFull = onFull
    self.onRound = onRound
    self.onClose = onClose
  }

  /// Accepts connections from `socket` until `close`.
  package func serve(_ socket: consuming ListeningSocket) -> EventLoopFuture<Void> {
    let (descriptor, file) = socket.release()
    let server = NIOLoopBound(self, eventLoop: eventLoop)
    return ServerBootstrap(group: eventLoop)
      // NIO listens once more.
      .serverChannelOption(.backlog, value: SOMAXCONN)
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelOption(.writeBufferWaterMark, value: .init(low: 256 << 10, high: 1 << 20))
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try server.value.open(channel) }
      }
      .withBoundSocket(descriptor)
      .assumeIsolated()
      .map { self.listeners.append(($0, file)) }
      .nonisolated()
  }

  /// Stops listening, removes the socket's file and ends every connection; what is written by then is still sent as far
  /// as the clients' socket buffers take it.
  package func close() {
    for listener in listeners {
      listener.file?.remove()
      listener.channel.close(promise: nil)
    }
    listeners = []
    flush()
    for connection in connections.values { connection.close(.byServer) }
  }

  /// Appends the reply to the next request of `connection`; nothing if it is gone.
  package func reply(_ reply: Reply, id: RequestID?, to connection: ConnectionID) {
    guard let connection = open(connection) else { return }
    reply.write(id: id, to: &connection.output)
  }

  /// Appends lines of a watch stream, LF included; nothing if `connection` is gone.
  package func push(_ lines: [UInt8], to connection: ConnectionID) {
    open(connection)?.push(lines)
  }

  /// `nil` once the connection is gone.
  package func credentials(of connection: ConnectionID) -> PeerCredentials? { connections[connection]?.credentials }

  // MARK: Rounds

  private func open(_ id: ConnectionID) -> Connection? {
    guard let connection = connections[id], !connection.isGone else { return nil }
    if !connection.hasOutput {
      written.append(connection)
      scheduleRound()
    }
    return connection
  }

  private func scheduleRound() {
    guard !isRoundScheduled else { return }
    isRoundScheduled = true
    // After the loop has looked at every socket that is ready now.
    loop.execute { self.runRound() }
  }

  private func runRound() {
    isRoundScheduled = false
    let part = waiting
    waiting = []
    var round: [Incoming] = []
    for connection in part { connection.takeLines(into: &round) }
    if !round.isEmpty { onRound(round) }
    flush()
    for connection in part { settle(connection) }
  }

  private func flush() {
    let connections = written
    written = []
    for connection in connections { connection.flush(unreadLimit: unreadLimit) }
  }

  // MARK: Connections

  private func open(_ channel: any Channel) throws {
    lastNumber += 1
    let connection = Connection(id: ConnectionID(number: lastNumber), server: self)
    try channel.pipeline.syncOperations.addHandler(connection)
    connections[connection.id] = connection
    if connections.count >= connectionLimit, !isFull {
      onFull()
      setFull(true)
    }
  }

  /// Accepts no more, or again: who connects meanwhile waits in the socket's queue.
  private func setFull(_ isFull: Bool) {
    self.isFull = isFull
    // Fails for a listener that is closed, which accepts nobody either.
    for listener in listeners { _ = listener.channel.setOption(.autoRead, value: !isFull) }
  }

  /// Decides what comes next for a connection in which something has changed.
  func settle(_ connection: Connection) {
    guard connections[connection.id] === connection, !connection.isWaiting else { return }
    if connection.hasLines {
      if connection.isWritable || connection.isGone {
        connection.isWaiting = true
        waiting.append(connection)
        scheduleRound()
      }
    } else if connection.isGone {
      connections[connection.id] = nil
      if isFull, connections.count < connectionLimit { setFull(false) }
      onClose(connection.id, connection.closeReason)
    } else if connection.isFinished {
      connection.closeAfterFlush()
    }
    connection.readIfWanted()
  }
}
