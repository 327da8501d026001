import Foundation

/// The program, running in a network namespace of its own.
final class AgentUnderTest {
  let namespace: String
  let database: String
  let socket: String
  private let process = Process()

  /// `owner`: of its table. `environment`: added to ours.
  init(
    _ tools: Tools, namespace: String, database: String, owner: Bool = true, environment: [String: String] = [:]
  ) throws {
    (self.namespace, self.database) = (namespace, database)
    socket = "/run/bench/\(namespace).sock"
    try tools.addNamespace(namespace)
    // There may be none.
    try? FileManager.default.removeItem(atPath: socket)
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments =
      ["ip", "netns", "exec", namespace] + Self.command(tools, socket: socket, database: database, owner: owner)
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardError = FileHandle(forWritingAtPath: "/dev/null")
    try process.run()
    // It serves once its socket is there. Nothing is measured meanwhile, so looking every 10 ms costs nobody anything.
    while !FileManager.default.fileExists(atPath: socket) {
      guard process.isRunning else { throw Failure("the agent did not start in \(namespace)") }
      Thread.sleep(forTimeInterval: 0.01)
    }
  }

  static func command(_ tools: Tools, socket: String, database: String, owner: Bool = true) -> [String] {
    let configuration = owner ? tools.configuration : tools.plainConfiguration
    return [tools.agent, "run", "--config", configuration, "--socket", socket, "--database", database]
  }

  var pid: Int32 { process.processIdentifier }

  func stop() {
    process.terminate()
    process.waitUntilExit()
  }

  /// Resident memory in bytes.
  var memory: Double { field("VmRSS:", of: "/proc/\(pid)/status") * 1024 }
  /// Without limit when it has died, so that no threshold takes that for none.
  var descriptors: Double {
    (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd")).map { Double($0.count) } ?? .infinity
  }
  /// Of all threads: how often they went to sleep.
  var switches: Double {
    // A process that has died is found out by `descriptors`.
    let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? []
    return tasks.reduce(0) { $0 + field("voluntary_ctxt_switches:", of: "/proc/\(pid)/task/\($1)/status") }
  }
  /// The size of the write-ahead log in bytes.
  var walSize: Double {
    // SQLite may not have made it yet.
    let attributes = try? FileManager.default.attributesOfItem(atPath: database + "-wal")
    return (attributes?[.size] as? NSNumber)?.doubleValue ?? 0
  }
  func elements(_ tools: Tools) throws -> Double {
    try tools.measure("elements", "pmagent", in: namespace)["elements"].median
  }

  private func field(_ name: String, of path: String) -> Double {
    let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
    return line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Double($0) } ?? .nan
  }
}

/// Where things are.
struct Tools {
  var agent: String
  var floor: String
  /// libmallocs.so.
  var mallocs: String
  var configuration = "/run/bench/pmagent.toml"
  /// The same with `owner = false`.
  var plainConfiguration = "/run/bench/plain.toml"
  /// On the machine's disk.
  var disk: String
  /// On a tmpfs, where a durable commit costs nothing: what remains is the agent's own work.
  var memory = "/run/bench/memory"

  func prepare() throws {
    for directory in [disk, memory] {
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    }
    // As many sockets as mappings would need a descriptor limit that not every machine has.
    let sources = ["bulk", "churn"].map { "[source.\($0)]\nhold_ports = \"none\"\n" }
    try sources.joined().write(toFile: configuration, atomically: false, encoding: .utf8)
    try ("owner = false\n" + sources.joined()).write(toFile: plainConfiguration, atomically: false, encoding: .utf8)
  }

  /// Does nothing when it is there.
  func addNamespace(_ name: String) throws {
    if FileManager.default.fileExists(atPath: "/run/netns/\(name)") { return }
    try run("ip", "netns", "add", name)
    try run("ip", "-n", name, "link", "set", "lo", "up")
  }

  /// Runs a command of `floor`.
  func measure(_ command: String..., arguments: [String] = [], in namespace: String? = nil) throws -> Measurements {
    let enter = namespace.map { ["ip", "netns", "exec", $0] } ?? []
    return try Measurements(parsing: run(enter + [floor] + command + arguments))
  }

  /// How long a command takes, from the fork to its end.
  func time(_ command: String, count: Int) throws -> Samples {
    try time(Array(repeating: command, count: count), in: nil)
  }

  /// The same for commands that are run one after the other.
  func time(_ commands: [String], in namespace: String?) throws -> Samples {
    let path = "/run/bench/commands"
    try commands.joined(separator: "\n").write(toFile: path, atomically: false, encoding: .utf8)
    return try measure("commands", path, in: namespace)["command"]
  }

  /// A copy of a database that an agent may have open.
  func copy(_ database: String, to path: String) throws {
    // They may not be there.
    for end in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + end) }
    try run("sqlite3", database, "VACUUM INTO '\(path)'")
  }
}
