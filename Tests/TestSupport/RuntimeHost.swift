import Feed
import Glibc
import PortMaps
import Subprocess

/// A machine of its own with a real container runtime (contrib/runtimes), and a remote client beside it. It ends with
/// this object, or with this process.
///
///   remote ─ 192.0.2.0/24, 2001:db8::/64 ─ host ─ the runtime's bridges ─ containers of the image "web"
package final class RuntimeHost {
  package enum Engine: String, Sendable, CaseIterable { case docker, podman }

  package let engine: Engine
  package let host: Node
  package let remote: Node
  private let directory: TemporaryDirectory
  /// The machine's main process, as seen from here; it waits for us to close the connection.
  private let first: pid_t
  private let sandbox: pid_t
  private var connection: Descriptor?

  /// The runtime's API.
  package var socket: String { "\(directory.path)/\(engine.rawValue).sock" }

  package init(_ engine: Engine) async throws {
    self.engine = engine
    directory = try TemporaryDirectory()
    let (path, ready) = (directory.path, directory.path + "/ready")
    let socket = "\(path)/\(engine.rawValue).sock"
    let listener = try Descriptor(Glibc.socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | O_CLOEXEC, 0), "socket")
    guard withUnixAddress(ready, { bind(listener.number, $0, $1) }) == 0, listen(listener.number, 1) == 0 else {
      throw SystemError("listen on \(ready)")
    }
    try await Self.image(at: path + "/image.tar")
    sandbox = try Self.spawn(
      [
        "\(projectDirectory)/contrib/runtimes/host.sh", engine.rawValue, socket, path + "/image.tar",
        "socat", "-u", "UNIX-CONNECT:\(ready)", "/dev/null",
      ], log: path + "/log")
    (connection, first) = try Self.accept(listener, from: sandbox, log: path + "/log")
    let namespace = try NetworkNamespace(path: "/proc/\(first)/ns/net")
    host = Node(name: "host", namespace: namespace, ipv4: "192.0.2.1", ipv6: "2001:db8::1")
    remote = Node(name: "remote", namespace: try NetworkNamespace(), ipv4: "192.0.2.2", ipv6: "2001:db8::2")
    try await namespace.command(
      "ip", "-batch", "-",
      input: """
        link add v-remote type veth peer name eth0 netns \(remote.namespace.path)
        address add 192.0.2.1/24 dev v-remote
        address add 2001:db8::1/64 dev v-remote nodad
        link set v-remote up
        """)
    try await remote.namespace.command(
      "ip", "-batch", "-",
      input: """
        link set lo up
        link set eth0 up
        address add 192.0.2.2/24 dev eth0
        address add 2001:db8::2/64 dev eth0 nodad
        """)
  }

  deinit {
    connection = nil
    var status: CInt = 0
    waitpid(sandbox, &status, 0)
  }

  private static func image(at path: String) async throws {
    let result = try await Subprocess.run(
      .name("sh"), arguments: ["-c", "\"$0\" > \"$1\"", "\(projectDirectory)/contrib/runtimes/image.sh", path],
      output: .discarded, error: .string(limit: 1 << 16))
    guard result.terminationStatus == .exited(0) else {
      throw NetworkNamespace.Failure(description: "image.sh: \(result.standardError)")
    }
  }

  private static func spawn(_ words: [String], log: String) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    posix_spawn_file_actions_adddup2(&actions, 1, 2)
    let pointers = words.map { strdup($0) } + [nil]
    defer { for pointer in pointers { free(pointer) } }
    var pid = pid_t()
    let status = posix_spawn(&pid, words[0], &actions, nil, pointers, environ)
    guard status == 0 else {
      errno = status
      throw SystemError("spawn \(words[0])")
    }
    return pid
  }

  /// The connection of the machine's main process, which is made once the runtime answers, and its number.
  private static func accept(
    _ listener: Descriptor, from sandbox: pid_t, log: String
  ) throws -> (Descriptor, pid_t) {
    var polled = [pollfd(fd: listener.number, events: Int16(POLLIN), revents: 0)]
    // A sandbox that ends instead has said why; one that hangs ends after a minute.
    guard poll(&polled, 1, 60_000) == 1 else {
      kill(sandbox, SIGTERM)
      throw NetworkNamespace.Failure(description: "the runtime did not get ready:\n\(try read(log))")
    }
    let connection = try Descriptor(accept4Cloexec(listener.number), "accept")
    // struct ucred of unix(7): pid, uid, gid.
    var credentials: (pid_t, uid_t, gid_t) = (0, 0, 0)
    var length = socklen_t(MemoryLayout.size(ofValue: credentials))
    guard getsockopt(connection.number, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0 else {
      throw SystemError("SO_PEERCRED")
    }
    return (connection, credentials.0)
  }

  private static func accept4Cloexec(_ listener: CInt) -> CInt {
    let connection = Glibc.accept(listener, nil, nil)
    if connection >= 0 { _ = fcntl(connection, F_SETFD, FD_CLOEXEC) }
    return connection
  }

  // MARK: Using it

  /// Runs a program on the machine and returns what it prints. Throws what it complains about when it fails.
  @discardableResult
  package func run(_ words: [String]) async throws -> String {
    let outcome = try await NetworkNamespace.outcome(
      of: ["nsenter", "--target", "\(first)", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"] + words)
    guard outcome.exitCode == 0 else {
      throw NetworkNamespace.Failure(
        description: "\(words.joined(separator: " ")): \(outcome.exitCode) \(outcome.errors)")
    }
    return outcome.output
  }

  /// `docker WORDS` or `podman WORDS`.
  @discardableResult
  package func client(_ words: String...) async throws -> String { try await client(words) }

  @discardableResult
  package func client(_ words: [String]) async throws -> String {
    // Not the first docker in PATH: a machine may have a newer client of another origin.
    try await run((engine == .docker ? ["/usr/bin/docker", "--host", "unix://\(socket)"] : ["podman"]) + words)
  }

  /// SIGKILL to the daemon.
  package func killDaemon() async throws {
    try await run([
      "sh", "-c", engine == .docker ? "kill -KILL $(cat /run/docker.pid)" : "kill -KILL $(cat /run/podman.pid)",
    ])
  }

  package func startDaemon() async throws {
    try await run(["\(projectDirectory)/contrib/runtimes/\(engine == .docker ? "dockerd" : "podman").sh", socket])
  }

  /// A running container, from inside. Its addresses are those of its first network.
  package func container(_ name: String) async throws -> Node {
    let format = "{{.State.Pid}}{{range .NetworkSettings.Networks}} {{.IPAddress}} {{.GlobalIPv6Address}}{{end}}"
    let words = try await client("inspect", "--format", format, name).split(whereSeparator: \.isWhitespace)
    let addresses = words.dropFirst().compactMap { IPAddress(parsing: $0) }
    return Node(
      name: name, namespace: try NetworkNamespace(path: "/proc/\(first)/root/proc/\(words[0])/ns/net"),
      ipv4: addresses.first { $0.family == .ipv4 } ?? .any(.ipv4),
      ipv6: addresses.first { $0.family == .ipv6 } ?? .any(.ipv6))
  }

  /// What `docker port` says, as `pmagent port` says it: `80/tcp -> 0.0.0.0:8080`, sorted.
  package func ports(_ name: String) async throws -> [String] {
    try await client("port", name).split(separator: "\n").map { line in
      let parts = String(line).split(separator: " -> ", maxSplits: 1).map(String.init)
      guard parts.count == 2, let colon = parts[1].lastIndex(of: ":"),
        let address = IPAddress(parsing: parts[1][..<colon])
      else { return String(line) }
      return "\(parts[0]) -> \(address.bracketed)\(parts[1][colon...])"
    }.sorted()
  }
}
