import Glibc

// Space that nothing but removals may use: on a full disk a container must still be able to go.
//
// SQLite writes before it frees, so a deletion needs room in the WAL. `PATH.reserve` keeps that room, and is given up
// when a removal finds the disk full; afterwards the WAL is emptied and what can be had is kept again.

extension StoreFile {
  private var reserve: StoreFile { StoreFile(path: path + ".reserve") }
  private static let reserveSize: off_t = 1 << 20

  /// Whether there was one to give up.
  func releaseReserve() -> Bool { unlink(reserve.path) == 0 }

  /// Of an empty file, which an agent leaves that is killed before its first write. The reserve is made after that.
  func checkNeverWritten() throws(StoreError) {
    guard access(reserve.path, F_OK) != 0 else {
      throw error(.corrupt, "open database", "it is empty and was not always, for there is \(reserve.path)")
    }
  }

  /// Takes as much as there is. No more than a precaution, so that it does not matter why there may be nothing.
  func keepReserve() {
    let descriptor = open(reserve.path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    var size = Self.reserveSize
    while size >= 4096, posix_fallocate(descriptor, 0, size) != 0 { size /= 2 }
  }
}

extension Store {
  package func releaseReserve() -> Bool { StoreFile(path: path).releaseReserve() }

  /// Moves the WAL into the database, which frees its space, and keeps the reserve again.
  package func keepReserve() {
    do {
      try perform("checkpoint") { db in try db.execute("PRAGMA wal_checkpoint(TRUNCATE)") }
    } catch {
      // It stays in the WAL, as well stored as before.
    }
    StoreFile(path: path).keepReserve()
  }
}
