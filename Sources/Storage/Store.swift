import CrashPoints
import GRDB
import Migrations

/// The only store of networks, containers and bindings: one SQLite database, in WAL mode, durable at every commit.
///
/// To be used from one thread at a time. What a single event asks for is an index search, whose cost does not grow with
/// what is stored. Everything fails with `StoreError`; outside `transaction` each call is a transaction of its own.
package final class Store {
  package enum Access: Sendable {
    /// For the agent: creates and migrates the database, and refuses a second agent on it.
    case readWrite
    /// For everybody else, with or without a running agent. SQLite needs read access to the `-wal` and `-shm` files,
    /// or may create them if they are absent (https://www.sqlite.org/wal.html#readonly): in practice, the owner or root.
    case readOnly
  }

  /// In seconds. In WAL mode only another writer makes us wait, and there is none but a person with sqlite3(1).
  static let busyTimeout = 2.0

  package let path: String
  /// SQL statements executed since opening, those of triggers not counted.
  package private(set) var statementCount = 0

  /// The first I/O error of a write: what is on disk is not known any more, so nothing is written after it. A second
  /// fsync(2) would succeed without having written what the first one lost.
  package private(set) var failure: StoreError?

  // In this order: the connection is closed before the lock is given up.
  let queue: DatabaseQueue
  private let lock: FileLock?

  private init(path: String, queue: DatabaseQueue, lock: FileLock?) {
    (self.path, self.queue, self.lock) = (path, queue, lock)
  }

  /// Opens the database at `path`, which `readWrite` creates with mode 0600, its directory with 0700.
  ///
  /// Refused and left untouched: a symbolic link, a file of another program, a damaged file, a newer schema.
  package static func open(at path: String, access: Access) throws(StoreError) -> Store {
    let file = StoreFile(path: path)
    do {
      let store = try attempt(file, access)
      if access == .readWrite { file.keepReserve() }
      return store
    } catch {
      guard access == .readWrite, error.isFullDisk, file.releaseReserve() else { throw error }
    }
    defer { file.keepReserve() }
    return try attempt(file, access)
  }

  private static func attempt(_ file: StoreFile, _ access: Access) throws(StoreError) -> Store {
    let path = file.path
    var lock: FileLock?
    switch access {
    case .readWrite:
      try file.createDirectory()
      lock = try FileLock(for: file)
      switch try file.size() {
      case nil:
        try file.create()
        crashPoint("created")
      // Left by an agent that was killed before its first write.
      case 0: break
      default: try file.checkHeader(applicationID: Schema.applicationID)
      }
    case .readOnly:
      guard let size = try file.size() else { throw file.error(.missing, "open database", "there is no such file") }
      guard size > 0 else { throw file.error(.missing, "open database", "it is empty") }
    }
    return try sqlite("open database", path) {
      var configuration = Configuration()
      configuration.readonly = access == .readOnly
      configuration.busyMode = .timeout(busyTimeout)
      let store = Store(path: path, queue: try DatabaseQueue(path: path, configuration: configuration), lock: lock)
      try store.queue.unsafeReentrantWrite { db in
        if access == .readWrite { try configure(db) }
        try store.check(db, access)
      }
      return store
    }
  }

  private static func configure(_ db: Database) throws {
    // Before WAL: the identity must be in the file itself, where `checkHeader` finds it after any crash.
    if try Int32.fetchOne(db, sql: "PRAGMA application_id") == 0 {
      try db.execute(sql: "PRAGMA application_id = \(Schema.applicationID)")
    }
    // Not GRDB's own WAL mode, which lowers `synchronous` to NORMAL: an acknowledged event could be lost.
    crashPoint("identified")
    let mode = try String.fetchOne(db, sql: "PRAGMA journal_mode = WAL")
    guard mode == "wal" else {
      throw DatabaseError(resultCode: .SQLITE_IOERR, message: "WAL mode refused, journal mode is \(mode ?? "unknown")")
    }
    try db.execute(
      sql: """
        PRAGMA synchronous = FULL;
        PRAGMA secure_delete = OFF;
        PRAGMA journal_size_limit = 16777216;
        """)
  }

  private func check(_ db: Database, _ access: Access) throws {
    let file = StoreFile(path: path)
    let identity = try Int32.fetchOne(db, sql: "PRAGMA application_id") ?? 0
    guard identity == Schema.applicationID else {
      throw file.error(
        .foreign, "open database", "it is a database of another program (application_id \(identity))")
    }
    let (version, known) = (try Schema.version(db), Migration.all.count)
    guard version <= known else {
      throw file.error(.newer(database: version, program: known), "open database", "it is too new")
    }
    if access == .readWrite {
      try Schema.migrate(db)
    } else if version < known {
      throw file.error(.older(database: version, program: known), "open database", "it is too old")
    }
    let damage = try Schema.damage(db)
    guard damage.isEmpty else {
      throw file.error(.corrupt, "open database", "missing or changed: \(damage.joined(separator: ", "))")
    }
  }
}

// MARK: - Transactions

extension Store {
  /// `BEGIN IMMEDIATE` … `COMMIT`; rolled back when `body` throws, whose error is passed on unchanged.
  package func transaction<T>(_ body: () throws -> T) throws -> T {
    try within("transaction") { db in
      var result: T?
      statementCount += 2
      try db.inTransaction(.immediate) {
        result = try body()
        return .commit
      }
      return result
    }
  }

  /// Part of a transaction that can be rolled back alone: one request of a round. Its error is passed on unchanged.
  ///
  /// When SQLite has given up the whole transaction (a full disk), every later call in it fails until it is left.
  package func savepoint<T>(_ body: () throws -> T) throws -> T {
    try within("savepoint") { db in
      var result: T?
      statementCount += 2
      try db.inSavepoint {
        result = try body()
        return .commit
      }
      return result
    }
  }

  private func within<T>(_ operation: String, _ body: (Database) throws -> T?) throws -> T {
    if let failure { throw failure }
    do {
      guard let result = try queue.unsafeReentrantWrite(body) else {
        throw DatabaseError(resultCode: .SQLITE_ABORT, message: "rolled back")
      }
      return result
    } catch let error as DatabaseError {
      throw noted(StoreError(error, operation: operation, path: path))
    }
  }

  private func noted(_ error: StoreError) -> StoreError {
    if lock != nil, error.isFailedWrite { failure = failure ?? error }
    return error
  }
}

// MARK: - Statements

extension Store {
  /// Runs `body` on the connection; what SQLite says becomes a `StoreError` of `operation`.
  func perform<T>(_ operation: @autoclosure () -> String, _ body: (Database) throws -> T) throws(StoreError) -> T {
    if let failure { throw failure }
    do {
      return try Self.sqlite(operation(), path) { try queue.unsafeReentrantWrite(body) }
    } catch {
      throw noted(error)
    }
  }

  /// Executes one statement, prepared once for the life of the store.
  func execute(_ db: Database, _ sql: String, _ arguments: StatementArguments) throws {
    statementCount += 1
    try db.cachedStatement(sql: sql).execute(arguments: arguments)
  }

  /// Rows of one statement; each is valid until the next is read. A `shared` statement is prepared once, so that two
  /// cursors of the same SQL cannot be open at a time.
  func rows(
    _ db: Database, _ sql: String, _ arguments: StatementArguments = [], shared: Bool = true
  ) throws -> RowCursor {
    statementCount += 1
    let statement = try shared ? db.cachedStatement(sql: sql) : db.makeStatement(sql: sql)
    return try Row.fetchCursor(statement, arguments: arguments)
  }

  fileprivate static func sqlite<T>(
    _ operation: @autoclosure () -> String, _ path: String, _ body: () throws -> T
  ) throws(StoreError) -> T {
    do {
      return try body()
    } catch let error as StoreError {
      throw error
    } catch let error as DatabaseError {
      throw StoreError(error, operation: operation(), path: path)
    } catch {
      // A stored value that its column's rules exclude.
      throw StoreError(reason: .corrupt, operation: operation(), path: path, message: "\(error)", code: 0)
    }
  }
}
