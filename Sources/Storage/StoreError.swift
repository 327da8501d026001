import CSQLite

/// What the database refused or could not do. Nothing of the failed operation remains in it.
package struct StoreError: Error, Sendable, Equatable, CustomStringConvertible {
  package enum Reason: Sendable, Equatable {
    /// Another program holds the write lock for longer than `Store.busyTimeout`.
    case busy
    case full
    case readOnly
    /// The mode or the owner of a file keeps us out.
    case notPermitted
    case corrupt
    /// A later version of the program has migrated it.
    case newer(database: Int, program: Int)
    /// Opened for reading only, before the agent of this version has migrated it.
    case older(database: Int, program: Int)
    /// Not a file of ours: left untouched.
    case foreign
    /// Another agent runs on it; its process id, where it could be read.
    case locked(pid: Int32?)
    case missing
    /// The rows break a rule of the schema.
    case constraint
    case io
  }

  package var reason: Reason
  /// What was attempted: `open`, `record container web`.
  package var operation: String
  package var path: String
  /// The words of SQLite or of the C library.
  package var message: String
  /// SQLite's extended result code (https://www.sqlite.org/rescode.html), 0 when SQLite was not involved.
  package var code: Int32

  package var description: String {
    let number = code == 0 ? "" : " (SQLite \(code))"
    return "\(operation): \(path): \(message)\(number); \(advice)"
  }

  /// What the operator can do.
  package var advice: String {
    switch reason {
    case .busy: "another program holds the write lock: end it, then try again"
    case .full: "free space on the file system, then try again"
    case .readOnly: "make the file and its directory writable for this user"
    case .notPermitted: "run as root or as the owner of the file"
    case .corrupt:
      "keep the file for inspection, put a backup in its place or move it away, then let every feed send its snapshot"
    case .newer(let database, let program):
      "its schema is version \(database) and this program knows up to \(program): install the newer program again"
    case .older(let database, let program):
      "its schema is version \(database) and this program needs \(program): start the agent once, which migrates it"
    case .foreign: "give the path of a pmagent database, or of a file that does not exist yet"
    case .locked(let pid): pid.map { "stop process \($0) first" } ?? "stop the other agent first"
    case .missing: "start the agent once, which creates it, or give the path it uses"
    case .constraint: "the request was not stored; please report this with the message"
    case .io: "check the file, its directory and the system log"
    }
  }
}

extension StoreError {
  /// An I/O error that leaves open what is on disk; one of reading does not.
  var isFailedWrite: Bool {
    code & 0xff == SQLITE_IOERR && ![Self.readFailed, Self.shortRead].contains(code)
  }

  /// SQLite reports as an I/O error that there is no room for the `-shm` file.
  var isFullDisk: Bool { reason == .full || code == Self.noSharedMemory }

  // SQLITE_IOERR_READ, _SHORT_READ and _SHMSIZE of <sqlite3.h>: macros that Swift cannot import.
  private static let (readFailed, shortRead, noSharedMemory) = (
    SQLITE_IOERR | 1 << 8, SQLITE_IOERR | 2 << 8, SQLITE_IOERR | 19 << 8
  )

  init(_ error: SQLiteError, operation: String, path: String) {
    let reason: Reason =
      switch error.primaryCode {
      case SQLITE_BUSY, SQLITE_LOCKED: .busy
      case SQLITE_FULL: .full
      case SQLITE_READONLY: .readOnly
      case SQLITE_CORRUPT, SQLITE_NOTADB: .corrupt
      case SQLITE_CONSTRAINT: .constraint
      default: .io
      }
    self.init(
      reason: reason, operation: operation, path: path, message: error.message, code: error.code)
  }
}
