import Feed
import Glibc
import Netfilter
import PortMaps
import Storage
import TestSupport

/// Everything an agent keeps: what a refused request must leave as it was.
struct AgentState {
  /// Every row of every table, but for the stale flows, which the agent ends after it has replied.
  var database: String
  /// The whole ruleset of the namespace, its handles included.
  var ruleset: String
  var generation: UInt32
  /// The sockets the agent has open: those that hold ports, those of clients.
  var sockets: Set<String>

  /// What is not the same, a line each.
  func differences(from old: AgentState) -> [String] {
    var differences = changes("database", database, old.database) + changes("ruleset", ruleset, old.ruleset)
    if generation != old.generation { differences.append("generation \(old.generation) became \(generation)") }
    differences += sockets.subtracting(old.sockets).map { "new \($0)" }
    differences += old.sockets.subtracting(sockets).map { "closed \($0)" }
    return differences
  }

  private func changes(_ what: String, _ text: String, _ old: String) -> [String] {
    text.split(separator: "\n").difference(from: old.split(separator: "\n")).map {
      switch $0 {
      case .insert(_, let line, _): "\(what) +\(line)"
      case .remove(_, let line, _): "\(what) -\(line)"
      }
    }
  }
}

extension AgentProgram {
  func state() async throws -> AgentState {
    AgentState(
      database: try dump(), ruleset: try await namespace.command("nft", "-a", "list", "ruleset"),
      generation: try generation(), sockets: try sockets())
  }

  private func dump() throws -> String {
    let database = try Database(database, .readOnly)
    // One moment.
    try database.execute("BEGIN")
    // Stale flows are ended, and their rows go, some time after the reply.
    let tables = try database.rows(
      """
      SELECT name FROM sqlite_schema
      WHERE type = 'table' AND name NOT IN ('stale_flow', 'sqlite_sequence') ORDER BY name
      """)
    var dump: [String] = []
    while let table = try tables.next()?.text[0] {
      let rows = try database.rows(preparing: "SELECT * FROM \"\(table)\"")
      var lines: [String] = []
      while let row = try rows.next() { lines.append("\(row.text)") }
      dump.append("\(table): \(lines.sorted())")
    }
    return dump.joined(separator: "\n")
  }

  /// The number of the namespace's last nf_tables transaction.
  func generation() throws -> UInt32 {
    try namespace.run { () throws(KernelError) in try KernelRuleset.open().generation() }
  }

  private func sockets() throws -> Set<String> {
    let directory = "/proc/\(process)/fd"
    guard let stream = opendir(directory) else { throw SystemError("open \(directory)") }
    defer { closedir(stream) }
    var sockets: Set<String> = []
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      var target = [UInt8](repeating: 0, count: 64)
      let count = readlink("\(directory)/\(name)", &target, target.count)
      guard count > 0 else { continue }
      let text = String(decoding: target.prefix(count), as: UTF8.self)
      if text.hasPrefix("socket:") { sockets.insert(text) }
    }
    return sockets
  }

  /// `table inet pmagent` as nft(8) shows it, without what packets change.
  func table() async throws -> String {
    // nft(8) adds the name of whoever has the owning socket.
    try await namespace.command("nft", "--stateless", "list", "table", "inet", "pmagent")
      .replacing(#/ # progname .*/#, with: "")
  }

  /// Runs a second agent, which should end at once; one that does not is ended.
  func startAnother(socket: String, database: String) async throws -> NetworkNamespace.Outcome {
    try await namespace.outcome(
      of: ["timeout", "20", Self.path, "run", "--socket", socket, "--database", database, "--config", configuration])
  }
}
