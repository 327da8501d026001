import CSQLite
import PortMaps
import TestSupport
import Testing

@testable import Storage

/// A wrong state that SQL tries to bring about, and the words with which the schema refuses it.
struct Rule: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let sql: String
  let refusal: String

  init(_ description: String, _ sql: String, _ refusal: String) {
    (testDescription, self.sql, self.refusal) = (description, sql, refusal)
  }

  /// A row as it should be, with one or more columns changed. Column values are SQL.
  init(_ description: String, _ table: String, _ changes: KeyValuePairs<String, String>, _ refusal: String) {
    self.init(description, Self.insert(table, changes), refusal)
  }

  static func insert(_ table: String, _ changes: KeyValuePairs<String, String> = [:]) -> String {
    var values = good[table] ?? [:]
    for (column, value) in changes { values[column] = value }
    let columns = values.keys.sorted()
    let list = columns.map { values[$0] ?? "NULL" }.joined(separator: ", ")
    return "INSERT INTO \(table) (\(columns.joined(separator: ", "))) VALUES (\(list))"
  }

  private static let good: [String: [String: String]] = [
    "revision": ["one": "2", "value": "0"],
    "setting": ["name": "'cursor'", "value": "'1'"],
    "sysctl": ["name": "'net.ipv4.ip_forward'", "previous": "'0'"],
    "network": [
      "id": "'n2'", "source": "'default'", "name": "'second'", "driver": "'bridge'", "bridge": "'br2'",
      "internal": "0", "subnets": "'[\"10.0.0.0/8\"]'", "options": "'{}'",
    ],
    "container": ["source": "'default'", "id": "'c2'", "name": "'c2'", "generation": "NULL", "publish_all": "0"],
    "endpoint": [
      "container": "2", "position": "0", "network": "'n1'", "ipv4": "'172.18.0.9'", "ipv6": "'2001:db8::9'",
      "gateway_priority": "0",
    ],
    "publish": [
      "container": "2", "position": "0", "host_address": "NULL", "host_first": "8000", "host_last": "8010",
      "container_first": "80", "container_last": "90", "protocol": "6", "allow_from": "'[]'",
    ],
    "expose": ["container": "2", "position": "0", "first": "9000", "last": "9010", "protocol": "17"],
    "warning": ["container": "2", "position": "0", "code": "'port-not-held'", "message": "'m'"],
    // Container 1 owns 0.0.0.0:1/tcp, has publish request 0 and binding 0.
    "binding": [
      "container": "1", "position": "1", "network": "'n1'", "mode": "'nat'", "family": "4", "protocol": "6",
      "host_address": "'0.0.0.0'", "host_first": "8000", "host_last": "8010", "container_address": "'172.18.0.1'",
      "container_first": "80", "container_last": "90", "request": "0", "allow_from": "'[]'",
    ],
  ]

  static let tables = good.keys.sorted()
}

struct SchemaRuleTests {
  let directory: TemporaryDirectory
  let store: Store

  /// `mynet` and a macvlan, container 1 with an endpoint, a publish request and a binding, container 2 with nothing,
  /// container 3 on the macvlan.
  init() throws {
    directory = try TemporaryDirectory()
    store = try Store.open(at: directory.database, access: .readWrite)
    let macvlan = Network(source: "default", id: "n0", name: "lan", driver: .macvlan, bridge: nil, subnets: [])
    try store.transaction {
      try store.record(mynet)
      try store.record(macvlan)
      _ = try store.record(simpleRecord(1))
      _ = try store.record(
        ContainerRecord(container: Container(source: "default", id: "x", name: "x", endpoints: [])))
      let lan = [Endpoint(network: "n0", ipv4: IPAddress("192.0.2.3"))]
      _ = try store.record(
        ContainerRecord(container: Container(source: "default", id: "y", name: "y", endpoints: lan)))
    }
  }

  /// The rows below change a good row: it must be accepted as it is.
  @Test(arguments: Rule.tables.filter { $0 != "revision" })
  func theUnchangedRowIsAccepted(_ table: String) throws {
    try store.sql(Rule.insert(table))
  }

  @Test(arguments: facts + networks + containers + requests + bindings + owners)
  func aWrongStateIsRefused(_ rule: Rule) throws {
    let error = #expect(throws: SQLiteError.self) { try store.sql(rule.sql) }
    #expect(error?.primaryCode == SQLITE_CONSTRAINT)
    #expect(error?.message.contains(rule.refusal) == true, "\(error?.message ?? "")")
  }

  @Test(arguments: Rule.tables)
  func everyColumnIsTyped(_ table: String) throws {
    #expect(try store.value("SELECT strict FROM pragma_table_list WHERE name = '\(table)'") == "1")
  }

  private static let facts = [
    Rule("a second revision", "revision", [:], "one = 1"),
    Rule("the revision goes back", "UPDATE revision SET value = value - 1", "never goes back"),
    Rule("the revision is removed", "DELETE FROM revision", "never goes back"),
    Rule("a setting without a name", "setting", ["name": "''"], "name <> ''"),
    Rule("a setting without a value", "setting", ["value": "NULL"], "setting.value"),
    Rule("a sysctl without a name", "sysctl", ["name": "''"], "name <> ''"),
    Rule("a sysctl without its value", "sysctl", ["previous": "NULL"], "sysctl.previous"),
  ]

  private static let networks = [
    Rule("network id taken", "network", ["id": "'n1'"], "network.id"),
    Rule("network id empty", "network", ["id": "''"], "id <> ''"),
    Rule("network id NULL", "network", ["id": "NULL"], "network.id"),
    Rule("network source empty", "network", ["source": "''"], "source <> ''"),
    Rule("network name taken", "network", ["name": "'mynet'"], "network.name"),
    Rule("network name empty", "network", ["name": "''"], "name <> ''"),
    Rule("unknown driver", "network", ["driver": "'overlay'", "bridge": "NULL"], "driver = 'bridge' OR"),
    Rule("bridge taken", "network", ["bridge": "'br-mynet'"], "network.bridge"),
    Rule("bridge name of 16 bytes", "network", ["bridge": "'sixteen-bytes-16'"], "BETWEEN 1 AND 15"),
    Rule("bridge name of 8 letters and 16 bytes", "network", ["bridge": "'éééééééé'"], "BETWEEN 1 AND 15"),
    Rule("bridge name empty", "network", ["bridge": "''"], "BETWEEN 1 AND 15"),
    Rule("driver bridge without one", "network", ["bridge": "NULL"], "driver = 'bridge'"),
    Rule("bridge of a macvlan", "network", ["driver": "'macvlan'"], "driver = 'bridge'"),
    Rule("internal is no bool", "network", ["internal": "2"], "internal IN"),
    Rule("subnets no JSON", "network", ["subnets": "'10.0.0.0/8'"], "json_valid(subnets)"),
    Rule("subnets no list", "network", ["subnets": "'{}'"], "json_type(subnets)"),
    Rule("options no JSON", "network", ["options": "''"], "json_valid(options)"),
    Rule("options no map", "network", ["options": "'[]'"], "json_type(options)"),
    Rule("a network in use is removed", "DELETE FROM network WHERE id = 'n0'", "FOREIGN KEY"),
    Rule("a network in use changes its id", "UPDATE network SET id = 'n9' WHERE id = 'n0'", "FOREIGN KEY"),
  ]

  private static let containers = [
    Rule("container id taken", "container", ["id": "'c1'"], "container.id, container.source"),
    Rule("container id empty", "container", ["id": "''"], "id <> ''"),
    Rule("container source empty", "container", ["source": "''"], "source <> ''"),
    Rule("container name empty", "container", ["name": "''"], "name <> ''"),
    Rule("generation is text", "container", ["generation": "'two'"], "cannot store TEXT"),
    Rule("publish_all is no bool", "container", ["publish_all": "2"], "publish_all IN"),
    Rule("endpoint of no container", "endpoint", ["container": "9"], "FOREIGN KEY"),
    Rule("endpoint on no network", "endpoint", ["network": "'n9'"], "FOREIGN KEY"),
    Rule("a network twice", "endpoint", ["container": "1", "position": "1"], "endpoint.network, endpoint.container"),
    Rule(
      "endpoint position taken", "endpoint", ["container": "1", "network": "'n0'"],
      "endpoint.container, endpoint.position"),
    Rule("endpoint position negative", "endpoint", ["position": "-1"], "position >= 0"),
    Rule("endpoint IPv4 is IPv6", "endpoint", ["ipv4": "'::1'"], "instr(ipv4"),
    Rule("endpoint IPv4 empty", "endpoint", ["ipv4": "''"], "ipv4 <> ''"),
    Rule("endpoint IPv6 is IPv4", "endpoint", ["ipv6": "'127.0.0.1'"], "instr(ipv6"),
    Rule("warning of no container", "warning", ["container": "9"], "FOREIGN KEY"),
    Rule("warning position negative", "warning", ["position": "-1"], "position >= 0"),
    Rule("warning without a code", "warning", ["code": "''"], "code <> ''"),
    Rule("warning without words", "warning", ["message": "NULL"], "warning.message"),
  ]

  private static let requests = [
    Rule("publish of no container", "publish", ["container": "9"], "FOREIGN KEY"),
    Rule("publish position taken", "publish", ["container": "1"], "publish.container, publish.position"),
    Rule("publish position negative", "publish", ["position": "-1"], "position >= 0"),
    Rule("publish address empty", "publish", ["host_address": "''"], "host_address <> ''"),
    Rule("publish host port 0", "publish", ["host_first": "0", "host_last": "10"], "host_first BETWEEN"),
    Rule("publish host range reversed", "publish", ["host_last": "7990"], "host_first BETWEEN"),
    Rule("publish host port 65536", "publish", ["host_first": "65526", "host_last": "65536"], "host_last <= 65535"),
    Rule("publish host range open", "publish", ["host_last": "NULL"], "(host_first IS NULL)"),
    Rule("publish container port 0", "publish", ["container_first": "0"], "container_first BETWEEN"),
    Rule("publish container range reversed", "publish", ["container_last": "79"], "container_first BETWEEN"),
    Rule("publish container port 65536", "publish", ["container_last": "65536"], "container_last <= 65535"),
    Rule("publish ranges of two sizes", "publish", ["container_last": "89"], "container_first = container_last"),
    Rule("publish protocol", "publish", ["protocol": "1"], "protocol = 6 OR"),
    Rule("publish allow_from no list", "publish", ["allow_from": "'{}'"], "json_type(allow_from)"),
    Rule("publish allow_from no JSON", "publish", ["allow_from": "'x'"], "json_valid(allow_from)"),
    Rule("expose of no container", "expose", ["container": "9"], "FOREIGN KEY"),
    Rule("expose position negative", "expose", ["position": "-1"], "position >= 0"),
    Rule("expose port 0", "expose", ["first": "0"], "first BETWEEN"),
    Rule("expose range reversed", "expose", ["last": "8999"], "first BETWEEN"),
    Rule("expose port 65536", "expose", ["last": "65536"], "last <= 65535"),
    Rule("expose protocol", "expose", ["protocol": "1"], "protocol = 6 OR"),
  ]

  private static let bindings = [
    Rule("binding of no container", "binding", ["container": "9"], "FOREIGN KEY"),
    Rule("binding on a network not joined", "binding", ["container": "2", "request": "NULL"], "FOREIGN KEY"),
    Rule("binding of no request", "binding", ["request": "5"], "FOREIGN KEY"),
    Rule("the endpoint of a binding is removed", "DELETE FROM endpoint", "FOREIGN KEY"),
    Rule("the request of a binding is removed", "DELETE FROM publish", "FOREIGN KEY"),
    Rule("binding position taken", "binding", ["position": "0"], "binding.container, binding.position"),
    Rule("binding position negative", "binding", ["position": "-1"], "position >= 0"),
    Rule("isolated publishes nothing", "binding", ["mode": "'isolated'"], "mode = 'nat' OR"),
    Rule("binding family", "binding", ["family": "5"], "family IN"),
    Rule("binding protocol", "binding", ["protocol": "1"], "protocol = 6 OR"),
    Rule("host address of the other family", "binding", ["host_address": "'::'"], "instr(host_address"),
    Rule("container address of the other family", "binding", ["container_address": "'::2'"], "instr(container_address"),
    Rule("host address empty", "binding", ["host_address": "''"], "host_address <> ''"),
    Rule("container address empty", "binding", ["container_address": "''"], "container_address <> ''"),
    Rule("host port 0", "binding", ["host_first": "0", "host_last": "10", "protocol": "17"], "host_first BETWEEN"),
    Rule("host range reversed", "binding", ["host_last": "7990"], "host_first BETWEEN"),
    Rule("host port 65536", "binding", ["host_first": "65526", "host_last": "65536"], "host_last <= 65535"),
    Rule("host range open", "binding", ["host_last": "NULL"], "(host_first IS NULL)"),
    Rule("host range without a start", "binding", ["host_first": "NULL", "mode": "'routed'"], "(host_first IS NULL)"),
    Rule("container port 0", "binding", ["container_first": "0", "host_last": "8090"], "container_first BETWEEN"),
    Rule("container range reversed", "binding", ["container_last": "79"], "container_first BETWEEN"),
    Rule(
      "container port 65536", "binding", ["container_first": "65526", "container_last": "65536"],
      "container_last <= 65535"),
    Rule("ranges of two sizes", "binding", ["container_last": "89"], "host_last - host_first"),
    Rule("nat without a host port", "binding", ["host_first": "NULL", "host_last": "NULL"], "mode = 'routed'"),
    Rule("routed with a host port", "binding", ["mode": "'routed'"], "mode = 'routed'"),
    Rule(
      "routed with a host address", "binding",
      ["mode": "'routed'", "host_first": "NULL", "host_last": "NULL", "host_address": "'127.0.0.1'"],
      "mode <> 'routed'"),
    Rule("allow_from no list", "binding", ["allow_from": "'{}'"], "json_type(allow_from)"),
    Rule("allow_from no JSON", "binding", ["allow_from": "'x'"], "json_valid(allow_from)"),
  ]

  private static let taken = "host port already allocated"
  private static let owned: KeyValuePairs = ["host_first": "1", "host_last": "11"]
  private static let owners = [
    Rule("any address, taken", "binding", owned, taken),
    Rule(
      "one address, taken by any", "binding", ["host_address": "'127.0.0.1'", "host_first": "1", "host_last": "11"],
      taken),
    Rule("taken, OR IGNORE", Rule.insert("binding", owned).replacing("INSERT", with: "INSERT OR IGNORE"), taken),
    Rule("taken, OR REPLACE", Rule.insert("binding", owned).replacing("INSERT", with: "INSERT OR REPLACE"), taken),
    Rule(
      "a binding moves to another port", "UPDATE binding SET host_first = 2, host_last = 2", "replaced, never updated"),
    Rule(
      "a binding moves to another address", "UPDATE binding SET host_address = '127.0.0.1'", "replaced, never updated"),
  ]
}
