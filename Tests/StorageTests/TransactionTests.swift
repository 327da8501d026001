import CSQLite
import PortMaps
import Testing

@testable import Storage

struct TransactionTests {
  struct Refused: Error {}

  let directory: TemporaryDirectory
  let store: Store

  init() throws {
    directory = try TemporaryDirectory()
    store = try Store.open(at: directory.database, access: .readWrite)
    try store.record(mynet)
  }

  private func ids() throws -> [String] { try store.containerIDs(source: "default") }

  @Test func aTransactionIsKeptOrLostAsAWhole() throws {
    try store.transaction {
      _ = try store.record(simpleRecord(1))
      _ = try store.record(simpleRecord(2))
    }
    #expect(try ids() == ["c1", "c2"])
    #expect(throws: Refused.self) {
      try store.transaction {
        _ = try store.record(simpleRecord(3))
        _ = try store.advanceRevision()
        throw Refused()
      }
    }
    #expect(try ids() == ["c1", "c2"])
    #expect(try store.revision == 0)
  }

  @Test func aTransactionThatSQLiteGaveUpCannotBeContinued() throws {
    let error = thrown {
      try store.transaction {
        _ = try store.record(simpleRecord(1))
        // Ends the whole transaction, as an I/O error or a full disk may.
        #expect(throws: SQLiteError.self) { try store.sql("INSERT OR ROLLBACK INTO revision VALUES (1, 0)") }
        #expect(thrown { _ = try store.record(simpleRecord(3)) } != nil)
      }
    }
    #expect(error?.reason == .io)
    #expect(try ids().isEmpty)
    _ = try store.record(simpleRecord(1))
  }

  @Test func aFullDiskIsReportedAndKeepsWhatWasCommitted() throws {
    _ = try store.record(simpleRecord(1))
    // A full disk, as SQLite sees it.
    let pages = try #require(try store.value("SELECT page_count FROM pragma_page_count"))
    try store.sql("PRAGMA max_page_count = \(pages)")
    let error = thrown { for n in 2...1000 { _ = try store.record(simpleRecord(n)) } }
    #expect(error?.reason == .full)
    try store.sql("PRAGMA max_page_count = 1000000")
    let count = try store.counts().containers
    #expect(1..<1000 ~= count)
    _ = try store.record(simpleRecord(count + 1))
  }

  @Test func anotherWriterIsReportedAsBusy() throws {
    // As sqlite3(1) would have.
    let other = try Database(directory.database)
    // Locked from the start: no other writer can come between what a transaction reads and what it writes.
    try store.transaction {
      let refusal = #expect(throws: SQLiteError.self) { try other.execute("BEGIN IMMEDIATE") }
      #expect(refusal?.code == SQLITE_BUSY)
    }
    try other.execute("BEGIN IMMEDIATE")
    let error = try #require(thrown { _ = try store.record(simpleRecord(1)) })
    #expect(error.reason == .busy)
    try other.execute("ROLLBACK")
    _ = try store.record(simpleRecord(1))
  }

  @Test func aReaderSeesOnlyWhatIsCommitted() throws {
    let reader = try Store.open(at: directory.database, access: .readOnly)
    try store.transaction {
      _ = try store.record(simpleRecord(1))
      #expect(try reader.counts().containers == 0)
    }
    #expect(try reader.counts().containers == 1)
    #expect(thrown { _ = try reader.record(simpleRecord(2)) }?.reason == .readOnly)
  }
}
