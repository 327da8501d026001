import CSQLite
import CrashPoints
import Migrations
import SideThread

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
    /// Read-only media will do.
    case readOnly
  }

  /// In milliseconds. In WAL mode only another writer makes us wait, and there is none but a person with sqlite3(1).
  static let busyTimeout: Int32 = 2000

  package let path: String

  /// The first I/O error of a write: what is on disk is not known any more, so nothing is written after it. A second
  /// fsync(2) would succeed without having written what the first one lost.
  package private(set) var failure: StoreError?

  // In this order: nobody reads the file any more before the lock is given up.
  private var check: SideThread<Result<String, any Error>>?
  let database: Database
  private let lock: FileLock?
  private(set) var isInTransaction = false
  /// What the transaction is to make of the revision.
  var advancedRevision: Int?
  /// Where tests let a commit fail.
  var beforeCommit: () throws -> Void = {}

  private init(path: String, database: Database, lock: FileLock?) {
    (self.path, self.database, self.lock) = (path, database, lock)
  }

  /// Opens the database at `path`, which `readWrite` creates with mode 0600, its directory with 0700.
  ///
  /// Refused and left untouched: a symbolic link, a file of another program, a damaged file, a newer schema.
  package static func open(at path: String, access: Access) throws(StoreError) -> Store {
    let store = try openUnverified(at: path, access: access)
    try store.verify()
    return store
  }

  /// The same without having looked for damage in all of a file that is to be written: that goes on beside the caller, who
  /// is to call `verify` before anything is written or relied upon.
  package static func openUnverified(at path: String, access: Access) throws(StoreError) -> Store {
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

  /// Fails with reason `corrupt` where the file turns out to be damaged.
  package func verify() throws(StoreError) {
    guard let check else { return }
    let finding = try Self.sqlite("open database", path) { try check.value().get() }
    guard finding == "ok" else { throw StoreFile(path: path).error(.corrupt, "open database", finding) }
    self.check = nil
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
        // One that is left of a database which was moved away says nothing of the new one.
        _ = file.releaseReserve()
        try file.create()
        crashPoint("database-created")
      case 0: try file.checkNeverWritten()
      default: try file.checkHeader(applicationID: Schema.applicationID)
      }
    case .readOnly:
      guard let size = try file.size() else { throw file.error(.missing, "open database", "there is no such file") }
      guard size > 0 else {
        try file.checkNeverWritten()
        throw file.error(.missing, "open database", "it is empty")
      }
      try file.checkReadable()
    }
    return try sqlite("open database", path) {
      let mode: Database.Mode = access == .readWrite ? .readWrite : file.isImmutable ? .immutable : .readOnly
      let database = try Database(path, mode, busyTimeout: busyTimeout)
      if access == .readWrite { try configure(database) }
      let store = Store(path: path, database: database, lock: lock)
      try store.examine(access)
      return store
    }
  }

  private static func configure(_ db: Database) throws {
    // Before WAL: the identity must be in the file itself, where `checkHeader` finds it after any crash. A commit writes whole
    // pages, a dozen for a container, of which little has changed: small ones halve what it checksums and the disk takes.
    if try db.value("PRAGMA application_id") == 0 {
      try db.execute("PRAGMA page_size = 2048")
      try db.execute("PRAGMA application_id = \(Schema.applicationID)")
    }
    crashPoint("database-identified")
    let mode = try db.value("PRAGMA journal_mode = WAL") ?? "unknown"
    guard mode == "wal" else {
      throw SQLiteError(code: SQLITE_IOERR, message: "WAL mode refused, journal mode is \(mode)")
    }
    // FULL: a commit that was acknowledged survives a power cut. MEMORY: what would undo a statement that a trigger may
    // refuse is a temporary file otherwise, made anew each time. 2000 pages: a checkpoint each 4 MB, which one event waits for.
    try db.execute(
      """
      PRAGMA synchronous = FULL;
      PRAGMA temp_store = MEMORY;
      PRAGMA wal_autocheckpoint = 2000;
      PRAGMA secure_delete = OFF;
      PRAGMA journal_size_limit = 16777216;
      """)
  }

  private func examine(_ access: Access) throws {
    let db = database
    let file = StoreFile(path: path)
    let identity = try db.value("PRAGMA application_id") ?? Int32(0)
    guard identity == Schema.applicationID else {
      throw file.error(
        .foreign, "open database", "it is a database of another program (application_id \(identity))")
    }
    let (version, known) = (try Schema.version(db), Migration.all.count)
    guard version >= 0 else {
      throw file.error(.corrupt, "open database", "its schema is version \(version), and there is none below 0")
    }
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
    // All of it is about to be loaded: what cannot be read is better known before the kernel is touched.
    // By a connection of its own: it reads every page, which takes as long as the loading, and both can happen at once.
    if access == .readWrite {
      check = SideThread { [path] in Result { try Database(path, .readOnly).value("PRAGMA quick_check(1)") ?? "" } }
    }
  }
}

// MARK: - Transactions

extension Store {
  /// SQL statements executed since opening, those of triggers not counted.
  package var statementCount: Int { database.statementCount }

  /// Rows inserted, changed or removed since opening: equal numbers mean that nothing was written in between.
  package var changeCount: Int { database.changeCount }

  /// `BEGIN IMMEDIATE` … `COMMIT`; rolled back when `body` throws, whose error is passed on unchanged.
  ///
  /// When SQLite has given up the transaction (a full disk), every later call in it fails until it is left.
  package func transaction<T>(_ body: () throws -> T) throws -> T {
    try perform("transaction") { db in try db.run("BEGIN IMMEDIATE") }
    isInTransaction = true
    defer { (isInTransaction, advancedRevision) = (false, nil) }
    do {
      let result = try body()
      if let advancedRevision { try write(revision: advancedRevision) }
      try perform("transaction") { db in
        try beforeCommit()
        try db.run("COMMIT")
      }
      return result
    } catch {
      // A COMMIT that fails may leave it open; SQLite may have rolled it back already.
      if database.isInTransaction { try rollBack() }
      throw error
    }
  }

  /// Past `perform`, which lets nothing through after a failure.
  private func rollBack() throws(StoreError) {
    do {
      try database.execute("ROLLBACK")
    } catch {
      throw noted(StoreError(error, operation: "roll back", path: path))
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
    // Compared first: looking into it costs more than a statement's bindings.
    if failure != nil, let failure { throw failure }
    do {
      return try Self.sqlite(operation(), path) {
        guard !isInTransaction || database.isInTransaction else {
          throw SQLiteError(code: SQLITE_ABORT, message: "the transaction was rolled back")
        }
        return try body(database)
      }
    } catch {
      throw noted(error)
    }
  }

  fileprivate static func sqlite<T>(
    _ operation: @autoclosure () -> String, _ path: String, _ body: () throws -> T
  ) throws(StoreError) -> T {
    do {
      return try body()
    } catch let error as StoreError {
      throw error
    } catch let error as SQLiteError {
      throw StoreError(error, operation: operation(), path: path)
    } catch {
      // A stored value that its column's rules exclude.
      throw StoreError(reason: .corrupt, operation: operation(), path: path, message: "\(error)", code: 0)
    }
  }
}
