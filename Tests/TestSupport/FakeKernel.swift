import Glibc
import Netfilter
import PortMaps

/// nf_tables as far as `table inet pmagent` sees it: as strict as the kernel, with faults on request.
///
/// `ConformanceTests` holds it to the kernel: named rows and random transactions run on both.
package final class FakeKernel {
  package private(set) var table: FakeTable?
  package private(set) var generation: UInt32 = 1
  /// The `size` of sets that have one.
  package var sizes: [SetName: Int] = [:]
  /// What goes wrong with the next transactions, in this order; `nil`: nothing.
  package var faults: [Fault?] = []
  /// What the next readings of the table fail with.
  package var unreadable: [Int32] = []
  /// Asked at each of these moments whether the process that uses it dies there.
  package var dies: (Moment) -> Bool = { _ in false }
  /// Committed transactions.
  package private(set) var commits = 0
  package var onCommit: () -> Void = {}
  private var lastPortID: UInt32 = 0x8000_0000

  package init() {}

  package enum Fault: Sendable, Equatable {
    /// Rolled back, with an error that accuses no element.
    case refused(Int32)
    /// sendmsg(2) failed.
    case notSent(Int32)
    /// ENOBUFS while the answers were read.
    case lostAnswers(committed: Bool)
    /// Answered EINTR so many times.
    case interrupted(Int)
  }

  package enum Moment: Sendable {
    case reading, sending, committed
  }

  /// A process's netlink socket.
  package func open(owner: Bool = false) -> FakeRuleset {
    lastPortID += 1
    return FakeRuleset(self, owner: owner, portID: lastPortID)
  }

  // MARK: What others do to the table

  /// `nft flush ruleset`, `nft delete table`.
  package func removeTable() { edit { $0 = nil } }
  /// `nft add chain`: the skeleton is no longer ours.
  package func deface() { edit { $0?.skeletonIsCurrent = false } }
  package func insert(_ element: Element) { edit { $0?.elements[element.identity] = element } }
  package func remove(_ identity: Element.Identity) { edit { $0?.elements[identity] = nil } }
  /// `nft add table`.
  package func createEmpty() { edit { $0 = FakeTable() } }
  /// The owner's socket was closed: what it owned persists.
  package func orphan() {
    if table?.owner != nil { table?.isOrphan = true }
    table?.owner = nil
  }
  fileprivate func give(to portID: UInt32) {
    edit {
      $0?.owner = portID
      $0?.isOrphan = false
    }
    commits += 1
  }

  private func edit(_ change: (inout FakeTable?) -> Void) {
    change(&table)
    generation += 1
  }

  // MARK: Transactions

  fileprivate func commit(_ build: (inout FakeTable?) throws(KernelError) -> Bool) throws(KernelError) {
    if try build(&table) { generation += 1 }
    commits += 1
    onCommit()
  }
}

/// One socket on a `FakeKernel`.
package final class FakeRuleset: RulesetStore {
  package let kernel: FakeKernel
  package private(set) var ownership: Ownership
  package let portID: UInt32
  package var descriptor: Int32? { nil }
  /// Its process died: it does nothing any more.
  package private(set) var isDead = false

  fileprivate init(_ kernel: FakeKernel, owner: Bool, portID: UInt32) {
    (self.kernel, self.ownership, self.portID) = (kernel, owner ? .owned : .plain, portID)
  }

  private static let dead = KernelError.system(operation: "a process that has died", errno: EIO)
  private func live() throws(KernelError) { if isDead { throw Self.dead } }

  private func die(_ moment: FakeKernel.Moment) throws(KernelError) {
    guard kernel.dies(moment) else { return }
    isDead = true
    throw Self.dead
  }

  /// As if SIGKILL had come now.
  package func kill() { isDead = true }

  // MARK: Reading

  package func read(expecting _: [Element]) throws(KernelError) -> InstalledRuleset? {
    try live()
    try die(.reading)
    if !kernel.unreadable.isEmpty { throw .system(operation: "read table", errno: kernel.unreadable.removeFirst()) }
    if ownership == .owned, kernel.table?.isOrphan == true { kernel.give(to: portID) }
    guard let table = kernel.table else { return nil }
    let isCurrent = table.skeletonIsCurrent && isOurs(table)
    return InstalledRuleset(
      isCurrent ? Array(table.elements.values) : [], skeletonIsCurrent: isCurrent, generation: kernel.generation,
      ownerPortID: table.owner)
  }

  private func isOurs(_ table: FakeTable) -> Bool {
    switch ownership {
    case .plain: table.owner == nil && !table.isOrphan
    case .owned: table.owner == portID
    case .released: table.owner == nil
    }
  }

  package func generation() throws(KernelError) -> UInt32 {
    try live()
    return kernel.generation
  }

  // MARK: Ownership

  package func release() throws(KernelError) {
    try live()
    guard ownership == .owned else { return }
    kernel.orphan()
    ownership = .released
  }

  package func takeBack() { if ownership == .released { ownership = .owned } }

  // MARK: Writing

  package func apply(_ change: RulesetChange, skeleton: SkeletonAction) throws(KernelError) {
    try transact(isEmpty: skeleton == .keep && change.isEmpty) { (table) throws(KernelError) -> Bool in
      var after = table ?? FakeTable()
      switch skeleton {
      case .keep:
        try self.check(table)
        if table == nil { throw .absent(change) }
        // Nobody else has it now, so that it is changed where it is.
        table = nil
        defer { table = after }
        return try after.apply(change, kernel.sizes)
      case .rebuild:
        try self.check(table)
        after = FakeTable(owner: ownership == .owned ? portID : nil)
        _ = try after.apply(RulesetChange(additions: change.additions), kernel.sizes)
        table = after
        return true
      }
    }
  }

  @discardableResult package func deleteTable() throws(KernelError) -> Bool {
    try live()
    guard kernel.table != nil else { return false }
    try transact(isEmpty: false) { (table) throws(KernelError) -> Bool in
      try self.check(table)
      table = nil
      return true
    }
    return true
  }

  private func transact(
    isEmpty: Bool, _ build: (inout FakeTable?) throws(KernelError) -> Bool
  ) throws(KernelError) {
    try live()
    if isEmpty { return }
    try die(.sending)
    let fault = kernel.faults.isEmpty ? nil : kernel.faults.removeFirst()
    switch fault {
    case .refused(EPERM): throw .notPermitted("nf_tables refuses to change table inet pmagent")
    case .refused(let number): throw .refused(Refusal("nf_tables transaction", [], number))
    case .notSent(let number): throw .system(operation: "send to nf_tables", errno: number)
    case .interrupted(16...): throw .system(operation: "nf_tables transaction", errno: EINTR)
    case .lostAnswers(committed: false): throw .unknownOutcome("read nf_tables' answers: ENOBUFS")
    case .lostAnswers(committed: true):
      // Nobody hears what is wrong with it.
      do { try kernel.commit(build) } catch {}
      throw .unknownOutcome("read nf_tables' answers: ENOBUFS")
    case .interrupted, nil: break
    }
    try kernel.commit(build)
    try die(.committed)
  }

  private func check(_ table: FakeTable?) throws(KernelError) {
    guard let holder = table?.owner, holder != portID else { return }
    throw .notPermitted("table inet pmagent belongs to another program, netlink port id \(holder)")
  }
}
