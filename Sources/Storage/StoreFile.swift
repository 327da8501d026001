import Glibc

/// The files of a database before SQLite sees them: created for the owner alone, locked for one agent, and recognised.
struct StoreFile {
  let path: String

  /// Creates the missing directories with mode 0700.
  func createDirectory() throws(StoreError) {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropLast()
    // An absolute path begins with an empty part.
    for last in parts.indices where !parts[last].isEmpty {
      let directory = parts[...last].joined(separator: "/")
      if mkdir(directory, 0o700) == 0 {
        try StoreFile(path: directory).syncDirectory()
        continue
      }
      if errno == EEXIST { continue }
      // EROFS and EACCES are also what mkdir(2) says of a directory that exists already, behind a mount or in a sandbox.
      let refusal = failure("create directory \(directory)")
      guard access(directory, F_OK) != 0 else { continue }
      throw refusal
    }
  }

  /// Size in bytes, `nil` when there is no such file. Anything but a regular file is refused.
  func size() throws(StoreError) -> Int? {
    var status = stat()
    guard lstat(path, &status) == 0 else {
      if errno == ENOENT { return nil }
      throw failure("open database")
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      let what = status.st_mode & S_IFMT == S_IFLNK ? "a symbolic link" : "not a regular file"
      throw error(.foreign, "open database", "it is \(what)")
    }
    return Int(status.st_size)
  }

  /// An empty file with mode 0600, from which SQLite takes the mode of its `-wal` and `-shm` files.
  func create() throws(StoreError) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw failure("create database") }
    close(descriptor)
    try syncDirectory()
  }

  /// A new entry survives a power cut once its directory is synced; SQLite does so for the files that it makes itself.
  private func syncDirectory() throws(StoreError) {
    let parent = path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
    let directory = StoreFile(path: parent.isEmpty ? (path.hasPrefix("/") ? "/" : ".") : parent)
    let descriptor = open(directory.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw directory.failure("open directory") }
    defer { close(descriptor) }
    // EINVAL: a file system that has no such thing.
    guard fsync(descriptor) == 0 || errno == EINVAL else { throw directory.failure("sync directory") }
  }

  /// access(2) and not open(2), whose close(2) would drop the process's POSIX locks on the file.
  func checkReadable() throws(StoreError) {
    guard access(path, R_OK) == 0 else { throw failure("open database") }
  }

  /// On a read-only file system SQLite can read a database only as one that nobody changes: right when no WAL has more.
  var isImmutable: Bool {
    var status = stat()
    guard access(path, W_OK) != 0, errno == EROFS else { return false }
    return lstat(path + "-wal", &status) != 0 || status.st_size == 0
  }

  /// Refuses what is no database of ours by its first 100 bytes (https://www.sqlite.org/fileformat.html §1.3), so that
  /// SQLite is never let near it: opening alone may roll a journal back.
  ///
  /// Closing the descriptor drops the process's POSIX locks on the file: call it only under `FileLock`.
  func checkHeader(applicationID: Int32) throws(StoreError) {
    let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("open database") }
    defer { close(descriptor) }
    var header = [UInt8](repeating: 0, count: 100)
    let count = pread(descriptor, &header, header.count, 0)
    guard count >= 0 else { throw failure("read database") }
    guard count == header.count, header.starts(with: "SQLite format 3\0".utf8) else {
      throw error(.corrupt, "open database", "file is not a database")
    }
    let found = header[68..<72].reduce(Int32(0)) { $0 << 8 | Int32($1) }
    guard found == applicationID else {
      throw error(.foreign, "open database", "it is a database of another program (application_id \(found))")
    }
  }

  func error(_ reason: StoreError.Reason, _ operation: String, _ message: String) -> StoreError {
    StoreError(reason: reason, operation: operation, path: path, message: message, code: 0)
  }

  /// The error of the system call that just failed.
  func failure(_ operation: String) -> StoreError {
    let number = errno
    let reason: StoreError.Reason =
      switch number {
      case ENOSPC, EDQUOT: .full
      case EROFS: .readOnly
      case ENOENT: .missing
      case EACCES, EPERM: .notPermitted
      default: .io
      }
    return error(reason, operation, "\(String(cString: strerror(number))) (errno \(number))")
  }
}

/// Holds `PATH.lock` with flock(2), process id inside, until it is released or the process ends, however it ends.
final class FileLock {
  private let descriptor: Int32

  init(for file: StoreFile) throws(StoreError) {
    let operation = "lock database"
    let lock = StoreFile(path: file.path + ".lock")
    // Not the property yet: an initializer that throws after the last one is set runs `deinit`, which closes as well.
    let descriptor = open(lock.path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw lock.failure(operation) }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      defer { close(descriptor) }
      guard errno == EWOULDBLOCK else { throw lock.failure(operation) }
      let pid = Self.pid(in: descriptor)
      throw file.error(.locked(pid: pid), operation, "in use by another agent\(pid.map { ", process \($0)" } ?? "")")
    }
    let text = Array("\(getpid())\n".utf8)
    // In this order, which needs no space that the file does not have already.
    guard pwrite(descriptor, text, text.count, 0) == text.count, ftruncate(descriptor, off_t(text.count)) == 0 else {
      defer { close(descriptor) }
      throw lock.failure(operation)
    }
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  private static func pid(in descriptor: Int32) -> Int32? {
    var text = [UInt8](repeating: 0, count: 16)
    let count = pread(descriptor, &text, text.count, 0)
    return Int32(String(decoding: text.prefix(max(count, 0)).prefix { $0 != 0x0a }, as: UTF8.self))
  }
}
