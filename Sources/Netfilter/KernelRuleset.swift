// The kernel's copy of `table inet pmagent`.
//
// Goal: one function that changes it, atomically, at a cost that depends on the change alone; one that reads it back, so that
// nothing about the kernel's state has to be remembered. A transaction is one send; every answer to it is queued when the
// send returns, hence no waiting and no concurrency here.
//
// A transaction has three outcomes:
//   committed   the last message was acknowledged and no message got an error. An acknowledgement alone proves nothing:
//               the kernel acknowledges a message when it has understood it, and commits after the last.
//   refused     a message, or BATCH_BEGIN for the whole, got an error: the kernel rolled everything back.
//   unknown     answers were lost (ENOBUFS) or are not ours. The caller reads the table.
// A transaction that a signal interrupted is answered EINTR, rolled back, and sent again. ERESTART, the other answer that
// asks for a repetition, exists for transactions that name a generation, and ours do not: elements are ours alone.
//
// What it does not defend against: another process with CAP_NET_ADMIN that edits the table between `read` and `apply`. The
// result is refused or is noticed by the next `read`; with `owner` the kernel refuses such edits.

import CNetfilter
import Glibc
import PortMaps

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
/// Kept open for life: closing it costs milliseconds, and a table created with `owner` belongs to the socket.
package final class KernelRuleset {
  private var socket: NetlinkSocket
  private let owner: Bool
  private var batch = Batch()

  /// Committed or not.
  package private(set) var transactions = 0
  package private(set) var messagesSent = 0
  package private(set) var elementsSent = 0

  private init(_ socket: consuming NetlinkSocket, owner: Bool) {
    self.socket = socket
    self.owner = owner
  }

  /// `owner`: the table that `apply` builds can be changed by this socket only and outlives it (Linux 6.9).
  ///
  /// Needs CAP_NET_ADMIN, else throws `notPermitted`.
  package static func open(owner: Bool = false) throws(KernelError) -> KernelRuleset {
    KernelRuleset(try NetlinkSocket.open(), owner: owner)
  }

  // MARK: Writing

  package func apply(_ change: RulesetChange, skeleton: SkeletonAction) throws(KernelError) {
    try transact { batch in
      switch skeleton {
      case .keep: batch.delete(change.removals)
      case .rebuild: batch.rebuildSkeleton(owner: owner)
      }
      batch.add(change.additions)
    }
  }

  package func deleteTable() throws(KernelError) {
    guard try socket.table() != nil else { return }
    do {
      try transact { $0.deleteTable() }
    } catch .refused(let refusal) where refusal.errno == ENOENT {
      // Somebody else deleted it since.
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
      \(tableName) belongs to another program, netlink port id \(portID) (usually its process id): \
      stop that program, or let it delete the table
      """
  }

  // MARK: Reading

  /// Read again until nothing changed in between.
  package func read() throws(KernelError) -> InstalledRuleset? {
    for _ in 1...Self.attempts {
      let generation = try socket.generation()
      guard let table = try socket.table() else { return nil }
      guard let installed = try installed(table, generation), try socket.generation() == generation else { continue }
      return installed
    }
    throw .system(operation: "read \(tableName) while others change the ruleset all the time", errno: EBUSY)
  }

  /// `nil` when the table changes meanwhile.
  private func installed(_ table: NetlinkSocket.Table, _ generation: UInt32) throws(KernelError) -> InstalledRuleset? {
    guard let skeleton = try socket.skeleton(of: table) else { return nil }
    let isOurs = table.owner == (owner ? socket.portID : nil)
    var installed = InstalledRuleset(
      elements: [], skeletonIsCurrent: isOurs && skeleton == .expected(owner: owner), generation: generation,
      ownerPortID: table.owner)
    guard installed.skeletonIsCurrent else { return installed }
    for definition in Skeleton.sets {
      guard let read = try socket.elements(of: definition) else { return nil }
      if read.hasForeign {
        (installed.elements, installed.skeletonIsCurrent) = ([], false)
        break
      }
      installed.elements += read.elements
    }
    return installed
  }

  package func generation() throws(KernelError) -> UInt32 { try socket.generation() }

  /// Interruptions are rare; this many in a row mean that something else is wrong.
  private static let attempts = 16
}
