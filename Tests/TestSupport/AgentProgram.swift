import CLinux
import Feed
import Glibc
import PortMaps

/// The built `pmagent`, running in a namespace with a socket and a database of its own.
package final class AgentProgram {
  package let namespace: NetworkNamespace
  package let directory: TemporaryDirectory
  package private(set) var process: pid_t = 0
  private var connection: AgentClient?

  package var socket: String { directory.path + "/agent.sock" }
  package var database: String { directory.path + "/state.db" }
  package var configuration: String { directory.path + "/pmagent.toml" }
  package var log: String { directory.path + "/log" }

  /// Writes `configuration` and starts the agent.
  package convenience init(
    in namespace: NetworkNamespace, configuration text: String = "", keepsSocket: Bool = false
  ) throws {
    try self.init(in: namespace, at: TemporaryDirectory(), configuration: text, keepsSocket: keepsSocket)
    try start()
  }

  /// Does not start it. Its files are in `directory`.
  package init(
    in namespace: NetworkNamespace, at directory: TemporaryDirectory, configuration text: String = "",
    keepsSocket: Bool = false
  ) throws {
    (self.namespace, self.directory, self.keepsSocket) = (namespace, directory, keepsSocket)
    try write(text, to: configuration)
  }

  deinit { kill() }

  /// The program beside the test bundle.
  package static let path: String = {
    var path = [UInt8](repeating: 0, count: 4096)
    let count = path.withUnsafeMutableBytes { bytes in
      // 4096 bytes are not an empty buffer, so it has a base address.
      readlink("/proc/self/exe", bytes.assumingMemoryBound(to: CChar.self).baseAddress!, bytes.count)
    }
    let runner = String(decoding: path.prefix(count), as: UTF8.self)
    return runner.split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" } + "/pmagent"
  }()

  /// Whether it is given back the socket it asked to be kept, as a service manager does. Otherwise that is closed.
  private let keepsSocket: Bool
  private var kept: Descriptor?

  /// Starts it and waits for its `READY=1`; `environment` is what it gets of one besides.
  package func start(environment: [String] = []) throws {
    let notify = directory.path + "/notify"
    unlink(notify)
    let ready = try Descriptor(Glibc.socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue) | O_CLOEXEC, 0), "socket")
    guard withUnixAddress(notify, { bind(ready.number, $0, $1) }) == 0 else { throw SystemError("bind \(notify)") }
    process = try spawn(arguments, environment: environment + ["NOTIFY_SOCKET=\(notify)", "PATH=/usr/bin:/bin"])
    var limit = timeval(tv_sec: 30, tv_usec: 0)
    setsockopt(ready.number, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    kept = nil
    while true {
      let message = Notification(receivedOn: ready)
      if message.text.hasPrefix("READY=1") { break }
      if message.text.isEmpty {
        throw NetworkNamespace.Failure(description: "the agent did not get ready:\n\(try read(log))")
      }
      if message.text.hasPrefix("FDSTORE=1"), keepsSocket { kept = message.descriptor }
    }
    connection = try client()
  }

  private var arguments: [String] {
    ["run", "--socket", socket, "--database", database, "--config", configuration]
  }

  /// Starts it and waits for its end; one that lives on after half a minute is killed, and fails the test.
  package func startAndEnd(environment: [String] = []) throws -> End {
    process = try spawn(arguments, environment: environment)
    let pidfd = try Descriptor(clinux_pidfd_open(process, 0), "pidfd_open")
    var end = pollfd(fd: pidfd.number, events: Int16(POLLIN), revents: 0)
    guard poll(&end, 1, 30_000) > 0 else {
      kill()
      throw NetworkNamespace.Failure(description: "the agent does not end:\n\(try read(log))")
    }
    return wait()
  }

  private func spawn(_ arguments: [String], environment: [String]) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 2, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    var words = [Self.path] + arguments
    if let kept {
      posix_spawn_file_actions_adddup2(&actions, kept.number, 3)
      // Only the new process knows its id.
      let variables = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=table"
      words = ["/bin/sh", "-c", #"\#(variables) exec "$@""#, "sh"] + words
    }
    let strings = words.map { strdup($0) } + [nil]
    let variables = environment.map { strdup($0) } + [nil]
    defer { for pointer in strings + variables { free(pointer) } }
    var pid = pid_t()
    let status = namespace.run { posix_spawn(&pid, words[0], &actions, nil, strings, variables) }
    guard status == 0 else {
      errno = status
      throw SystemError("spawn \(Self.path)")
    }
    return pid
  }

  /// Ends it in good order and starts it with another configuration.
  package func restart(configuration text: String) throws {
    terminate()
    try write(text, to: configuration)
    try start()
  }

  /// SIGKILL, as a crash.
  package func kill() { end(SIGKILL) }
  /// SIGTERM; returns the exit code, `nil` when a signal ended it.
  @discardableResult package func terminate() -> CInt? { end(SIGTERM) }
  package func signal(_ number: CInt) { Glibc.kill(process, number) }

  @discardableResult private func end(_ number: CInt) -> CInt? {
    guard process != 0 else { return nil }
    Glibc.kill(process, number)
    guard case .exit(let code) = wait() else { return nil }
    return code
  }

  package enum End: Equatable, Sendable {
    case exit(CInt)
    case signal(CInt)
  }

  /// Waits until it ends.
  package func wait() -> End {
    var status: CInt = 0
    waitpid(process, &status, 0)
    process = 0
    connection = nil
    return status & 0x7f == 0 ? .exit(status >> 8 & 0xff) : .signal(status & 0x7f)
  }

  /// Sends one line and returns the reply.
  @discardableResult
  package func send(_ line: String) throws -> JSON {
    guard let connection else { throw NetworkNamespace.Failure(description: "the agent is not running") }
    return try connection.ask(line)
  }

  /// Sends one line whose reply must be `"ok": true`.
  @discardableResult
  package func succeed(_ line: String) throws -> JSON {
    guard let connection else { throw NetworkNamespace.Failure(description: "the agent is not running") }
    return try connection.succeed(line)
  }

  /// Another connection.
  package func client() throws -> AgentClient { try AgentClient(to: socket) }

  /// Runs one `pmagent` command in the namespace and returns what it prints.
  package func command(_ words: String...) async throws -> String {
    try await namespace.command([Self.path] + words)
  }

  /// Waits until the agent has logged a line that contains all of `texts`, now or since its start.
  package func waitForLog(_ texts: String...) throws {
    let changes = try Descriptor(inotify_init1(O_CLOEXEC), "inotify_init1")
    guard inotify_add_watch(changes.number, log, UInt32(IN_MODIFY)) >= 0 else { throw SystemError("watch \(log)") }
    var events = [UInt8](repeating: 0, count: 4096)
    while try !read(log).split(separator: "\n").contains(where: { line in texts.allSatisfy(line.contains) }) {
      var change = pollfd(fd: changes.number, events: Int16(POLLIN), revents: 0)
      guard poll(&change, 1, 30_000) > 0, Glibc.read(changes.number, &events, events.count) > 0 else {
        throw NetworkNamespace.Failure(description: "no line of the log contains \(texts):\n\(try read(log))")
      }
    }
  }
}

/// One connection to an agent.
package final class AgentClient {
  private var client: FeedClient
  /// An agent that does not answer for two minutes fails the test instead of keeping it.
  package init(to path: String) throws(FeedClientError) { client = try .connect(to: path, limit: .seconds(120)) }

  package func send(_ line: String) throws { try client.send(Array(line.utf8)) }

  /// The next line; `nil` once the agent has closed the connection.
  package func receive() throws -> JSON? {
    guard let line = try client.receiveLine() else { return nil }
    return try JSON(parsing: line)
  }

  package func ask(_ line: String) throws -> JSON {
    try send(line)
    guard let reply = try receive() else {
      throw NetworkNamespace.Failure(description: "the agent closed the connection instead of answering \(line)")
    }
    return reply
  }

  /// Sends one line whose reply must be `"ok": true`.
  @discardableResult
  package func succeed(_ line: String) throws -> JSON {
    let reply = try ask(line)
    guard reply["ok"] == .bool(true) else {
      throw NetworkNamespace.Failure(description: "\(line) was answered \(reply)")
    }
    return reply
  }

  /// Asks all at once, as a client that pipelines.
  package func ask(_ lines: [String]) throws -> [JSON] {
    try send(lines.joined(separator: "\n"))
    return try lines.map { line in
      guard let reply = try receive() else {
        throw NetworkNamespace.Failure(description: "the agent closed the connection instead of answering \(line)")
      }
      return reply
    }
  }
}

package func withUnixAddress<R>(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
  var address = sockaddr_un()
  address.sun_family = sa_family_t(AF_UNIX)
  withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8).prefix(107)) }
  return withUnsafePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
    }
  }
}

package func write(_ text: String, to path: String) throws(SystemError) {
  let file = try Descriptor(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600), "open \(path)")
  let bytes = Array(text.utf8)
  guard Glibc.write(file.number, bytes, bytes.count) == bytes.count else { throw SystemError("write \(path)") }
}

package func read(_ path: String) throws(SystemError) -> String {
  let file = try Descriptor(open(path, O_RDONLY | O_CLOEXEC), "open \(path)")
  var (text, chunk) = ([UInt8](), [UInt8](repeating: 0, count: 65536))
  while true {
    let count = Glibc.read(file.number, &chunk, chunk.count)
    guard count >= 0 else { throw SystemError("read \(path)") }
    if count == 0 { return String(decoding: text, as: UTF8.self) }
    text += chunk[..<count]
  }
}
