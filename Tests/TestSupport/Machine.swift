import Glibc

/// A machine of its own, made by a script of contrib that ends up in `sandbox.sh`. It ends with this object, or with this
/// process.
package final class Machine {
  /// Of the machine's processes, as seen from here.
  private let inside: pid_t
  private let script: pid_t
  private let directory: TemporaryDirectory
  /// The machine's last process waits for us to close it.
  private var connection: Descriptor?
  package let namespace: NetworkNamespace

  /// Runs `script`, whose last arguments are a command to run on the machine, and which ends with that command.
  package init(_ script: [String]) throws {
    directory = try TemporaryDirectory()
    let (ready, log) = (directory.path + "/ready", directory.path + "/log")
    let listener = try Descriptor(Glibc.socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | O_CLOEXEC, 0), "socket")
    guard withUnixAddress(ready, { bind(listener.number, $0, $1) }) == 0, listen(listener.number, 1) == 0 else {
      throw SystemError("listen on \(ready)")
    }
    self.script = try Self.spawn(script + ["/usr/bin/socat", "-u", "UNIX-CONNECT:\(ready)", "/dev/null"], log: log)
    var polled = pollfd(fd: listener.number, events: Int16(POLLIN), revents: 0)
    // A script that ends instead has said why; one that hangs ends after a minute.
    guard poll(&polled, 1, 60_000) == 1 else {
      kill(self.script, SIGTERM)
      throw NetworkNamespace.Failure(description: "\(script) did not get ready:\n\(try read(log))")
    }
    let connection = try Descriptor(accept(listener.number, nil, nil), "accept")
    // A child of ours that inherited it would keep the machine.
    _ = fcntl(connection.number, F_SETFD, FD_CLOEXEC)
    // struct ucred of unix(7): pid, uid, gid.
    var credentials: (pid_t, uid_t, gid_t) = (0, 0, 0)
    var length = socklen_t(MemoryLayout.size(ofValue: credentials))
    guard getsockopt(connection.number, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0 else {
      throw SystemError("SO_PEERCRED")
    }
    self.connection = connection
    inside = credentials.0
    namespace = try NetworkNamespace(path: "/proc/\(inside)/ns/net")
  }

  deinit {
    connection = nil
    var status: CInt = 0
    waitpid(script, &status, 0)
  }

  /// A file of the machine, as seen from here.
  package func path(_ path: String) -> String { "/proc/\(inside)/root\(path)" }

  /// Runs a program on the machine and returns what it prints. Throws what it complains about when it fails.
  @discardableResult
  package func run(_ words: String...) async throws -> String { try await run(words) }

  @discardableResult
  package func run(_ words: [String]) async throws -> String {
    let outcome = try await outcome(of: words)
    guard outcome.exitCode == 0 else {
      throw NetworkNamespace.Failure(
        description: "\(words.joined(separator: " ")): exit code \(outcome.exitCode) \(outcome.errors)")
    }
    return outcome.output
  }

  /// Runs a program on the machine, whatever comes of it.
  package func outcome(of words: [String]) async throws -> NetworkNamespace.Outcome {
    try await NetworkNamespace.outcome(of: ["nsenter", "--target", "\(inside)", "--all"] + words)
  }

  private static func spawn(_ words: [String], log: String) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
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
}
