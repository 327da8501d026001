import Glibc
import PortMaps
import TestSupport
import Testing

@testable import Storage

/// A database whose commits were acknowledged one by one, and its files as they were after each.
///
/// Container `n` and revision `n` are of commit `n`; commit 0 made the schema.
struct History {
  struct Files {
    var database: [UInt8]
    var wal: [UInt8]
  }
  private(set) var files: [Files] = []
  private let directory: TemporaryDirectory
  private let store: Store

  init(commits: Int) throws {
    directory = try TemporaryDirectory(in: "/dev/shm")
    store = try Store.open(at: directory.path + "/state.db", access: .readWrite)
    try store.record(Network(source: "s", id: "n", name: "n", bridge: "br0", subnets: ["172.18.0.0/16"]))
    try note()
    for _ in 0..<commits { try commit() }
  }

  mutating func commit() throws {
    let number = files.count
    try store.transaction {
      let address = IPAddress(ipv4: 0xac12_0000 + UInt32(number))
      let ports = PortRange(UInt16(number))
      _ = try store.record(
        ContainerRecord(
          container: Container(
            source: "s", id: "c\(number)", name: "c\(number)", endpoints: [Endpoint(network: "n", ipv4: address)]),
          bindings: [
            Binding(
              network: "n", mode: .nat, transport: .tcp, hostAddress: .any(.ipv4), hostPorts: ports,
              containerAddress: address, containerPorts: PortRange(80), request: nil)
          ]))
      _ = try store.advanceRevision()
    }
    try note()
  }

  /// Everything into the database; the next commit begins at the start of the WAL, whose old content stays behind it.
  mutating func checkpoint() throws -> (before: [UInt8], after: [UInt8]) {
    let before = files[files.count - 1].database
    try store.database.execute("PRAGMA wal_checkpoint(RESTART)")
    files[files.count - 1].database = try bytes(of: store.path)
    return (before, files[files.count - 1].database)
  }

  private mutating func note() throws {
    files.append(Files(database: try bytes(of: store.path), wal: try bytes(of: store.path + "-wal")))
  }
}

func bytes(of path: String) throws -> [UInt8] {
  let file = try Descriptor(open(path, O_RDONLY | O_CLOEXEC), "open \(path)")
  var status = stat()
  fstat(file.number, &status)
  var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
  guard Glibc.read(file.number, &bytes, bytes.count) == bytes.count else { throw SystemError("read \(path)") }
  return bytes
}

private func put(_ bytes: some Collection<UInt8>, _ path: String) throws {
  let file = try Descriptor(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600), "open \(path)")
  let bytes = Array(bytes)
  guard Glibc.write(file.number, bytes, bytes.count) == bytes.count else { throw SystemError("write \(path)") }
}

/// Whatever a power cut leaves of the files, the database opens as what was committed up to some moment, and no
/// acknowledged commit is missing.
@Suite(.timeLimit(.minutes(60))) struct PowerLossTests {
  /// Opens what is left; the number of the last commit in it. It can go on from there.
  private func survivor(_ database: [UInt8], _ wal: (some Collection<UInt8>)?, shm: [UInt8]? = nil) throws -> Int {
    let directory = try TemporaryDirectory(in: "/dev/shm")
    let path = directory.path + "/state.db"
    try put(database, path)
    if let wal { try put(wal, path + "-wal") }
    if let shm { try put(shm, path + "-shm") }
    let store = try Store.open(at: path, access: .readWrite)
    let revision = try store.revision
    var containers: [String] = []
    try store.forEachContainer { containers.append($0.container.id) }
    #expect(containers == (0..<revision).map { "c\($0 + 1)" }, "a prefix of what was committed")
    #expect(try store.transaction { try store.advanceRevision() } == revision + 1)
    return revision
  }

  @Test func everyLengthOfTheWALIsACommittedPrefix() throws {
    let history = try History(commits: 6)
    let last = history.files[6]
    let all = Array(0...last.wal.count)
    let seed = Effort.seed()
    var random = SeededGenerator(seed: seed)
    let isComplete = getenv("PMAGENT_EVERY_BYTE") != nil
    let boundaries = history.files.flatMap { [$0.wal.count - 1, $0.wal.count] }
    let lengths =
      isComplete ? all : boundaries + all.shuffled(using: &random).prefix(Effort.count(150, soak: 5000))
    for length in lengths {
      // Every commit whose frames are all there, which is what fsync(2) had promised.
      let expected = history.files.lastIndex { $0.wal.count <= length } ?? 0
      let found = try survivor(last.database, last.wal[..<length])
      #expect(found == expected, "WAL of \(length) bytes, PMAGENT_SEED=\(seed)")
      if found != expected { return }
    }
    print("power loss: \(lengths.count) of \(all.count) lengths of the WAL opened, PMAGENT_SEED=\(seed)")
  }

  /// 512-byte sectors of the commit that was under way are there or not; in a fresh WAL and in one that is used again.
  @Test(arguments: [false, true]) func aTornCommitIsThereAsAWholeOrNotAtAll(_ isUsedAgain: Bool) throws {
    var history = try History(commits: 5)
    if isUsedAgain {
      _ = try history.checkpoint()
      try history.commit()
      try history.commit()
    }
    let (old, new) = (history.files[history.files.count - 2], history.files[history.files.count - 1])
    let before = history.files.count - 2
    let seed = Effort.seed()
    var random = SeededGenerator(seed: seed)
    let tries = Effort.count(150, soak: 5000)
    var whole = 0
    for _ in 0..<tries {
      let torn = mixed(old.wal, new.wal, keeping: random.pick([2, 10, 100, 1000]), &random)
      let found = try survivor(new.database, torn)
      let isWhole = torn == new.wal
      if isWhole { whole += 1 }
      // A sector that is missing from the last commit undoes all of it.
      #expect(found == (isWhole ? before + 1 : before), "PMAGENT_SEED=\(seed)")
    }
    print("power loss: \(tries) torn commits, \(whole) of them whole, used again: \(isUsedAgain), PMAGENT_SEED=\(seed)")
  }

  /// The database under a checkpoint is a mixture of old and new; the WAL still has everything.
  @Test func aTornCheckpointLosesNothing() throws {
    var history = try History(commits: 8)
    let (before, after) = try history.checkpoint()
    let seed = Effort.seed()
    var random = SeededGenerator(seed: seed)
    let tries = Effort.count(100, soak: 3000)
    for _ in 0..<tries {
      let torn = mixed(before, after, keeping: random.pick([2, 10, 100]), &random)
      #expect(try survivor(torn, history.files[8].wal) == 8, "PMAGENT_SEED=\(seed)")
    }
    print("power loss: \(tries) torn checkpoints, PMAGENT_SEED=\(seed)")
  }

  /// `old` with sectors of `new`, all but about one in `n`.
  private func mixed(
    _ old: [UInt8], _ new: [UInt8], keeping n: Int, _ random: inout SeededGenerator
  ) -> [UInt8] {
    var mixed = new
    for start in stride(from: 0, to: new.count, by: 512) where random.oneIn(n) {
      for index in start..<min(start + 512, new.count) { mixed[index] = index < old.count ? old[index] : 0 }
    }
    return mixed
  }

  @Test func theSharedMemoryFileIsNotNeeded() throws {
    let last = try History(commits: 3).files[3]
    #expect(try survivor(last.database, last.wal) == 3)
    #expect(try survivor(last.database, last.wal, shm: [UInt8](repeating: 0xa5, count: 32768)) == 3)
    #expect(try survivor(last.database, last.wal, shm: []) == 3)
  }

  /// What no power cut does, as the directory is synced when the file is made: somebody removed the WAL.
  @Test func withoutItsWALItIsWhatTheLastCheckpointMadeIt() throws {
    var history = try History(commits: 2)
    _ = try history.checkpoint()
    try history.commit()
    #expect(try survivor(history.files[3].database, [UInt8]?.none) == 2)
  }

  /// Somebody put a backup in place and left the WAL. SQLite cannot tell whose it is; what comes of the mixture is refused
  /// or can be read, all of it.
  @Test(arguments: [1, 30, 200]) func aForeignWALIsRefusedOrRead(_ commits: Int) throws {
    var history = try History(commits: 20)
    _ = try history.checkpoint()
    var other = try History(commits: commits)
    _ = try other.checkpoint()
    try other.commit()
    let directory = try TemporaryDirectory(in: "/dev/shm")
    let path = directory.path + "/state.db"
    try put(history.files[20].database, path)
    try put(other.files[commits + 1].wal, path + "-wal")
    do {
      try Store.open(at: path, access: .readWrite).forEachContainer { _ in }
    } catch let error as StoreError {
      #expect(error.reason == .corrupt && error.path == path)
    }
  }
}
