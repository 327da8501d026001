import Feed
import Glibc
import Logging
import Netfilter
import PortMaps
import TestSupport
import Testing

@testable import Agent
@testable import Storage

/// Each fault of the kernel's side has one outcome: the change is there all the same, or nothing of it is.
@Suite struct KernelFaultTests: MapperSuite {
  enum Outcome: Sendable {
    /// Carried out.
    case live
    /// Nothing remains, in the kernel neither.
    case refused
    /// Nothing remains in the database; the kernel is put right as soon as it lets itself be read.
    case repairedLater
  }
  struct Row: Sendable, CustomTestStringConvertible {
    let name: String
    var faults: [FakeKernel.Fault] = []
    var unreadable: [Int32] = []
    let outcome: Outcome
    var testDescription: String { name }
  }

  private static func twice(_ fault: FakeKernel.Fault) -> [FakeKernel.Fault] { [fault, fault] }
  /// The first fault meets the change, the second the repair of the whole table.
  static let rows = [
    Row(name: "EEXIST once", faults: [.refused(EEXIST)], outcome: .live),
    Row(name: "EEXIST, the repair too", faults: twice(.refused(EEXIST)), outcome: .refused),
    Row(name: "ENOENT once", faults: [.refused(ENOENT)], outcome: .live),
    Row(name: "ENOENT, the repair too", faults: twice(.refused(ENOENT)), outcome: .refused),
    Row(name: "ENFILE", faults: twice(.refused(ENFILE)), outcome: .refused),
    Row(name: "EPERM", faults: twice(.refused(EPERM)), outcome: .refused),
    Row(name: "ENOMEM", faults: twice(.refused(ENOMEM)), outcome: .refused),
    Row(name: "ERESTART once", faults: [.refused(ERESTART)], outcome: .live),
    Row(name: "ERESTART storm", faults: twice(.refused(ERESTART)), outcome: .refused),
    Row(name: "EMSGSIZE", faults: twice(.notSent(EMSGSIZE)), outcome: .refused),
    Row(name: "ENOBUFS when sending", faults: twice(.notSent(ENOBUFS)), outcome: .refused),
    Row(name: "EINTR three times", faults: [.interrupted(3)], outcome: .live),
    Row(name: "EINTR without end", faults: twice(.interrupted(16)), outcome: .refused),
    Row(name: "answers lost, committed", faults: [.lostAnswers(committed: true)], outcome: .live),
    Row(name: "answers lost, not committed", faults: [.lostAnswers(committed: false)], outcome: .live),
    Row(
      name: "answers lost, committed, table unreadable", faults: [.lostAnswers(committed: true)], unreadable: [EBUSY],
      outcome: .repairedLater),
    Row(
      name: "answers lost, not committed, table unreadable", faults: [.lostAnswers(committed: false)],
      unreadable: [EIO],
      outcome: .repairedLater),
    Row(
      name: "answers lost, of the repair too", faults: [.refused(EEXIST), .lostAnswers(committed: true)],
      outcome: .repairedLater),
    Row(
      name: "refused, and the dump is interrupted", faults: [.refused(EEXIST)], unreadable: [EBUSY], outcome: .refused),
  ]

  private let directory: TemporaryDirectory
  let store: Store

  init() throws {
    directory = try TemporaryDirectory(in: "/dev/shm")
    store = try Store.open(at: directory.path + "/state.db", access: .readWrite)
  }

  @Test(arguments: rows) func eachFaultHasItsOutcome(_ row: Row) throws {
    let kernel = FakeKernel()
    let mapper = try start(kernel.open())
    for line in [network, web(2)] { #expect(isOK(send(line, mapper))) }
    let before = (try store.counts(), kernel.table?.elements ?? [:])
    (kernel.faults, kernel.unreadable) = (row.faults, row.unreadable)
    let reply = send(web(3), mapper)
    #expect(isOK(reply) == (row.outcome == .live), "\(reply)")
    if row.outcome == .live {
      #expect(try store.counts().containers == 2)
    } else {
      guard case .failed(let error) = reply, error.code == .kernelRefused else {
        Issue.record("\(reply)")
        return
      }
      #expect(try store.counts() == before.0)
      if row.outcome == .repairedLater { mapper.repairIfOwed() }
      #expect(kernel.table?.elements == before.1)
    }
    #expect(kernel.faults.isEmpty && kernel.unreadable.isEmpty)
    #expect(try mapper.kernelAgrees())
    // And nothing is in the way of the next.
    for line in [web(4), web(3)] { #expect(isOK(send(line, mapper))) }
    #expect(!mapper.owesRepair)
    #expect(try mapper.kernelAgrees())
  }

  /// Whoever waits for its source goes on waiting when its announcement is refused, over the next start too.
  @Test func aRefusedAnnouncementConfirmsNobody() throws {
    let kernel = FakeKernel()
    var mapper = try start(kernel.open())
    for line in [network, web(2)] { #expect(isOK(send(line, mapper))) }
    try store.setSetting("boot_id", "an earlier boot")
    mapper = try start(kernel.open(), restore: .confirm)
    #expect(mapper.awaiting.count == 1)
    kernel.faults = Self.twice(.refused(ENOMEM))
    #expect(!isOK(send(web(2), mapper)))
    #expect(mapper.awaiting.count == 1)
    mapper = try start(kernel.open(), restore: .confirm)
    #expect(mapper.awaiting.count == 1)
    #expect(isOK(send(web(2), mapper)))
    #expect(mapper.awaiting.isEmpty)
    #expect(try mapper.kernelAgrees())
  }

  @Test func whatTheKernelDoesNotHaveEndsTheStart() throws {
    let kernel = FakeKernel()
    kernel.faults = [.refused(EOPNOTSUPP)]
    let error = #expect(throws: KernelError.self) { try start(kernel.open()) }
    #expect(error?.description.contains("EOPNOTSUPP") == true)
    #expect(kernel.table == nil)
    _ = try start(kernel.open())
    #expect(kernel.table != nil)
  }

  /// By another program, in both kinds of kernel.
  enum Edit: CaseIterable { case sameKey, missing, noTable, otherSkeleton, stolen }

  @Test(arguments: ConformanceTests.Kind.allCases, Edit.allCases)
  func editsByOthersAreRepairedWhenTheyAreMet(_ kind: ConformanceTests.Kind, _ edit: Edit) throws {
    let bench = try kind.bench()
    let mapper = try start(try bench.open(owner: false))
    for line in [network, web(2)] { #expect(isOK(send(line, mapper))) }
    let other = try bench.open(owner: edit == .stolen)
    let mine = Element(.any4, .port(.tcp, 8002), .destination("172.18.0.2", 80))
    switch edit {
    case .sameKey:
      let element = Element(.any4, .port(.tcp, 8003), .destination("10.9.9.9", 1), comment: "foreign")
      try other.apply(RulesetChange(additions: [element]), skeleton: .keep)
    case .missing: try other.apply(RulesetChange(removals: [mine]), skeleton: .keep)
    case .noTable: try other.deleteTable()
    case .otherSkeleton, .stolen: try other.apply(RulesetChange(), skeleton: .rebuild)
    }
    let replies = [send(web(3), mapper), send(#"{"event":"container.stop","container":"c2"}"#, mapper)]
    #expect(replies.map(isOK) == (edit == .stolen ? [false, false] : [true, true]))
    if edit == .stolen {
      #expect(mapper.owesRepair)
      try other.deleteTable()
      mapper.repairIfOwed()
    }
    #expect(try mapper.kernelAgrees())
    #expect(!mapper.owesRepair)
    #expect(try store.counts().containers == 1)
  }
}
