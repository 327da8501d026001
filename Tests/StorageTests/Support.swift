import FoundationEssentials
import Glibc
import PortMaps
import TestSupport
import Testing

@testable import Storage

/// A directory of its own for one test, removed with everything in it at the end.
final class TemporaryDirectory {
  let path: String

  init() throws {
    var template = Array("/tmp/storage-tests.XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw SystemError(operation: "mkdtemp", number: errno) }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit {
    do {
      try FileManager.default.removeItem(atPath: path)
    } catch {
      Issue.record(error)
    }
  }

  var database: String { path + "/pmagent.db" }
}

struct SystemError: Error {
  let operation: String
  let number: Int32
}

func contents(of path: String) throws -> [UInt8] {
  let descriptor = open(path, O_RDONLY)
  guard descriptor >= 0 else { throw SystemError(operation: "open \(path)", number: errno) }
  defer { close(descriptor) }
  var status = stat()
  fstat(descriptor, &status)
  var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
  guard read(descriptor, &bytes, bytes.count) == bytes.count else {
    throw SystemError(operation: "read \(path)", number: errno)
  }
  return bytes
}

func write(_ bytes: some Collection<UInt8>, to path: String, at offset: Int = 0) throws {
  let descriptor = open(path, O_WRONLY | O_CREAT, 0o600)
  guard descriptor >= 0 else { throw SystemError(operation: "open \(path)", number: errno) }
  defer { close(descriptor) }
  guard pwrite(descriptor, Array(bytes), bytes.count, off_t(offset)) == bytes.count else {
    throw SystemError(operation: "write \(path)", number: errno)
  }
}

func mode(of path: String) -> mode_t? {
  var status = stat()
  return lstat(path, &status) == 0 ? status.st_mode & 0o777 : nil
}

extension Store {
  /// SQL past the store's own functions: what a person with sqlite3(1) could do.
  func sql(_ sql: String) throws {
    try database.execute(sql)
  }

  func value(_ sql: String) throws -> String? {
    try database.rows(preparing: sql).next()?.text.first
  }
}

func thrown(_ body: () throws -> Void) -> StoreError? {
  do {
    try body()
    return nil
  } catch {
    return error as? StoreError
  }
}

// MARK: - Values

extension IPAddress {
  init(_ text: String) { self = IPAddress(parsing: text)! }  // Literals of tests: a wrong one must stop the test.
}

let mynet = Network(
  source: "default", id: "n1", name: "mynet", bridge: "br-mynet",
  subnets: [IPPrefix(parsing: "172.18.0.0/16")!, IPPrefix(parsing: "2001:db8::/64")!],
  options: ["com.docker.network.bridge.enable_icc": "false", "quote\"d": "ü/\\"])

extension Store {
  /// Removes a container of `simpleRecord`'s source.
  func remove(_ id: String) throws { try remove(try #require(try container(source: "default", id: id))) }
}

/// Container number `n` on `mynet` with one binding, 0.0.0.0:`n` → 80/tcp.
func simpleRecord(_ n: Int, row: Int64 = 0) throws -> ContainerRecord {
  let address = IPAddress(ipv4: 0xac12_0000 + UInt32(n))
  let ports = PortRange(UInt16(n))
  return ContainerRecord(
    row: row,
    container: Container(
      source: "default", id: "c\(n)", name: "web-\(n)", endpoints: [Endpoint(network: "n1", ipv4: address)],
      publish: [try PublishRequest(hostPorts: ports, containerPorts: PortRange(80))]),
    bindings: [
      Binding(
        network: "n1", mode: .nat, transport: .tcp, hostAddress: .any(.ipv4), hostPorts: ports,
        containerAddress: address, containerPorts: PortRange(80), request: 0)
    ])
}

/// Random containers without common host ports: container `n` uses the ports from 100 × `n` + 1 on.
struct RecordGenerator {
  private var random: SeededGenerator
  let networks: [Network]

  init(seed: UInt64) {
    print("seed \(seed)")
    random = SeededGenerator(seed: seed)
    networks = (1...3).map { n in
      Network(
        source: "default", id: "net-\(n)", name: "network \(n)", bridge: "br\(n)",
        subnets: [IPPrefix(parsing: "10.\(n).0.0/16")!, IPPrefix(parsing: "fd00:\(n)::/64")!])
    }
  }

  private mutating func upTo(_ n: Int) -> Int { Int.random(in: 0...n, using: &random) }
  private mutating func pick<T>(_ items: [T]) -> T { items[upTo(items.count - 1)] }

  private mutating func prefixes() -> [IPPrefix] {
    let all = ["192.0.2.0/24", "198.51.100.7/32", "2001:db8:5::/48"].map { IPPrefix(parsing: $0)! }
    return upTo(3) == 0 ? all.shuffled(using: &random) : []
  }

  mutating func record(_ n: Int) throws -> ContainerRecord {
    let names = ["web", "ü \"x\" 'y'", "a/b", "Ω", "web.\(n)"]
    var container = Container(
      source: pick(["default", "docker"]), id: "id-\(n)", name: pick(names),
      generation: upTo(1) == 0 ? nil : upTo(9), endpoints: [], publishAll: upTo(1) == 0)
    for network in networks.shuffled(using: &random).prefix(1 + upTo(2)) {
      let net = network.id.dropFirst(4)
      container.endpoints.append(
        Endpoint(
          network: network.id, ipv4: IPAddress("10.\(net).0.\(n % 250 + 1)"),
          ipv6: upTo(1) == 0 ? nil : IPAddress("fd00:\(net)::\(String(n + 1, radix: 16))"), gatewayPriority: upTo(4) - 2
        ))
    }
    for _ in 0..<upTo(3) {
      let first = UInt16(1 + upTo(60000))
      let containerPorts = PortRange(first, first + UInt16(upTo(300)))
      container.publish.append(
        try PublishRequest(
          hostAddress: pick([nil, IPAddress("127.0.0.1"), IPAddress("::1")]),
          hostPorts: pick([nil, PortRange(100, 99 + UInt16(containerPorts.count))]), containerPorts: containerPorts,
          transport: pick(TransportProtocol.allCases), allowFrom: prefixes()))
    }
    for _ in 0..<upTo(2) {
      container.expose.append(ExposedPorts(PortRange(9000, 9000 + UInt16(upTo(5))), pick(TransportProtocol.allCases)))
    }
    var record = ContainerRecord(container: container)
    for index in 0..<upTo(4) { record.bindings.append(binding(n, index, of: container)) }
    for _ in 0..<upTo(2) { record.warnings.append(Warning(pick(Warning.Code.allCases), "“\(n)” it's")) }
    return record
  }

  /// Gives `record` the first parts of `before` in place of its own.
  mutating func keep(some before: ContainerRecord, in record: inout ContainerRecord) {
    func mixed<T>(_ old: [T], _ new: [T]) -> [T] {
      let count = upTo(old.count)
      return Array(old.prefix(count) + new.dropFirst(count))
    }
    let first = before.container.endpoints.prefix(upTo(2))
    record.container.endpoints.removeAll { endpoint in first.contains { $0.network == endpoint.network } }
    record.container.endpoints = first + record.container.endpoints
    record.container.publish = mixed(before.container.publish, record.container.publish)
    record.container.expose = mixed(before.container.expose, record.container.expose)
    record.warnings = mixed(before.warnings, record.warnings)
    record.bindings = mixed(before.bindings, record.bindings).filter { [container = record.container] binding in
      container.endpoints.contains { $0.network == binding.network }
        && binding.request.map(container.publish.indices.contains) ?? true
    }
  }

  private mutating func binding(_ n: Int, _ index: Int, of container: Container) -> Binding {
    let endpoint = pick(container.endpoints)
    let address = pick([endpoint.ipv4, endpoint.ipv6].compactMap { $0 })
    let mode = pick([GatewayMode.nat, .natUnprotected, .routed])
    let first = UInt16(n * 100 + index * 20 + 1)
    let host = PortRange(first, first + UInt16(upTo(19)))
    let inside = UInt16(1 + upTo(60000))
    let specific = address.family == .ipv4 ? IPAddress("127.0.0.1") : IPAddress("2001:db8::1")
    return Binding(
      network: endpoint.network, mode: mode, transport: pick(TransportProtocol.allCases),
      hostAddress: mode == .routed ? .any(address.family) : pick([.any(address.family), specific]),
      hostPorts: mode == .routed ? nil : host, containerAddress: address,
      containerPorts: PortRange(inside, inside + UInt16(host.count - 1)),
      request: container.publish.isEmpty ? nil : pick([nil, upTo(container.publish.count - 1)]), allowFrom: prefixes())
  }
}
