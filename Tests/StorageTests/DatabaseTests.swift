import CSQLite
import Testing

@testable import Storage

/// What stands between the store and SQLite's C API.
struct DatabaseTests {
  private let database: Database

  init() throws {
    database = try Database(":memory:")
    try database.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, x); INSERT INTO t VALUES (1, 'a'), (2, 7), (3, NULL)")
  }

  @Test func aRowKeepsItsStatement() throws {
    let row = try #require(try database.rows("SELECT x FROM t WHERE n = ?", 1).next())
    #expect(try row.get(0) == "a")
  }

  @Test func aStatementMayBeUsedInItsOwnRows() throws {
    var pairs: [[Int]] = []
    let outer = try database.rows("SELECT n FROM t ORDER BY n")
    while let row = try outer.next() {
      let n: Int = try row.get(0)
      let inner = try database.rows("SELECT n FROM t ORDER BY n")
      while let row = try inner.next() { pairs.append([n, try row.get(0)]) }
    }
    #expect(pairs == (1...3).flatMap { n in (1...3).map { [n, $0] } })
  }

  @Test func rowsThatAreOverLeaveTheNextReadingAlone() throws {
    func rows() throws -> Rows { try database.rows("SELECT n FROM t ORDER BY n") }
    var first: Rows? = try rows()
    while try first?.next() != nil {}
    let second = try rows()
    #expect(try second.next()?.get(0) == 1)
    #expect(try first?.next() == nil)
    first = nil
    #expect(try second.next()?.get(0) == 2)
  }

  @Test(arguments: [1, 2, 3]) func nothingIsConverted(_ n: Int) throws {
    let row = try #require(try database.rows("SELECT x FROM t WHERE n = ?", n).next())
    if n == 1 {
      #expect(try row.get(0) == "a")
    } else {
      #expect(throws: UndecodableValue.self) { try row.get(0) as String }
    }
    if n == 2 { #expect(try row.get(0) == 7) } else { #expect(throws: UndecodableValue.self) { try row.get(0) as Int } }
    #expect(row.isNull(0) == (n == 3))
  }

  @Test func aNumberThatDoesNotFitIsNone() throws {
    let row = try #require(try database.rows("SELECT 65536").next())
    #expect(throws: UndecodableValue.self) { try row.get(0) as UInt16 }
  }

  @Test func rowsOutliveTheirConnection() throws {
    var database: Database? = try Database(":memory:")
    let rows = try #require(try database?.rows("SELECT 1 UNION ALL SELECT abs(-9223372036854775808)"))
    database = nil
    #expect(try rows.next()?.get(0) == 1)
    let error = #expect(throws: SQLiteError.self) { try rows.next() }
    #expect(error?.code == SQLITE_ERROR)
  }
}
