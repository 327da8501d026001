import CSQLite

/// What SQLite answered: its extended result code (https://www.sqlite.org/rescode.html) and its words.
package struct SQLiteError: Error, Equatable, CustomStringConvertible {
  package let code: Int32
  package let message: String

  package init(code: Int32, message: String? = nil) {
    self.code = code
    self.message = message ?? String(cString: sqlite3_errstr(code))
  }

  /// What the connection says of the call that has just failed.
  fileprivate init(_ code: Int32, _ connection: OpaquePointer?) {
    self.init(code: code, message: String(cString: sqlite3_errmsg(connection)))
  }

  fileprivate static func check(_ code: Int32, _ connection: OpaquePointer) throws(SQLiteError) {
    guard code == SQLITE_OK else { throw SQLiteError(code, connection) }
  }

  /// Without what the extended code adds.
  package var primaryCode: Int32 { code & 0xff }
  package var description: String { "\(message) (SQLite \(code))" }
}

/// One connection to a SQLite database. For one thread at a time.
package final class Database {
  package enum Mode: Sendable {
    case readWrite, readOnly
    /// Read-only media, where SQLite can make no lock: right while nobody changes the file.
    case immutable
  }

  /// Statistics of memory, which nobody here reads, would take a lock for each allocation. Refused where somebody else in this
  /// process has used SQLite before, which does no harm.
  private static let configured = pm_count_no_memory()

  let handle: OpaquePointer
  /// By the address of their text: that of a literal never changes, and hashing it takes no time.
  private var prepared: [UnsafeRawPointer: Statement] = [:]
  /// Statements begun since opening, those of triggers not counted.
  package private(set) var statementCount = 0

  /// The file must exist, but for `:memory:`. `busyTimeout` in milliseconds: how long another writer is waited for.
  package init(_ path: String, _ mode: Mode = .readWrite, busyTimeout: Int32 = 0) throws(SQLiteError) {
    _ = Self.configured
    var handle: OpaquePointer?
    let name = mode == .immutable ? Self.immutableURI(path) : path
    let access = mode == .readWrite ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY
    let uri = mode == .immutable ? SQLITE_OPEN_URI : 0
    let code = sqlite3_open_v2(name, &handle, access | uri | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nil)
    guard let handle else { throw SQLiteError(code: SQLITE_NOMEM) }
    guard code == SQLITE_OK else {
      defer { sqlite3_close_v2(handle) }
      throw SQLiteError(code, handle)
    }
    self.handle = handle
    sqlite3_busy_timeout(handle, busyTimeout)
    try execute("PRAGMA foreign_keys = ON")
  }

  /// As https://www.sqlite.org/uri.html spells it.
  private static func immutableURI(_ path: String) -> String {
    let path = path.replacing("%", with: "%25").replacing("?", with: "%3f").replacing("#", with: "%23")
    return "file:\(path)?immutable=1"
  }

  deinit {
    prepared = [:]
    // Takes effect when the last statement is gone, which somebody may still read.
    sqlite3_close_v2(handle)
  }

  // MARK: Statements

  /// One or more statements without parameters, whose rows are not wanted.
  package func execute(_ sql: String) throws(SQLiteError) {
    statementCount += 1
    try SQLiteError.check(sqlite3_exec(handle, sql, nil, nil, nil), handle)
  }

  /// Executes one statement, prepared once for the life of the connection.
  package func run<each Value: Bindable>(_ sql: StaticString, _ values: repeat each Value) throws(SQLiteError) {
    let statement = try statement(sql)
    defer { statement.reset() }
    try bind(statement, repeat each values)
    while try statement.step() {}
  }

  /// The rows of one statement, prepared once for the life of the connection, and once more while somebody reads it.
  package func rows<each Value: Bindable>(
    _ sql: StaticString, _ values: repeat each Value
  ) throws(SQLiteError) -> Rows {
    let rows = Rows(try statement(sql))
    try bind(rows.statement, repeat each values)
    return rows
  }

  /// The same without parameters, with text that is put together: prepared each time.
  package func rows(preparing sql: String) throws(SQLiteError) -> Rows {
    statementCount += 1
    return Rows(try Statement(sql, handle))
  }

  /// The first column of the first row.
  package func value<Value: ColumnValue>(_ sql: String) throws -> Value? {
    try rows(preparing: sql).next().map { try $0.get(0) }
  }

  private func bind<each Value: Bindable>(_ statement: Statement, _ values: repeat each Value) throws(SQLiteError) {
    statementCount += 1
    var index: Int32 = 0
    for value in repeat each values {
      index += 1
      try SQLiteError.check(value.bind(to: statement.handle, at: index), handle)
    }
  }

  private func statement(_ sql: StaticString) throws(SQLiteError) -> Statement {
    let key = UnsafeRawPointer(sql.utf8Start)
    let known = prepared[key]
    if let known, !known.isRead { return known }
    let statement = try Statement(sql.description, handle)
    if known == nil { prepared[key] = statement }
    return statement
  }

  // MARK: State

  package var lastInsertedRow: Int64 { sqlite3_last_insert_rowid(handle) }
  /// Rows that the last INSERT, UPDATE or DELETE changed.
  package var changes: Int { Int(sqlite3_changes(handle)) }
  /// The same since opening, with those of triggers and foreign keys.
  package var changeCount: Int { Int(sqlite3_total_changes(handle)) }
  /// SQLite may end a transaction on its own, after an I/O error or on a full disk.
  package var isInTransaction: Bool { sqlite3_get_autocommit(handle) == 0 }
}

/// A prepared statement.
final class Statement {
  let handle: OpaquePointer
  /// Has rows that somebody may still want.
  fileprivate(set) var isRead = false

  fileprivate init(_ sql: String, _ connection: OpaquePointer) throws(SQLiteError) {
    var handle: OpaquePointer?
    // To be executed many times: SQLite then keeps it out of the memory it expects back soon.
    let code = sqlite3_prepare_v3(connection, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &handle, nil)
    try SQLiteError.check(code, connection)
    guard let handle else { throw SQLiteError(code: SQLITE_MISUSE, message: "no statement in \"\(sql)\"") }
    self.handle = handle
  }

  deinit { sqlite3_finalize(handle) }

  /// Whether there is a row.
  func step() throws(SQLiteError) -> Bool {
    switch sqlite3_step(handle) {
    case SQLITE_ROW: return true
    case SQLITE_DONE: return false
    case let code: throw SQLiteError(code, sqlite3_db_handle(handle))
    }
  }

  /// Ends what is being read. Its result is that of the last step, which has been thrown.
  func reset() {
    sqlite3_reset(handle)
    isRead = false
  }
}

/// The rows of a statement, one after the other.
package final class Rows {
  let statement: Statement

  private var isOver = false

  fileprivate init(_ statement: Statement) {
    self.statement = statement
    statement.isRead = true
  }

  // An unfinished reading keeps its snapshot of the database. A finished one has given the statement back.
  deinit { if !isOver { statement.reset() } }

  /// Valid until the next call.
  package func next() throws(SQLiteError) -> Row? {
    // Another step would be a new reading, of a statement that may be somebody else's by now.
    if isOver { return nil }
    guard try statement.step() else {
      isOver = true
      statement.reset()
      return nil
    }
    return Row(rows: self)
  }
}
