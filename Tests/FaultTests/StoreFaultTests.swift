import Feed
import Glibc
import Netfilter
import PortMaps
import Storage
import TestSupport
import Testing

/// Each fault of the store has one outcome, says what is wrong with which file and what to do, and leaves the kernel
/// forwarding what it had.
@Suite(.timeLimit(.minutes(5))) struct StoreFaultTests {
  private let host: NetworkNamespace
  private let disk: Disk
  private let agent: AgentProgram

  init() throws {
    host = try NetworkNamespace()
    disk = try Disk()
    agent = try AgentProgram(in: host, at: disk.directory)
  }

  private static let network =
    #"{"event":"network.create","network":{"id":"n","bridge":"br-n","subnets":["172.18.0.0/16"]}}"#
  private static func start(_ n: Int) -> String {
    #"{"event":"container.start","container":{"id":"c\#(n)","networks":[{"network":"n","ipv4":"172.18.\#(n / 250).\#(n % 250 + 2)"}],"#
      + #""publish":["\#(10_000 + n):80"]}}"#
  }
  private static func stop(_ n: Int) -> String { #"{"event":"container.stop","container":"c\#(n)"}"# }

  private func elements() throws -> Set<Element> {
    Set(try host.run { () throws(KernelError) in try KernelRuleset.open().read() }?.elements ?? [])
  }

  private func fill(_ count: Int = 3) throws {
    try agent.start()
    try agent.succeed(Self.network)
    for n in 0..<count { try agent.succeed(Self.start(n)) }
  }

  private func mappings() throws -> Int {
    guard case .array(let mappings)? = try agent.succeed(#"{"query":"list"}"#)["mappings"] else { return -1 }
    return mappings.count
  }
  private func isInSync() throws -> Bool { try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true) }

  // MARK: Starting

  enum Damage: String, CaseIterable { case header, inside, truncated, emptied, symlink, directory, foreign }

  private func spoil(_ damage: Damage) async throws {
    switch damage {
    case .header:
      try await host.command("dd", "if=/dev/urandom", "of=\(agent.database)", "bs=100", "count=1", "conv=notrunc")
    case .inside:
      try await host.command(
        "dd", "if=/dev/urandom", "of=\(agent.database)", "bs=4096", "count=30", "seek=2", "conv=notrunc")
    case .truncated: truncate(agent.database, 8192)
    case .emptied: truncate(agent.database, 0)
    case .symlink:
      rename(agent.database, agent.directory.path + "/elsewhere")
      symlink(agent.directory.path + "/elsewhere", agent.database)
    case .directory:
      unlink(agent.database)
      mkdir(agent.database, 0o700)
    case .foreign:
      unlink(agent.database)
      try await host.command("sqlite3", agent.database, "CREATE TABLE t (x)")
    }
  }

  @Test(arguments: Damage.allCases) func whatIsNoDatabaseOfOursEndsTheStart(_ damage: Damage) async throws {
    try fill()
    agent.terminate()
    let before = try elements()
    try await spoil(damage)
    #expect(try agent.startAndEnd() == .exit(1))
    let log = try read(agent.log)
    #expect(
      log.contains("\(agent.database): ") && (log.contains("keep the file") || log.contains("give the path")), "\(log)")
    #expect(try elements() == before)
    rmdir(agent.database)
  }

  /// What is left of it says nothing of the one that is made in its place.
  @Test func aDatabaseThatWasMovedAwayIsMadeAnew() throws {
    try fill()
    agent.terminate()
    for suffix in ["", "-wal", "-shm"] { unlink(agent.database + suffix) }
    #expect(try agent.startAndEnd(environment: ["PMAGENT_CRASH=database-created:1"]) == .signal(SIGKILL))
    try agent.start()
    #expect(try mappings() == 0)
  }

  /// Loading uses no index, so only the check meets the damage: while the table is read, and before anything is repaired.
  @Test func aDamagedIndexEndsTheStart() async throws {
    try fill()
    agent.terminate()
    func value(_ sql: String) throws -> Int { try #require(try Database(agent.database).value(sql)) }
    let page = try value("SELECT rootpage FROM sqlite_schema WHERE name = 'binding_by_port'")
    let size = try value("PRAGMA page_size")
    try await host.command(
      "dd", "if=/dev/urandom", "of=\(agent.database)", "bs=\(size)", "count=1", "seek=\(page - 1)", "conv=notrunc")
    try await host.command("nft", "flush", "map", "inet", "pmagent", "any4")
    let before = try elements()
    let stored = try await host.command("sha256sum", agent.database)
    #expect(try agent.startAndEnd() == .exit(1))
    #expect(try read(agent.log).contains("keep the file"))
    #expect(try elements() == before)
    #expect(try await host.command("sha256sum", agent.database) == stored)
  }

  @Test func anotherProgramThatHoldsTheDatabaseEndsTheStart() async throws {
    try fill()
    agent.terminate()
    let before = try elements()
    // A person with sqlite3(1) in the middle of a transaction.
    var person: Database? = try Database(agent.database)
    try person?.execute("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE")
    #expect(try agent.startAndEnd() == .exit(1))
    #expect(try read(agent.log).contains("another program holds the write lock: end it, then try again"))
    #expect(try elements() == before)
    person = nil
    try agent.start()
    #expect(try mappings() == 3)
  }

  @Test func onAReadOnlyDiskItDoesNotStartAndReadersStillRead() async throws {
    try fill()
    agent.terminate()
    let before = try elements()
    try disk.remount("ro")
    // The log cannot be written there either.
    let outcome = try await host.outcome(
      of: [
        AgentProgram.path, "run", "--socket", agent.socket, "--database", agent.database, "--config",
        agent.configuration,
      ])
    #expect(outcome.exitCode == 1 && outcome.errors.contains("Read-only file system"), "\(outcome.errors)")
    #expect(outcome.errors.contains(agent.database))
    #expect(try elements() == before)
    let listed = try await agent.command("ls", "--quiet", "--database", agent.database)
    #expect(listed == "c0\nc1\nc2\n")
    try disk.remount("rw")
    try agent.start()
    #expect(try mappings() == 3)
  }

  @Test func aDirectoryThatCannotBeMadeIsReportedWithItsReason() throws {
    try disk.remount("ro")
    let database = disk.directory.path + "/sub/state.db"
    let error = #expect(throws: StoreError.self) { _ = try Store.open(at: database, access: .readWrite) }
    #expect(error?.reason == .readOnly)
    #expect(error?.description.contains("create directory \(disk.directory.path)/sub") == true)
    #expect(error?.message.contains("Read-only file system") == true)
  }

  @Test func aKilledAgentsDatabaseIsReadFromAReadOnlyDiskToo() async throws {
    try fill()
    agent.kill()
    try disk.remount("ro")
    #expect(try await agent.command("ls", "--quiet", "--database", agent.database) == "c0\nc1\nc2\n")
    try disk.remount("rw")
  }

  // MARK: A full disk

  @Test func onAFullDiskContainersGoAndNoneComes() async throws {
    try fill(40)
    let before = try elements()
    try disk.fill()
    var refusal = JSON.null
    for n in 100..<400 where refusal == .null {
      let reply = try agent.send(Self.start(n))
      if reply["ok"] == .bool(false) { refusal = reply }
    }
    #expect(refusal["error"]?["code"] == "storage-failed", "\(refusal)")
    let message = "\(refusal)"
    #expect(message.contains(agent.database) && message.contains("free space on the file system"), "\(message)")
    #expect(try elements().isSuperset(of: before))
    #expect(try isInSync())
    // Every one of them, beside one that is refused in the same round.
    let replies = try agent.client().ask((0..<20).map(Self.stop) + [Self.start(999)])
    #expect(replies.dropLast().allSatisfy { $0["ok"] == .bool(true) }, "\(replies)")
    for n in 20..<39 { try agent.succeed(Self.stop(n)) }
    #expect(try isInSync())
    // It starts there, and goes on.
    try disk.fill()
    let count = try mappings()
    agent.kill()
    try agent.start()
    #expect(try mappings() == count)
    #expect(try isInSync())
    agent.terminate()
    try disk.fill()
    try agent.start()
    #expect(try mappings() == count)
    #expect(try isInSync())
    try disk.fill()
    try agent.succeed(Self.stop(39))
    try disk.empty()
    try agent.succeed(Self.start(0))
    #expect(try isInSync())
  }

  // MARK: I/O errors

  @Test(arguments: ["fsync state.db-wal 5", "write state.db-wal 5"])
  func anIOErrorEndsTheAgentAndTheNextOneReplays(_ fault: String) async throws {
    let shim = try await Shim(host, agent.directory.path)
    try agent.start(environment: shim.environment)
    try agent.succeed(Self.network)
    try agent.succeed(Self.start(0))
    let before = try elements()
    try shim.arm(fault)
    // Without a reply: it is not known whether this will be there.
    #expect(throws: (any Error).self) { try agent.send(Self.start(1)) }
    #expect(agent.wait() == .exit(1))
    let log = try read(agent.log)
    #expect(log.contains("what is on disk is not known any more") && log.contains(agent.database), "\(log)")
    #expect(try elements() == before)
    // A start writes nothing, so it succeeds while the disk is still like that; a change ends it again.
    try agent.start(environment: shim.environment)
    let list = try mappings()
    #expect([1, 2].contains(list))
    #expect(try isInSync())
    #expect(throws: (any Error).self) { try agent.send(Self.start(2)) }
    #expect(agent.wait() == .exit(1))
    #expect(try elements().isSuperset(of: before))
    try shim.disarm()
    try agent.start(environment: shim.environment)
    #expect(try isInSync())
    for n in 0..<3 { try agent.succeed(Self.start(n)) }
    #expect(try mappings() == 3)
    #expect(try isInSync())
  }

  @Test func newFilesAndDirectoriesAreSynced() async throws {
    let shim = try await Shim(host, agent.directory.path)
    let database = agent.directory.path + "/new/state.db"
    // It ends once it finds that it cannot listen there.
    let outcome = try await host.outcome(
      of: ["env"] + shim.environment + [
        AgentProgram.path, "run", "--socket", "/proc/no/agent.sock", "--database", database, "--config",
        agent.configuration,
      ])
    #expect(outcome.exitCode == 1)
    let synced = try shim.synced()
    // The directory's own entry, then those of the files in it.
    #expect(synced.contains(agent.directory.path) && synced.contains(agent.directory.path + "/new"), "\(synced)")
    #expect(synced.contains(database + "-wal"))
    try await host.command("rm", "-r", agent.directory.path + "/new")
  }
}
