// The kernel's copy of `table inet pmagent`.
//
// Goal: one function that changes it, atomically, at a cost that depends on the change alone; one that reads it back, so that
// nothing about the kernel's state has to be remembered. A transaction is one send; every answer to it is queued when the
// send returns, hence no waiting. Only a large table is read by two threads.
//
// A transaction has three outcomes:
//   committed   the last message was acknowledged and no message got an error. An acknowledgement alone proves nothing:
//               the kernel acknowledges a message when it has understood it, and commits after the last.
//   refused     a message, or BATCH_BEGIN for the whole, got an error: the kernel rolled everything back.
//   unknown     answers were lost (ENOBUFS) or are not ours. The caller reads the table.
// A transaction that a signal interrupted is answered EINTR, rolled back, and sent again. ERESTART, the other answer that
// asks for a repetition, exists for transactions that name a generation, and ours do not: elements are ours alone.
//
// What it does not defend against: another process with CAP_NET_ADMIN that edits a table that is not owned between `read` and
// `apply`. The result is refused or is noticed by the next `read`; an owned table the kernel defends itself.

import CNetfilter
import Glibc
import PortMaps
import SideThread
import Synchronization

/// What is done with sets, chains and rules before elements change.
package enum SkeletonAction: Sendable {
  case keep
  /// Replace the whole table in the same transaction. It starts without elements, so removals are void.
  case rebuild
}

/// The table as the kernel has it, consistent at one generation.
package struct InstalledRuleset: Sendable {
  /// Empty unless `skeletonIsCurrent`: a table that must be rebuilt gets all its elements anew.
  package var elements: [Element]
  /// Sets, chains and rules are exactly those of `Skeleton`, and no element is of a kind we do not write.
  package var skeletonIsCurrent: Bool
  package var generation: UInt32
  /// The netlink socket that owns the table (NFT_TABLE_F_OWNER).
  package var ownerPortID: UInt32?
}

/// The one netlink socket that writes our table, in the network namespace it was opened in.
///
/// Kept open for life: closing it costs milliseconds, and an owned table belongs to the socket.
package final class KernelRuleset {
  var socket: NetlinkSocket
  package private(set) var ownership: Ownership
  private var batch = Batch()

  /// How many elements of a set have to be expected for them to be asked for by their keys: with fewer a dump is as fast.
  package var leastAskedFor = 100_000
  /// How many elements have to be expected for two threads to read them.
  package var leastShared = 20_000
  /// Committed or not.
  package private(set) var transactions = 0
  package private(set) var messagesSent = 0
  package private(set) var elementsSent = 0

  /// For another thread: the kernel answers each socket on its own.
  private final class Reader: Sendable {
    private let socket: Mutex<NetlinkSocket>

    init() throws(KernelError) { socket = Mutex(try NetlinkSocket.open()) }

    func elements(_ questions: [Question]) throws(KernelError) -> NetlinkSocket.Elements? {
      try socket.withLock { (socket) throws(KernelError) in try socket.elements(questions) }
    }
  }

  private let reader: Reader

  private init(_ socket: consuming NetlinkSocket, _ ownership: Ownership) throws(KernelError) {
    reader = try Reader()
    self.socket = socket
    self.ownership = ownership
  }

  /// `owner`: the table is to be owned, which `ownership` then says, unless the kernel does not know how. `socket`: a socket
  /// that an earlier process had opened here, and that may own the table; it is this object's from now on.
  ///
  /// Needs CAP_NET_ADMIN, else throws `notPermitted`.
  package static func open(owner: Bool = false, on socket: Int32? = nil) throws(KernelError) -> KernelRuleset {
    let socket = if let socket { try NetlinkSocket.adopt(socket) } else { try NetlinkSocket.open() }
    let kernel = try KernelRuleset(socket, .plain)
    if owner, try kernel.socket.canOwnTables() { kernel.ownership = .owned }
    return kernel
  }

  // MARK: Ownership

  package var descriptor: Int32? { socket.descriptor }
  package var portID: UInt32 { socket.portID }

  package func release() throws(KernelError) {
    guard ownership == .owned else { return }
    // The old one is closed by this, and only then belongs the table to nobody.
    socket = try NetlinkSocket.open()
    ownership = .released
  }

  package func takeBack() {
    if ownership == .released { ownership = .owned }
  }

  /// Makes a table ours whose owner is gone: its contents stay, and nobody else can change them any more.
  private func adoptOrphan() throws(KernelError) {
    guard ownership == .owned, try socket.table()?.flags == TableFlags.orphaned else { return }
    try transact { $0.adoptTable() }
  }

  // MARK: Writing

  package func apply(_ change: RulesetChange, skeleton: SkeletonAction) throws(KernelError) {
    try transact { batch in
      switch skeleton {
      case .keep: batch.delete(change.removals)
      case .rebuild: batch.rebuildSkeleton(owner: ownership == .owned)
      }
      batch.add(change.additions)
    }
  }

  @discardableResult package func deleteTable() throws(KernelError) -> Bool {
    guard try socket.table() != nil else { return false }
    do {
      try transact { $0.deleteTable() }
      return true
    } catch .refused(let refusal) where refusal.errno == ENOENT {
      // Somebody else deleted it since.
      return false
    }
  }

  private func transact(_ build: (inout Batch) -> Void) throws(KernelError) {
    for _ in 1...Self.attempts {
      batch.begin(socket.nextSequence)
      build(&batch)
      guard batch.count > 0 else { return }
      batch.end()
      transactions += 1
      messagesSent += batch.count
      elementsSent += batch.elementCount
      let answers = try socket.exchange(batch.bytes, sequences: batch.sequences)
      guard let failure = answers.errors.first else {
        if answers.acknowledged == [batch.lastSequence] { return }
        throw .unknownOutcome("nf_tables did not acknowledge a transaction of \(batch.count) messages")
      }
      switch failure.errno {
      case EINTR: continue
      case EPERM: throw .notPermitted(try holder())
      default: throw .refused(batch.refusal(failure))
      }
    }
    throw .system(operation: "nf_tables transaction, \(Self.attempts) times", errno: EINTR)
  }

  /// Explains EPERM.
  private func holder() throws(KernelError) -> String {
    guard let portID = try socket.table()?.owner, portID != socket.portID else {
      return "nf_tables refuses to change \(tableName): the capability CAP_NET_ADMIN is missing"
    }
    return """
      \(tableName) belongs to another program's netlink socket, port id \(portID) (usually its process id): stop that \
      program; where it is gone, the service manager keeps its socket (systemctl stop pmagent)
      """
  }

  // MARK: Reading

  /// Read again until nothing changed in between.
  package func read(expecting expected: [Element]) throws(KernelError) -> InstalledRuleset? {
    try adoptOrphan()
    for _ in 1...Self.attempts {
      let generation = try socket.generation()
      guard let table = try socket.table() else { return nil }
      guard let installed = try installed(table, generation, expected), try socket.generation() == generation else {
        continue
      }
      return installed
    }
    throw .system(operation: "read \(tableName) while others change the ruleset all the time", errno: EBUSY)
  }

  /// `nil` when the table changes meanwhile.
  private func installed(
    _ table: NetlinkSocket.Table, _ generation: UInt32, _ expected: [Element]
  ) throws(KernelError) -> InstalledRuleset? {
    guard let skeleton = try socket.skeleton(of: table) else { return nil }
    var installed = InstalledRuleset(
      elements: [], skeletonIsCurrent: isOurs(table, skeleton), generation: generation, ownerPortID: table.owner)
    guard installed.skeletonIsCurrent else { return installed }
    let questions = questions(about: expected)
    let side =
      questions[1].isEmpty
      ? nil : SideThread { [reader] in Result { () throws(KernelError) in try reader.elements(questions[1]) } }
    guard var read = try socket.elements(questions[0]) else { return nil }
    if let side {
      guard let others = try side.value().get() else { return nil }
      read.elements += others.elements
      read.hasForeign = read.hasForeign || others.hasForeign
    }
    (installed.elements, installed.skeletonIsCurrent) = read.hasForeign ? ([], false) : (read.elements, true)
    return installed
  }

  typealias Question = (set: SetDefinition, expected: [Element])

  /// What is to be asked about each set, in two parts of about as many elements; the second is empty where they are few.
  private func questions(about expected: [Element]) -> [[Question]] {
    let lists = expected.count < leastAskedFor ? [] : expected.bySet.filter { $0.count >= leastAskedFor }
    let asked = Dictionary(uniqueKeysWithValues: lists.map { ($0[0].set, $0) })
    var counts: [SetName: Int] = [:]
    if expected.count >= leastShared { for element in expected { counts[element.set, default: 0] += 1 } }
    var (parts, sizes): ([[Question]], [Int]) = ([[], []], [0, 0])
    for set in Skeleton.sets.sorted(by: { counts[$0.name] ?? 0 > counts[$1.name] ?? 0 }) {
      let part = sizes[1] < sizes[0] ? 1 : 0
      parts[part].append((set, asked[set.name] ?? []))
      sizes[part] += counts[set.name] ?? 0
    }
    return parts
  }

  private func isOurs(_ table: NetlinkSocket.Table, _ skeleton: SkeletonState) -> Bool {
    switch ownership {
    case .plain: skeleton == .expected(flags: 0)
    case .owned: table.owner == socket.portID && skeleton == .expected(flags: TableFlags.owned)
    // One that was rebuilt meanwhile is plain.
    case .released: [.expected(flags: TableFlags.orphaned), .expected(flags: 0)].contains(skeleton)
    }
  }

  package func generation() throws(KernelError) -> UInt32 { try socket.generation() }

  /// Interruptions are rare; this many in a row mean that something else is wrong.
  private static let attempts = 16
}
