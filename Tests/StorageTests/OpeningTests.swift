import CLinux
import Glibc
import Migrations
import PortMaps
import SideThread
import Testing

@testable import Storage

struct OpeningTests {
  let directory: TemporaryDirectory
  var path: String { directory.database }

  init() throws { directory = try TemporaryDirectory() }

  private func open(_ access: Store.Access = .readWrite) throws -> Store { try Store.open(at: path, access: access) }

  /// Makes a database with a container in it and closes it.
  private func fill() throws {
    let store = try open()
    try store.record(mynet)
    for n in 1...50 { _ = try store.record(simpleRecord(n)) }
  }

  @Test func everyCommitIsDurable() throws {
    let store = try open()
    // 2 = FULL: the WAL is synced at every commit (https://www.sqlite.org/pragma.html#pragma_synchronous).
    #expect(try store.value("PRAGMA synchronous") == "2")
    #expect(try store.value("PRAGMA journal_mode") == "wal")
    #expect(try store.value("PRAGMA foreign_keys") == "1")
    #expect(try store.value("PRAGMA secure_delete") == "0")
    #expect(try store.value("PRAGMA journal_size_limit") == "16777216")
  }

  @Test func filesAreForTheOwnerAlone() throws {
    let nested = directory.path + "/a/b/pmagent.db"
    let store = try Store.open(at: nested, access: .readWrite)
    try store.record(mynet)
    #expect(mode(of: directory.path + "/a") == 0o700)
    #expect(mode(of: directory.path + "/a/b") == 0o700)
    for suffix in ["", "-wal", "-shm", ".lock"] { #expect(mode(of: nested + suffix) == 0o600) }
  }

  @Test func aRelativePathBeginsInTheWorkingDirectory() throws {
    // CLONE_FS of <sched.h>: a working directory of the thread's own.
    let ownDirectory: CInt = 0x200
    let opened = SideThread { [path = directory.path] in
      Result {
        guard clinux_unshare(ownDirectory) == 0, chdir(path) == 0 else {
          throw SystemError(operation: "chdir", number: errno)
        }
        for database in ["a/pmagent.db", "b/c/pmagent.db"] { _ = try Store.open(at: database, access: .readWrite) }
      }
    }
    try opened.value().get()
    for created in ["/a", "/b/c"] { #expect(mode(of: directory.path + created) == 0o700) }
    for created in ["/a/pmagent.db", "/b/c/pmagent.db"] { #expect(mode(of: directory.path + created) == 0o600) }
  }

  @Test func whatWasStoredIsThereAfterReopening() throws {
    try fill()
    let store = try open()
    #expect(try store.networks() == [mynet])
    #expect(try store.counts() == (networks: 1, containers: 50, mappings: 50))
  }

  @Test func anEmptyFileBecomesADatabase() throws {
    try write([], to: path)
    _ = try open()
  }

  @Test(arguments: [Store.Access.readWrite, .readOnly])
  func anEmptyFileThatWasADatabaseIsLeftUntouched(_ access: Store.Access) throws {
    try fill()
    guard truncate(path, 0) == 0 else { throw SystemError(operation: "truncate", number: errno) }
    let error = try #require(thrown { _ = try open(access) })
    #expect(error.reason == .corrupt)
    #expect(error.description.contains("there is \(path).reserve; keep the file"), "\(error)")
    #expect(try contents(of: path) == [])
  }

  @Test func theIdentityIsInTheFileBeforeAnythingIsCheckpointed() throws {
    let store = try open()
    #expect(try contents(of: path)[68..<72].elementsEqual("pmag".utf8))
    _ = store
  }

  @Test func aSecondAgentIsRefusedAndTheFirstNamed() throws {
    let first = try open()
    let error = try #require(thrown { _ = try open() })
    #expect(error.reason == .locked(pid: getpid()))
    #expect(error.description.contains("stop process \(getpid()) first"))
    try first.record(mynet)
  }

  @Test func theLockEndsWithTheStore() throws {
    _ = try open()
    _ = try open()
  }

  @Test func aReaderWorksBesideAnAgentAndWithoutOne() throws {
    try fill()
    #expect(try open(.readOnly).counts().containers == 50)
    let agent = try open()
    let reader = try open(.readOnly)
    try agent.remove("c1")
    #expect(try reader.counts().containers == 49)
  }

  @Test func aReaderCreatesNothing() throws {
    for missing in [path, directory.path + "/none/pmagent.db"] {
      let error = try #require(thrown { _ = try Store.open(at: missing, access: .readOnly) })
      #expect(error.reason == .missing)
    }
    for created in ["/pmagent.db", "/pmagent.db-wal", "/pmagent.db.lock", "/none"] {
      #expect(mode(of: directory.path + created) == nil)
    }
  }

  @Test func anUnmigratedDatabaseIsNoUseToAReader() throws {
    try write([], to: path)
    try Database(path).execute("PRAGMA application_id = \(Schema.applicationID); PRAGMA journal_mode = WAL")
    let error = try #require(thrown { _ = try open(.readOnly) })
    #expect(error.reason == .older(database: 0, program: Migration.all.count))
    // The agent goes on where it was killed.
    _ = try open()
  }

  /// As each earlier version left it, with a container.
  @Test(arguments: 1..<Migration.all.count) func anOlderDatabaseKeepsWhatItHas(version: Int) throws {
    var record = try simpleRecord(1)
    record.bindings.append(
      Binding(
        network: "n1", mode: .nat, transport: .udp, hostAddress: .any(.ipv4), hostPorts: PortRange(5000, 5099),
        containerAddress: record.bindings[0].containerAddress, containerPorts: PortRange(5000, 5099), request: nil))
    do {
      try write([], to: path)
      let old = try Database(path)
      try old.execute("PRAGMA application_id = \(Schema.applicationID); PRAGMA journal_mode = WAL")
      for migration in Migration.all.prefix(version) { try old.execute(migration.sql) }
      try old.execute("PRAGMA user_version = \(version)")
      // The same rows in every version so far.
      let new = try Store.open(at: path + ".new", access: .readWrite)
      try new.record(mynet)
      _ = try new.record(record)
      try old.execute("ATTACH '\(path).new' AS new")
      for table in ["network", "container", "endpoint", "publish"] {
        try old.execute("INSERT INTO \(table) SELECT * FROM new.\(table)")
      }
      // Without the generated one.
      let columns = """
        container, position, network, mode, family, protocol, host_address, host_first, host_last, container_address,
        container_first, container_last, request, allow_from
        """
      try old.execute("INSERT INTO binding (\(columns)) SELECT \(columns) FROM new.binding")
    }
    let store = try open()
    let found = try #require(try store.container(source: "default", id: record.container.id))
    #expect(found.container == record.container && found.bindings == record.bindings)
    // One owner of a port, of a range, too.
    var rival = try simpleRecord(2)
    rival.bindings[0].transport = .udp
    rival.bindings[0].hostPorts = PortRange(5099)
    #expect(thrown { _ = try store.record(rival) }?.reason == .constraint)
    try store.remove(found)
    #expect(try store.record(record) == 2)
    #expect(throws: StoreError.self) { try store.removeNetwork(id: mynet.id) }
    try store.remove(record.container.id)
    try store.removeNetwork(id: mynet.id)
  }

  enum Damage: String, CaseIterable, Sendable {
    case text, short, foreignDatabase, newer, negativeVersion, header, schemaPage, truncated, triggerDropped
  }

  /// Spoils the file; gives the reason expected.
  private func spoil(_ damage: Damage) throws -> StoreError.Reason {
    switch damage {
    case .text: try write([UInt8](repeating: 0x41, count: 5000), to: path)
    case .short: try write("SQLite format 3\0".utf8, to: path)
    case .foreignDatabase:
      try write([], to: path)
      try Database(path).execute("CREATE TABLE notes (text)")
      return .foreign
    case .newer:
      try fill()
      try Database(path).execute("PRAGMA user_version = 99")
      return .newer(database: 99, program: Migration.all.count)
    case .negativeVersion:
      try fill()
      try Database(path).execute("PRAGMA user_version = -1")
    case .header:
      try fill()
      try write([0, 0, 0, 0], to: path)
    case .schemaPage:
      try fill()
      try write([UInt8](repeating: 0xff, count: 3900), to: path, at: 100)
    case .truncated:
      try fill()
      guard truncate(path, 5000) == 0 else { throw SystemError(operation: "truncate", number: errno) }
    case .triggerDropped:
      try fill()
      try Database(path).execute("DROP TRIGGER binding_any_address")
    }
    return .corrupt
  }

  @Test(arguments: Damage.allCases, [Store.Access.readWrite, .readOnly])
  func whatIsNotOursIsReportedAndLeftUntouched(_ damage: Damage, _ access: Store.Access) throws {
    let reason = try spoil(damage)
    let before = try contents(of: path)
    let error = try #require(thrown { _ = try open(access) })
    #expect(error.reason == reason)
    #expect(error.path == path)
    #expect(try contents(of: path) == before)
  }

  @Test func damageInsideIsReported() throws {
    try fill()
    let root = try #require(
      try open().value("SELECT rootpage FROM sqlite_schema WHERE name = 'binding'").flatMap { Int($0) })
    let size = try #require(try open().value("PRAGMA page_size").flatMap { Int($0) })
    try write([UInt8](repeating: 0xff, count: size), to: path, at: (root - 1) * size)
    let before = try contents(of: path)
    #expect(thrown { _ = try open() }?.reason == .corrupt)
    // A reader does not look before it reads.
    let error = try #require(thrown { try open(.readOnly).forEachContainer { _ in } })
    #expect(error.reason == .corrupt)
    #expect(error.code & 0xff == 11)
    #expect(try contents(of: path) == before)
  }

  @Test(arguments: [Store.Access.readWrite, .readOnly])
  func aSymbolicLinkIsRefused(_ access: Store.Access) throws {
    let real = directory.path + "/real.db"
    try write("precious".utf8, to: real)
    symlink(real, path)
    let error = try #require(thrown { _ = try open(access) })
    #expect(error.reason == .foreign)
    #expect(error.message == "it is a symbolic link")
    #expect(try contents(of: real).elementsEqual("precious".utf8))
  }

  @Test(arguments: [Store.Access.readWrite, .readOnly])
  func aDirectoryIsRefused(_ access: Store.Access) throws {
    mkdir(path, 0o700)
    #expect(thrown { _ = try open(access) }?.message == "it is not a regular file")
  }

  @Test func aFileInTheWayOfTheDirectoryIsNamed() throws {
    try write([], to: path)
    let error = try #require(thrown { _ = try Store.open(at: path + "/x/pmagent.db", access: .readWrite) })
    #expect(error.reason == .io)
    #expect(error.description.contains("Not a directory"))
  }
}

struct MigrationTests {
  /// The folder the program was built from.
  static let folder = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 } + "/Migrations"

  @Test func everyFileIsAMigrationAndEveryMigrationAFile() throws {
    let stream = try #require(opendir(Self.folder))
    defer { closedir(stream) }
    var files: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if name.hasSuffix(".sql") { files.append(name) }
    }
    #expect(Migration.all.map(\.name) == files.sorted())
    for migration in Migration.all {
      #expect(try contents(of: "\(Self.folder)/\(migration.name)").elementsEqual(migration.sql.utf8))
    }
  }
}
