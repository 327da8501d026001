import PortMaps

/// Where `table inet pmagent` is kept: the kernel's nf_tables, or in tests a model of it.
///
/// One conformance suite runs on both, so what it says is what either does.
package protocol RulesetStore: AnyObject {
  /// One transaction: the skeleton, then removals, then additions. Sends nothing when there is nothing to do.
  ///
  /// Throws `refused` or `notPermitted` when nothing was changed, `unknownOutcome` when the table must be read.
  func apply(_ change: RulesetChange, skeleton: SkeletonAction) throws(KernelError)

  /// Nothing happens when the table is absent.
  func deleteTable() throws(KernelError)

  /// What is installed; `nil` when the table is absent.
  func read() throws(KernelError) -> InstalledRuleset?

  /// The number of the last committed transaction of the network namespace, whosever it was.
  func generation() throws(KernelError) -> UInt32
}

extension KernelRuleset: RulesetStore {}

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
