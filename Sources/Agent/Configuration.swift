import Feed
import Glibc
import PortMaps
import Runtimes
import TOMLKit

/// The settings of the agent. Defaults follow Docker's.
package struct Configuration: Sendable, Equatable {
  package static let defaultPath = "/etc/pmagent/pmagent.toml"

  package var socket = "/run/pmagent/pmagent.sock"
  package var database = "/var/lib/pmagent/state.db"
  /// Default bind of the network with `default_bridge`; `nil` = `0.0.0.0`, which reaches IPv6 too.
  package var ip: IPAddress?
  package var directRouting = DirectRouting.allow
  package var holdPorts = HoldPolicy.auto
  package var ipForward = IPForward.enable
  /// Leaves the host an open router when the agent turned forwarding on.
  package var ipForwardNoDrop = false
  package var forwardAllow: [FilterPolicy.InterfacePair] = []
  /// Resolve, store and list, install nothing (Docker's `iptables: false`).
  package var firewall = true
  /// Nobody else may change the table, where the kernel knows how. Takes effect at the next start.
  package var owner = true
  /// What becomes of stored mappings at the first start after a boot.
  package var restore = RestorePolicy.apply
  package var sources: [String: Source] = [:]
  /// Runtimes to follow, by the names of their feeds no two of which are equal.
  package var runtimes: [RuntimeSocket] = []

  /// Whether remote hosts with a route reach published ports at the container's own address; with `deny`, they do so only
  /// through a network's `trusted_host_interfaces`.
  package enum DirectRouting: String, Sendable, CaseIterable { case allow, deny }
  /// `enable` turns forwarding on, in the families that networks have; `check` leaves it alone and warns where it is off.
  package enum IPForward: String, Sendable, CaseIterable { case enable, check }
  /// Whether mappings that were stored before the host booted are installed at once.
  package enum RestorePolicy: String, Sendable, CaseIterable {
    case apply
    /// They wait until their source announces them again.
    case confirm
  }
  /// What differs for one feed.
  package struct Source: Sendable, Equatable {
    package var holdPorts: HoldPolicy?
    package var restore: RestorePolicy?
  }

  package init() {}

  package func restorePolicy(of source: String) -> RestorePolicy { sources[source]?.restore ?? restore }
  /// A runtime that is followed binds the ports it publishes itself.
  package func holdPolicy(of source: String) -> HoldPolicy {
    sources[source]?.holdPorts ?? (runtimes.contains { $0.name == source } ? .none : holdPorts)
  }
}

extension Configuration {
  /// The same, but for what only a restart changes: that is as it runs. Also the keys of those that differ.
  func keeping(_ running: Configuration) -> (Configuration, keys: [String]) {
    var (kept, keys) = (self, [String]())
    func keep<Value: Equatable>(_ path: WritableKeyPath<Configuration, Value>, _ key: String) {
      if self[keyPath: path] != running[keyPath: path] { keys.append(key) }
      kept[keyPath: path] = running[keyPath: path]
    }
    keep(\.socket, "socket")
    keep(\.database, "database")
    keep(\.firewall, "firewall")
    keep(\.owner, "owner")
    keep(\.restore, "restore")
    keep(\.runtimes, "docker")
    return (kept, keys)
  }
}

/// A configuration file that cannot be used: names the file, the key and what is accepted.
package struct ConfigurationError: Error, CustomStringConvertible, Equatable {
  package let description: String
}

extension Configuration {
  /// Reads `path`; a file that is not there is the default configuration unless it `mustExist`.
  package static func load(_ path: String, mustExist: Bool) throws(ConfigurationError) -> Configuration {
    guard let text = SystemFile.read(path) else {
      let reason = Errno()
      if reason.code == ENOENT, !mustExist { return Configuration() }
      throw ConfigurationError(description: "\(path): cannot read the configuration: \(reason)")
    }
    return try parse(text, file: path)
  }

  /// `file` only names the text in errors.
  package static func parse(_ text: String, file: String) throws(ConfigurationError) -> Configuration {
    // The parser would take it for the end of the file.
    if let end = text.utf8.firstIndex(of: 0) {
      let line = text.utf8[..<end].count { $0 == UInt8(ascii: "\n") } + 1
      throw ConfigurationError(description: "\(file): line \(line): a NUL; write the file as UTF-8 text without one")
    }
    let table: TOMLTable
    do {
      table = try TOMLTable(string: text)
    } catch {
      throw ConfigurationError(description: "\(file): not valid TOML: \(error)")
    }
    var configuration = Configuration()
    do {
      try configuration.read(Keys(table, path: ""))
    } catch {
      throw ConfigurationError(description: "\(file): \(error.description)")
    }
    return configuration
  }

  private mutating func read(_ keys: Keys) throws(ConfigurationError) {
    var keys = keys
    if let path = try keys.path("socket") {
      guard UnixAddress(path) != nil else { throw keys.error("socket", "\"\(path)\" is longer than 107 bytes") }
      socket = path
    }
    if let path = try keys.path("database") { database = path }
    if let text = try keys.string("ip") {
      guard let address = IPAddress(parsing: text) else {
        throw keys.error("ip", "\"\(text)\" is not an IPv4 or IPv6 literal")
      }
      ip = address
    }
    directRouting = try keys.choice("direct_routing") ?? directRouting
    holdPorts = try keys.choice("hold_ports") ?? holdPorts
    ipForward = try keys.choice("ip_forward") ?? ipForward
    ipForwardNoDrop = try keys.bool("ip_forward_no_drop") ?? ipForwardNoDrop
    forwardAllow = try keys.pairs("forward_allow") ?? forwardAllow
    firewall = try keys.bool("firewall") ?? firewall
    owner = try keys.bool("owner") ?? owner
    restore = try keys.choice("restore") ?? restore
    let texts = try keys.strings("docker") ?? []
    do throws(RuntimeSocketError) {
      runtimes = try RuntimeSocket.list(parsing: texts)
    } catch {
      throw keys.error("docker", error.description)
    }
    for (name, table) in try keys.tables("source") {
      var keys = table
      sources[name] = Source(holdPorts: try keys.choice("hold_ports"), restore: try keys.choice("restore"))
      try keys.finish()
    }
    try keys.finish()
  }
}

/// A table whose keys are taken one by one; what is left at the end is unknown.
private struct Keys {
  private let table: TOMLTable
  private let path: String
  private var known: [String] = []

  init(_ table: TOMLTable, path: String) { (self.table, self.path) = (table, path) }

  func error(_ key: String, _ message: String) -> ConfigurationError {
    ConfigurationError(description: "key \(path)\(key): \(message)")
  }

  private mutating func take<Value>(
    _ key: String, _ expected: String, _ value: (any TOMLValueConvertible) -> Value?
  ) throws(ConfigurationError) -> Value? {
    known.append(key)
    guard let found = table[key] else { return nil }
    guard let value = value(found) else { throw error(key, "\(expected) is expected, not \(found.debugDescription)") }
    return value
  }

  mutating func string(_ key: String) throws(ConfigurationError) -> String? { try take(key, "a string") { $0.string } }
  mutating func bool(_ key: String) throws(ConfigurationError) -> Bool? { try take(key, "true or false") { $0.bool } }

  mutating func path(_ key: String) throws(ConfigurationError) -> String? {
    guard let path = try string(key) else { return nil }
    guard path.hasPrefix("/") else { throw error(key, "\"\(path)\" is not an absolute path") }
    return path
  }

  /// `[["eth0", "eth1"]]`
  mutating func pairs(_ key: String) throws(ConfigurationError) -> [FilterPolicy.InterfacePair]? {
    try take(key, "a list of pairs of interface names, [[\"eth0\", \"eth1\"]],") { value in
      guard let outer = value.array else { return nil }
      let pairs = outer.compactMap { inner -> FilterPolicy.InterfacePair? in
        let names = inner.array?.compactMap(\.string) ?? []
        guard names.count == 2, inner.array?.count == 2, names.allSatisfy(Network.isInterfaceName) else { return nil }
        return FilterPolicy.InterfacePair(from: names[0], to: names[1])
      }
      return pairs.count == outer.count ? pairs : nil
    }
  }

  mutating func strings(_ key: String) throws(ConfigurationError) -> [String]? {
    try take(key, "a list of strings") { value in
      guard let array = value.array else { return nil }
      let strings = array.compactMap(\.string)
      return strings.count == array.count ? strings : nil
    }
  }

  mutating func choice<Choice: RawRepresentable & CaseIterable>(
    _ key: String
  ) throws(ConfigurationError) -> Choice? where Choice.RawValue == String {
    guard let text = try string(key) else { return nil }
    guard let choice = Choice(rawValue: text) else {
      let accepted = Choice.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")
      throw error(key, "\"\(text)\" is not one of \(accepted)")
    }
    return choice
  }

  mutating func tables(_ key: String) throws(ConfigurationError) -> [(name: String, keys: Keys)] {
    guard let outer = try take(key, "a table", { $0.table }) else { return [] }
    return try outer.keys.sorted().map { (name) throws(ConfigurationError) in
      guard let inner = outer[name]?.table else { throw error("\(key).\(name)", "a table is expected") }
      return (name, Keys(inner, path: "\(path)\(key).\(name)."))
    }
  }

  func finish() throws(ConfigurationError) {
    guard let unknown = table.keys.sorted().first(where: { !known.contains($0) }) else { return }
    throw error(unknown, "unknown; known keys are \(known.sorted().joined(separator: ", "))")
  }
}
