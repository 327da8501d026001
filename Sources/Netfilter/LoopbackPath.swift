// How the host's own ::1 reaches a container.
//
// On the way out ::1 is like any address of the host: the main table's output chain translates the destination, its
// postrouting chain the source, to the host's address on the bridge. The answer to that address comes in by the bridge, and
// the kernel turns its destination back to ::1 in prerouting. There its way ends: IPv6 routes a packet for ::1, and with
// br_netfilter even accepts it, from a loopback interface only (RFC 4291, 2.5.3). So `table ip6 pmagent` lets it keep the
// address it came to until it is where the host's own packets go:
//
//   prerouting   after the translation: the destination is again what the packet came with
//   input        after all filters: ::1, which is what the socket has
//
// Both are about answers in flows that ::1 began, as connection tracking knows them. An attacker's packet for ::1 is none: the
// main table's guard drops it before connection tracking with br_netfilter, IPv6 itself without. One that has the addresses
// and ports of an answer must come from where the container is: what comes from elsewhere stays for ::1 and goes nowhere.
//
// A table of its own because a chain of the main one would be passed by IPv4 too. It is written on the main table's socket,
// and belongs to it where the main table does.

import CNetfilter
import Glibc
import PortMaps

/// `table ip6 pmagent`, which leads answers of containers back to ::1; the main table's owner owns it.
package final class LoopbackPath {
  private let kernel: KernelRuleset
  private var batch = Batch()

  /// In the network namespace of the kernel's socket.
  package init(on kernel: KernelRuleset) { self.kernel = kernel }

  /// Throws what the running kernel lacks: has it check the rules, and leaves none.
  package func probe() throws(KernelError) {
    let failures = try transact { $0.probeLoopbackTable(isOwned: isOwned) }
    guard let failure = failures.first, failure.sequence != batch.lastSequence else { return }
    throw .refused(batch.refusal(failure))
  }

  /// Whether the table is as `converge` leaves it.
  package func isInstalled() throws(KernelError) -> Bool { isCurrent(try read()) }

  /// Makes the table what it has to be. Returns whether it was another one.
  package func converge() throws(KernelError) -> Bool {
    let state = try read()
    if isCurrent(state) { return false }
    if isOwned, state == .expected(flags: TableFlags.orphaned) {
      try commit { $0.addLoopbackTable(isOwned: true) }
      return false
    }
    try commit { $0.replaceLoopbackTable(isOwned: isOwned) }
    return true
  }

  /// Leaves nothing of it, whatever there is.
  package func remove() throws(KernelError) {
    if try table({ _ in }) != .absent { try commit { $0.deleteLoopbackTable() } }
  }

  private var isOwned: Bool { kernel.ownership == .owned }

  private func isCurrent(_ state: LoopbackState) -> Bool {
    switch kernel.ownership {
    case .plain: state == .expected(flags: 0)
    case .owned: state == .expected(flags: TableFlags.owned, owner: kernel.portID)
    case .released: [.expected(flags: TableFlags.orphaned), .expected(flags: 0)].contains(state)
    }
  }

  private func commit(_ build: (inout Batch) -> Void) throws(KernelError) {
    if let failure = try transact(build).first { throw .refused(batch.refusal(failure)) }
  }

  private func transact(_ build: (inout Batch) -> Void) throws(KernelError) -> [NetlinkSocket.Failure] {
    while true {
      batch.begin(kernel.socket.nextSequence)
      build(&batch)
      batch.end()
      let answers = try kernel.socket.exchange(batch.bytes, sequences: batch.sequences)
      // A signal interrupted it, and everything is rolled back.
      if answers.errors.first?.errno == EINTR { continue }
      if answers.errors.isEmpty, answers.acknowledged != [batch.lastSequence] {
        throw .unknownOutcome("nf_tables did not acknowledge a transaction of \(batch.count) messages")
      }
      return answers.errors
    }
  }

  private func read() throws(KernelError) -> LoopbackState {
    while true {
      var state = LoopbackState()
      guard try table({ state.add(table: $0) }) != .absent else { return state }
      let operation = "read \(LoopbackState.table)"
      let chains = try kernel.socket.ask(
        NFT_MSG_GETCHAIN, dump: true, family: NFPROTO_IPV6, operation,
        { $0.string(NFTA_CHAIN_TABLE, Skeleton.table) }, { state.add(chain: $0) })
      let rules = try kernel.socket.ask(
        NFT_MSG_GETRULE, dump: true, family: NFPROTO_IPV6, operation,
        { $0.string(NFTA_RULE_TABLE, Skeleton.table) }, { state.add(rule: $0) })
      if chains != .interrupted, rules != .interrupted { return state }
    }
  }

  private func table(_ receive: (Message) -> Void) throws(KernelError) -> NetlinkSocket.Answer {
    try kernel.socket.ask(
      NFT_MSG_GETTABLE, family: NFPROTO_IPV6, "read \(LoopbackState.table)",
      { $0.string(NFTA_TABLE_NAME, Skeleton.table) }, receive)
  }
}
