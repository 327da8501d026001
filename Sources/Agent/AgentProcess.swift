import CLinux
import CrashPoints
import Feed
import Glibc
import Logging
import NIOCore
import NIOPosix
import Netfilter
import PortMaps
import Runtimes
import Storage

/// `pmagent run`: wires the core to its socket and to the process it lives in.
///
/// One event loop owns everything; the main thread only waits for signals. Runtimes are followed on a loop of their own,
/// as clients of the socket.
package struct AgentProcess {
  /// A configuration file to read again on SIGHUP, and what the command line says instead of it.
  package typealias Load = @Sendable () throws -> Configuration

  private let load: Load
  private let log: Logger

  package init(log: Logger, load: @escaping Load) { (self.load, self.log) = (load, log) }

  /// Runs until SIGTERM or SIGINT; mappings stay in place. Fails when it cannot start, having changed nothing.
  package func run() throws {
    // Whoever reads the log may go away.
    signal(SIGPIPE, SIG_IGN)
    // Before there are threads: they inherit the mask, and sigwait(3) is the only receiver; the environment is theirs too.
    let signals = Signals.block(SIGTERM, SIGINT, SIGHUP)
    let inherited = Inherited(ServiceManager.takeDescriptors())
    let configuration = try load()
    raiseDescriptorLimit(log)
    // By default what an event frees goes back to the kernel at its end and is faulted in again for the next, page by page.
    mallopt(M_TRIM_THRESHOLD, 4 << 20)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let loop = group.next()
    let (agent, socket) = try loop.submit {
      let core = try Core(configuration, inherited, loop: loop, log: log)
      return (NIOLoopBound(core, eventLoop: loop), core.socket)
    }.wait()
    try loop.flatSubmit { agent.value.serve() }.wait()
    log.notice("ready", metadata: ["socket": "\(socket)", "database": "\(configuration.database)"])
    ServiceManager.notify("READY=1")
    let followers = Followers.start(configuration, agent, socket, loop, log)
    while signals.next() == SIGHUP { reload(agent, loop) }
    ServiceManager.notify("STOPPING=1")
    log.notice("stopping; the mappings stay in place")
    try followers?.stop()
    let failure = try loop.submit { [agent] in
      agent.value.stop()
      return agent.value.failure
    }.wait()
    try group.syncShutdownGracefully()
    if let failure { throw failure }
  }

  private func reload(_ agent: NIOLoopBound<Core>, _ loop: any EventLoop) {
    do {
      let configuration = try load()
      let waiting = try loop.submit { try agent.value.mapper.reconfigure(configuration) }.wait()
      log.notice(
        "configuration read again",
        metadata: waiting.isEmpty ? [:] : ["needs-restart": "\(waiting.joined(separator: ", "))"])
    } catch {
      log.error("the configuration is refused, the old one stays", metadata: ["error": "\(error)"])
    }
  }
}

/// What the service manager has handed over.
private struct Inherited {
  /// The socket of a socket unit.
  var feed: CInt?
  /// The netlink socket that an earlier process of this service had given it to keep.
  var table: CInt?

  init(_ descriptors: [(name: String, descriptor: CInt)]) {
    for (name, descriptor) in descriptors {
      if name == PortMapper.tableSocketName { table = descriptor } else { feed = descriptor }
    }
  }
}

/// The runtimes that are followed, and their thread.
private struct Followers {
  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
  private let followers: NIOLoopBoundBox<[RuntimeFollower]>

  /// `nil` when there is nothing to follow, which needs no thread.
  static func start(
    _ configuration: Configuration, _ agent: NIOLoopBound<Core>, _ socket: String, _ loop: any EventLoop, _ log: Logger
  ) -> Followers? {
    if configuration.runtimes.isEmpty { return nil }
    let health = configuration.runtimes.map { RuntimeHealth(of: $0) }
    loop.execute { agent.value.mapper.runtimes = health }
    return Followers(health, agentSocket: socket, log)
  }

  private init(_ health: [RuntimeHealth], agentSocket: String, _ log: Logger) {
    let own = group.next()
    let followers = NIOLoopBoundBox.makeBoxSendingValue([RuntimeFollower](), eventLoop: own)
    self.followers = followers
    own.execute {
      followers.value = health.map { RuntimeFollower($0, agentSocket: agentSocket, on: own, log: log) }
      for follower in followers.value { follower.start() }
    }
  }

  func stop() throws {
    try group.next().submit { for follower in followers.value { follower.stop() } }.wait()
    try group.syncShutdownGracefully()
  }
}

/// What lives on the event loop.
private final class Core {
  let mapper: PortMapper
  /// Where the agent is reached: a socket unit's path wins over the configuration's.
  let socket: String
  private let loop: any EventLoop
  private let log: Logger
  private(set) var failure: (any Error)?
  private var listener: ListeningSocket?
  private var server: FeedServer?
  private var retry: Scheduled<Void>?
  private var netlink: [NetlinkListener] = []

  init(_ configuration: Configuration, _ inherited: Inherited, loop: any EventLoop, log: Logger) throws {
    (self.loop, self.log) = (loop, log)
    // Both before the kernel is touched: its table may be that of an agent which runs.
    let store = try Store.openUnverified(at: configuration.database, access: .readWrite)
    let listener =
      if let feed = inherited.feed { try ListeningSocket.adopt(feed) } else {
        try ListeningSocket.listen(at: configuration.socket)
      }
    socket = listener.path
    do {
      mapper = try PortMapper.start(configuration, store, tableSocket: inherited.table, log: log)
    } catch {
      listener.close()
      throw error
    }
    self.listener = consume listener
  }

  func serve() -> EventLoopFuture<Void> {
    let server = FeedServer(
      eventLoop: loop, connectionLimit: connectionLimit(),
      onFull: { [log] in
        log.warning(
          "as many clients are connected as are let in: others wait until one leaves",
          metadata: ["clients": "\(connectionLimit())"])
      },
      onRound: { [unowned self] in handle($0) },
      onClose: { [unowned self] connection, reason in
        mapper.connectionClosed(connection)
        log.debug("connection closed", metadata: ["connection": "\(connection)", "reason": "\(reason)"])
      })
    mapper.tellWatchers = { [unowned server] connections, changes in
      var writer = JSONWriter()
      for (change, mapping) in changes { mapping.write(change, to: &writer) }
      for connection in connections { server.push(writer.bytes, to: connection) }
    }
    self.server = server
    retryIfWaiting()
    mapper.keepTableSocket()
    mapper.endStaleFlows()
    netlink = [
      HostEvents.listener(on: loop, log: log) { [unowned self] event in
        mapper.hostChanged(event)
        retryIfWaiting()
      }
    ]
    if let kernel = mapper.kernel, kernel.ownership == .plain { netlink.append(tableListener(kernel)) }
    do {
      let started = try netlink.map { try $0.start() }
      guard let listener = listener.take() else { preconditionFailure("served twice") }
      return EventLoopFuture.andAllSucceed(started, on: loop)
        .and(server.serve(listener)).assumeIsolated().map { [unowned self] _ in mapper.tableMayHaveChanged() }
        .nonisolated()
    } catch {
      return loop.makeFailedFuture(error)
    }
  }

  /// Tells the core when another program changes a table that anyone may change.
  private func tableListener(_ kernel: any RulesetStore) -> NetlinkListener {
    var notices = RulesetNotices()
    return NetlinkListener(
      of: "the kernel's tables", on: loop, log: log, openSocket: RulesetNotices.openSocket,
      onMessages: { [unowned self] buffer in
        buffer.withUnsafeReadableBytes { notices.add($0, own: kernel.portID) { mapper.tableChanged(by: $0) } }
      },
      onLoss: { [unowned self] in
        notices = RulesetNotices()
        mapper.tableMayHaveChanged()
      })
  }

  private func handle(_ round: [FeedServer.Incoming]) {
    crashPoint("round-read")
    var asked = round.makeIterator()
    mapper.handle(round) { reply in
      guard let incoming = asked.next() else { preconditionFailure("a reply to nothing") }
      // What is on disk is not known then, so nobody is told anything of it.
      if mapper.failure == nil { server?.reply(reply, id: incoming.decoded.id, to: incoming.connection) }
    }
    if endIfFailed() { return }
    crashPoint("round-replied")
    retryIfWaiting()
    // After the replies: the server flushes them when this returns.
    if mapper.hasStaleFlows {
      loop.assumeIsolated().execute { [weak self] in
        self?.mapper.endStaleFlows()
        self?.endIfFailed()
      }
    }
  }

  /// Ends the program, as SIGTERM does, without a reply to whoever waits for one.
  @discardableResult private func endIfFailed() -> Bool {
    guard let failure = mapper.failure else { return false }
    if self.failure == nil {
      self.failure = failure
      log.critical(
        """
        what is on disk is not known any more, so the agent ends; the mappings stay in place, and its next start makes \
        the kernel what is stored
        """, metadata: ["error": "\(failure)"])
      stop()
      kill(getpid(), SIGTERM)
    }
    return true
  }

  /// Ports that another program took, and a table that could not be repaired, have no event to wait for, so they are tried
  /// every few seconds; an agent that waits for neither never wakes up.
  private func retryIfWaiting() {
    guard !endIfFailed(), retry == nil, mapper.waits else { return }
    retry = loop.assumeIsolated().scheduleTask(in: .seconds(2)) { [weak self] in
      guard let self else { return }
      retry = nil
      mapper.retryWaiting()
      mapper.repairIfOwed()
      if mapper.owesFlows { mapper.endStaleFlows() }
      retryIfWaiting()
    }
  }

  func stop() {
    retry?.cancel()
    for listener in netlink { listener.close() }
    server?.close()
    server = nil
  }
}
