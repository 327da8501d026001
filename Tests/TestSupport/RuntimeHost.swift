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
  private let machine: Machine
  private let directory: TemporaryDirectory

  /// The runtime's API.
  package var socket: String { "\(directory.path)/\(engine.rawValue).sock" }

  package init(_ engine: Engine) async throws {
    self.engine = engine
    directory = try TemporaryDirectory()
    let image = directory.path + "/image.tar"
    try await Self.image(at: image)
    machine = try Machine([
      "\(projectDirectory)/contrib/runtimes/host.sh", engine.rawValue,
      "\(directory.path)/\(engine.rawValue).sock", image,
    ])
    let namespace = machine.namespace
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

  private static func image(at path: String) async throws {
    let result = try await Subprocess.run(
      .name("sh"), arguments: ["-c", "\"$0\" > \"$1\"", "\(projectDirectory)/contrib/runtimes/image.sh", path],
      output: .discarded, error: .string(limit: 1 << 16))
    guard result.terminationStatus == .exited(0) else {
      throw NetworkNamespace.Failure(description: "image.sh: \(result.standardError)")
    }
  }

  // MARK: Using it

  /// Runs a program on the machine and returns what it prints. Throws what it complains about when it fails.
  @discardableResult
  package func run(_ words: [String]) async throws -> String { try await machine.run(words) }

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
      name: name, namespace: try NetworkNamespace(path: machine.path("/proc/\(words[0])/ns/net")),
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
