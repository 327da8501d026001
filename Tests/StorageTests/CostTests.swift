import CSQLite
import Migrations
import PortMaps
import TestSupport
import Testing

@testable import Storage

/// What an event costs does not depend on what is stored.
struct CostTests {
  let directory: TemporaryDirectory
  let store: Store

  init() throws {
    directory = try TemporaryDirectory()
    store = try Store.open(at: directory.database, access: .readWrite)
    try store.record(mynet)
  }

  private struct Cost: Equatable {
    var statements: Int
    /// Operations of SQLite's virtual machine, triggers and foreign keys included.
    var steps: Int
  }

  /// What `body` costs when its statements are prepared already.
  private func cost(of body: () throws -> Void) throws -> Cost {
    try body()
    _ = steps()
    let before = store.statementCount
    try body()
    return Cost(statements: store.statementCount - before, steps: steps())
  }

  /// Every statement that SQLite keeps for the connection.
  private var prepared: [OpaquePointer] {
    let handle = store.database.handle
    return Array(
      sequence(state: OpaquePointer?.none) { previous in
        previous = sqlite3_next_stmt(handle, previous)
        return previous
      })
  }

  /// Steps of all prepared statements since the last call.
  private func steps() -> Int {
    prepared.reduce(0) { $0 + Int(sqlite3_stmt_status($1, SQLITE_STMTSTATUS_VM_STEP, 1)) }
  }

  /// Start, the questions of a start, replacement and stop of one container.
  private func event(_ n: Int) throws {
    try store.transaction {
      _ = try store.container(source: "default", id: "c\(n)")
      _ = try store.containers(named: "web-\(n)")
      _ = try store.owner(of: HostPort(.any(.ipv4), .tcp, UInt16(n)))
      _ = try store.owner(of: HostPort(IPAddress("127.0.0.1"), .tcp, UInt16(n)))
      var record = try simpleRecord(n)
      _ = try store.containers(at: [record.bindings[0].containerAddress], otherThan: [])
      record.row = try store.record(record)
      let before = record
      record.bindings[0].hostAddress = IPAddress("127.0.0.1")
      _ = try store.record(record, replacing: before)
      try store.remove(record)
      _ = try store.advanceRevision()
    }
  }

  @Test func anEventCostsTheSameAt10AndAt10_000Mappings() throws {
    // Neighbours before and after it in every index: a search that meets the end of an index saves some steps.
    for n in [1, 2, 3, 4, 5, 20491, 20492, 20493, 20494, 20495] { _ = try store.record(simpleRecord(n)) }
    let few = try cost { try event(20000) }
    try store.transaction { for n in 6...9_995 { _ = try store.record(simpleRecord(n)) } }
    let many = try cost { try event(20000) }
    #expect(few == many)
    #expect(few.steps > 100)
  }

  /// One port more of a container costs its own rows, however many the container has.
  @Test func aReplacementWritesWhatDiffers() throws {
    func publish(_ port: Int, _ record: inout ContainerRecord) throws {
      let more = try simpleRecord(port)
      record.container.publish += more.container.publish
      record.bindings += more.bindings
      record.bindings[record.bindings.count - 1].request = record.container.publish.count - 1
    }
    var few = try simpleRecord(1)
    for port in 1001...2000 { try publish(port, &few) }
    few.row = try store.record(few)
    var more = few
    try publish(2001, &more)
    let changes = store.changeCount
    _ = try store.record(more, replacing: few)
    // The container itself, the request and its binding.
    #expect(store.changeCount == changes + 3)
    #expect(try store.container(source: "default", id: "c1") == more)
    _ = try store.record(few, replacing: more)
    #expect(store.changeCount == changes + 6)
    #expect(try store.container(source: "default", id: "c1") == few)
  }

  @Test func listingTakesOneStatementPerTable() throws {
    for n in 1...10 { _ = try store.record(simpleRecord(n)) }
    let before = store.statementCount
    try store.forEachContainer { _ in }
    #expect(store.statementCount - before == 6)
  }

  @Test func aListingMayAskTheStore() throws {
    for n in 1...3 { _ = try store.record(simpleRecord(n)) }
    var pairs = 0
    try store.forEachContainer { _ in try store.forEachContainer { _ in pairs += 1 } }
    #expect(pairs == 9)
  }

  @Test func noStatementOfAnEventScansATable() throws {
    try event(20000)
    var statements = try triggerBodies() + prepared.compactMap { sqlite3_sql($0).map { String(cString: $0) } }
    statements.removeAll { !["SELECT", "UPDATE", "DELETE", "INSERT"].contains($0.prefix(6)) }
    statements.removeAll { $0.contains("FROM sqlite_") }
    let plans = try statements.map { ($0, try plan($0)) }
    #expect(plans.count > 20)
    for (sql, plan) in plans {
      let scans = plan.filter { $0.hasPrefix("SCAN") && !Self.constant.contains($0) }
      #expect(scans.isEmpty, "\(sql)")
    }
    #expect(plans.contains { $0.1.contains { $0.contains("binding_by_port") } })
    #expect(plans.contains { $0.1.contains { $0.contains("binding_by_address") } })
    #expect(plans.contains { $0.1.contains { $0.contains("binding_by_container_port") } })
  }

  /// Each would be made, with pages of its own, whenever the statement is executed.
  @Test func noStatementOfAnEventMakesATemporaryTable() throws {
    try event(20000)
    let statements = prepared.compactMap { sqlite3_sql($0).map { String(cString: $0) } }
      .filter { ["UPDATE", "DELETE", "INSERT"].contains($0.prefix(6)) }
    #expect(statements.count > 10)
    for sql in statements {
      // With the programs of triggers and foreign keys.
      let operations = Set(try rows("EXPLAIN " + sql).map { $0[1] })
      #expect(operations.contains("Halt") && !operations.contains("OpenEphemeral"), "\(sql)")
    }
  }

  /// The reach classes, five at most, and the table that has one row.
  private static let constant: Set<String> = ["SCAN class", "SCAN revision"]

  /// The SELECT of each trigger on bindings, with a value for each NEW column: EXPLAIN shows no triggers.
  private func triggerBodies() throws -> [String] {
    let triggers = try rows(
      "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'binding' AND sql LIKE '%INSERT%'"
    ).map { $0[0] }
    return triggers.flatMap { trigger in
      let lines = trigger.split(separator: "\n").drop { !$0.hasSuffix("BEGIN") }.dropFirst().dropLast()
      return lines.joined(separator: " ").split(separator: ";").map { body in
        let columns = ["family", "protocol", "host_address", "host_first", "host_last", "reach"]
        return columns.reduce(String(body)) { $0.replacing("NEW.\($1)", with: "?") }
          .replacing("RAISE(ABORT, 'host port already allocated')", with: "1").replacing("  ", with: "")
      }
    }
  }

  /// `EXPLAIN QUERY PLAN`: the details, one a row.
  private func plan(_ sql: String) throws -> [String] { try rows("EXPLAIN QUERY PLAN " + sql).map { $0[3] } }

  private func rows(_ sql: String) throws -> [[String]] {
    let rows = try store.database.rows(preparing: sql)
    var all: [[String]] = []
    while let row = try rows.next() { all.append(row.text) }
    return all
  }
}
