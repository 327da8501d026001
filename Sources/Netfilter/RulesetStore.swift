import PortMaps

/// Who may change our table.
package enum Ownership: Sendable {
  /// Anyone with CAP_NET_ADMIN.
  case plain
  /// This store alone, and the table outlives it: `NFT_TABLE_F_OWNER` and `NFT_TABLE_F_PERSIST` (Linux 6.9).
  case owned
  /// Made by an owner that has let go of it for a while: anyone, until it is adopted again.
  case released
}

/// Where `table inet pmagent` is kept: the kernel's nf_tables, or in tests a model of it.
///
/// One conformance suite runs on both, so what it says is what either does.
package protocol RulesetStore: AnyObject {
  /// One transaction: the skeleton, then removals, then additions. Sends nothing when there is nothing to do.
  ///
  /// Throws `refused` or `notPermitted` when nothing was changed, `unknownOutcome` when the table must be read.
  func apply(_ change: RulesetChange, skeleton: SkeletonAction) throws(KernelError)

  /// Returns whether the table was there.
  @discardableResult func deleteTable() throws(KernelError) -> Bool

  /// What is installed; `nil` when the table is absent. A table that is to be owned and has lost its owner is adopted first,
  /// so that it stays what was read. `expected`: elements that are probably there; a table with many is read faster then.
  func read(expecting expected: [Element]) throws(KernelError) -> InstalledRuleset?

  /// The number of the last committed transaction of the network namespace, whosever it was.
  func generation() throws(KernelError) -> UInt32

  var ownership: Ownership { get }
  /// The socket that owns the table, for somebody to keep while this process is away.
  var descriptor: Int32? { get }
  /// The netlink port id under which its transactions are told of.
  var portID: UInt32 { get }
  /// Lets others change a table that is owned, until `takeBack`.
  func release() throws(KernelError)
  /// Ends what `release` began; the next `read` makes the table ours again.
  func takeBack()
}

extension KernelRuleset: RulesetStore {}

extension RulesetStore {
  package func read() throws(KernelError) -> InstalledRuleset? { try read(expecting: []) }
}

extension InstalledRuleset {
  package init(_ elements: [Element], skeletonIsCurrent: Bool, generation: UInt32, ownerPortID: UInt32?) {
    (self.elements, self.skeletonIsCurrent) = (elements, skeletonIsCurrent)
    (self.generation, self.ownerPortID) = (generation, ownerPortID)
  }
}

extension Refusal {
  package init(_ operation: String, _ elements: [Element], _ errno: Int32) {
    (self.operation, self.elements, self.errno) = (operation, elements, errno)
  }
}
