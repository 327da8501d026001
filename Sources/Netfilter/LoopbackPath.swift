// How the host's own ::1 reaches a container.
//
// On the way out ::1 is like any address of the host: the main table's output chain translates the destination, its
// postrouting chain the source. The answer comes in by the bridge, is turned back, and is then for ::1, which IPv6 accepts
// from a loopback interface only (RFC 4291, 2.5.3). Two things per bridge, whatever the number of mappings, let it in:
//
//   a route           local ::1/128 dev BRIDGE: the strict lookup of a loopback destination (rt6_need_strict in the kernel's
//                     net/ipv6) finds the bridge. Enough where the answer is turned back above the check.
//   an ingress chain  for br_netfilter, which turns it back while it is still being bridged, below the check: the packet is
//                     put on `lo`, where it is welcome. It is known by the mark of the main table's `loopback` chain.
//
// An attacker's packet for ::1 never gets that mark: the main table's guard drops it before connection tracking with
// br_netfilter, IPv6 itself without.
//
// `table netdev pmagent` is separate because only that family has `fwd`. It is written on the main table's socket, and belongs
// to it where the main table does.

import CNetfilter
import Glibc
import PortMaps

package final class LoopbackPath {
  private let kernel: KernelRuleset
  private var routes: LoopbackRoutes
  private var batch = Batch()
  /// The index of `lo`.
  private let loopback: UInt32

  private init(_ kernel: KernelRuleset, _ routes: consuming LoopbackRoutes) {
    self.kernel = kernel
    self.routes = routes
    loopback = if_nametoindex("lo")
  }

  /// In the network namespace of the calling thread, which must be the kernel's.
  package static func open(on kernel: KernelRuleset) throws(KernelError) -> LoopbackPath {
    LoopbackPath(kernel, try LoopbackRoutes.open())
  }

  /// Throws what the running kernel lacks: asks it for each part, and leaves none. The rule is in a transaction that ends
  /// with an impossible order, so that the kernel checks it and forgets it.
  package func probe() throws(KernelError) {
    try routes.probe()
    let failures = try transact { batch in
      batch.addLoopbackTable(isOwned: isOwned)
      batch.addLoopbackChain(bridge: nil, loopback)
      batch.loopback("delete table", "that cannot exist", NFT_MSG_DELTABLE, 0) {
        $0.string(NFTA_TABLE_NAME, "\(Skeleton.table) of nobody")
      }
    }
    guard let failure = failures.first, failure.sequence != batch.lastSequence else { return }
    throw .refused(batch.refusal(failure))
  }

  // MARK: Bridges

  /// Makes ::1 reach the containers of `bridge`; nothing happens while there is no such interface, or it is down.
  package func open(_ bridge: String) throws(KernelError) {
    guard if_nametoindex(bridge) != 0 else { return }
    try routes.add(bridge)
    if try !hasChain(bridge) { try commit { $0.replaceLoopbackChain(bridge, loopback, isOwned: isOwned) } }
  }

  /// The way back of `open`. Nothing happens where there is nothing.
  package func close(_ bridge: String) throws(KernelError) {
    try routes.remove(bridge)
    if try hasChain(bridge) { try commit { $0.deleteLoopbackChain(bridge) } }
  }

  /// Whether the table is as `converge` leaves it.
  package func agrees(with bridges: [String]) throws(KernelError) -> Bool {
    isCurrent(try read(), bridges.filter { if_nametoindex($0) != 0 })
  }

  /// Makes everything what it has to be for exactly these bridges. Returns whether the table was another one.
  package func converge(to bridges: [String]) throws(KernelError) -> Bool {
    let bridges = bridges.filter { if_nametoindex($0) != 0 }
    for bridge in try routes.bridges().subtracting(bridges) { try routes.remove(bridge) }
    for bridge in bridges { try routes.add(bridge) }
    let state = try read()
    if isCurrent(state, bridges) { return false }
    if isOwned, state == expected(bridges, TableFlags.orphaned) {
      try commit { $0.addLoopbackTable(isOwned: true) }
      return false
    }
    try commit { batch in
      batch.replaceLoopbackTable(isOwned: isOwned)
      for bridge in bridges { batch.addLoopbackChain(bridge: bridge, loopback) }
    }
    return true
  }

  /// Leaves nothing of it, whatever there is.
  package func remove() throws(KernelError) {
    for bridge in try routes.bridges() { try routes.remove(bridge) }
    let table = try kernel.socket.ask(
      NFT_MSG_GETTABLE, family: NFPROTO_NETDEV, "read \(LoopbackState.table)",
      { $0.string(NFTA_TABLE_NAME, Skeleton.table) }, { _ in })
    if table != .absent { try commit { $0.deleteLoopbackTable() } }
  }

  // MARK: nf_tables

  private var isOwned: Bool { kernel.ownership == .owned }

  private func isCurrent(_ state: LoopbackState, _ bridges: [String]) -> Bool {
    switch kernel.ownership {
    case .plain: state == expected(bridges, 0)
    case .owned: state == expected(bridges, TableFlags.owned, owner: kernel.portID)
    case .released: state == expected(bridges, TableFlags.orphaned) || state == expected(bridges, 0)
    }
  }

  private func expected(_ bridges: [String], _ flags: UInt32, owner: UInt32? = nil) -> LoopbackState {
    LoopbackState(bridges, loopback, flags, owner)
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

  /// Cheaper than `read`, for events of one bridge.
  private func hasChain(_ bridge: String) throws(KernelError) -> Bool {
    var devices: [String] = []
    _ = try kernel.socket.ask(
      NFT_MSG_GETCHAIN, family: NFPROTO_NETDEV, "read \(LoopbackState.table)",
      {
        $0.string(NFTA_CHAIN_TABLE, Skeleton.table)
        $0.string(NFTA_CHAIN_NAME, LoopbackState.chain(bridge))
      }, { devices = LoopbackState.devices(of: $0) })
    return devices == [bridge]
  }

  private func read() throws(KernelError) -> LoopbackState {
    while true {
      var state = LoopbackState()
      let operation = "read \(LoopbackState.table)"
      let chains = try kernel.socket.ask(
        NFT_MSG_GETCHAIN, dump: true, family: NFPROTO_NETDEV, operation,
        { $0.string(NFTA_CHAIN_TABLE, Skeleton.table) }, { state.add(chain: $0) })
      let rules = try kernel.socket.ask(
        NFT_MSG_GETRULE, dump: true, family: NFPROTO_NETDEV, operation,
        { $0.string(NFTA_RULE_TABLE, Skeleton.table) }, { state.add(rule: $0) })
      if chains == .interrupted || rules == .interrupted { continue }
      _ = try kernel.socket.ask(
        NFT_MSG_GETTABLE, family: NFPROTO_NETDEV, operation, { $0.string(NFTA_TABLE_NAME, Skeleton.table) },
        { state.add(table: $0) })
      return state
    }
  }
}
