import CNetfilter
import PortMaps

/// `table netdev pmagent`, as it has to be or as the kernel lists it.
struct LoopbackState: Equatable {
  /// "" when there are no chains: then it does not matter whether there is a table.
  private var comment = ""
  private var flags: UInt32 = 0
  private var owner: UInt32?
  /// Name, device, hook, priority, policy.
  private var chains: Set<String> = []
  /// By chain, in order.
  private var rules: [String: [String]] = [:]

  static let table = "table netdev \(Skeleton.table)"
  /// Before whatever others do there (conntrack offload, policing).
  static let priority: Int32 = -500
  /// A bridge's name may be a word of nft(8)'s language, this is none.
  static func chain(_ bridge: String) -> String { "ingress_\(bridge)" }

  init() {}

  /// What leads answers from these bridges to `loopback`, the index of `lo`.
  init(_ bridges: [String], _ loopback: UInt32, _ flags: UInt32, _ owner: UInt32?) {
    if bridges.isEmpty { return }
    comment = SkeletonState.comment
    self.flags = flags
    self.owner = owner
    for bridge in bridges {
      let name = Self.chain(bridge)
      chains.insert(Self.description(name, [bridge], UInt32(NF_NETDEV_INGRESS.rawValue), Self.priority, NF_ACCEPT))
      rules[name] = [RuleHandle(loopback: loopback, in: name).description]
    }
  }

  private static func description(
    _ name: String, _ devices: [String], _ hook: UInt32, _ priority: Int32, _ policy: Int32
  ) -> String {
    "\(name) \(devices) \(hook) \(priority) \(policy)"
  }

  /// Where a base chain is registered; empty when its device has gone.
  static func devices(of chain: Message) -> [String] {
    guard let hook = chain.attributes[NFTA_CHAIN_HOOK],
      let device = Attributes(hook)[NFTA_HOOK_DEV]?.string
    else { return [] }
    return [device]
  }

  /// Takes in a message of a dump, which has the chains of all tables of the family.
  mutating func add(chain message: Message) {
    guard message.attributes[NFTA_CHAIN_TABLE]?.string == Skeleton.table else { return }
    let hook = message.attributes[NFTA_CHAIN_HOOK].map(Attributes.init)
    chains.insert(
      Self.description(
        message.attributes[NFTA_CHAIN_NAME]?.string ?? "?", Self.devices(of: message),
        UInt32(truncatingIfNeeded: hook?[NFTA_HOOK_HOOKNUM]?.big ?? .max),
        Int32(truncatingIfNeeded: hook?[NFTA_HOOK_PRIORITY]?.big ?? 0),
        Int32(truncatingIfNeeded: message.attributes[NFTA_CHAIN_POLICY]?.big ?? 0)))
  }

  /// Takes in the table, after what it contains.
  mutating func add(table message: Message) {
    if chains.isEmpty { return }
    comment = message.attributes[NFTA_TABLE_USERDATA].map(userdataComment) ?? ""
    flags = message.attributes[NFTA_TABLE_FLAGS].map { UInt32($0.big) } ?? 0
    owner = message.attributes[NFTA_TABLE_OWNER].map { UInt32($0.big) }
  }

  mutating func add(rule message: Message) {
    guard let rule = RuleHandle(message) else {
      rules["?"] = []
      return
    }
    rules[rule.chain, default: []].append(rule.description)
  }
}

extension RuleHandle {
  init(loopback: UInt32, in chain: String) {
    self.init(forwardingToLoopback(loopback), in: chain, NFPROTO_NETDEV, comment: "answers to the host's own ::1")
  }
}

extension Batch {
  /// Nothing happens when the table is there.
  mutating func addLoopbackTable(isOwned: Bool) {
    loopback("add table", Skeleton.table, NFT_MSG_NEWTABLE, NLM_F_CREATE) {
      $0.string(NFTA_TABLE_NAME, Skeleton.table)
      if isOwned { $0.attribute(NFTA_TABLE_FLAGS) { $0.big(TableFlags.owned) } }
      $0.attribute(NFTA_TABLE_USERDATA) { $0.append(userdata(comment: SkeletonState.comment)) }
    }
  }

  mutating func deleteLoopbackTable() {
    loopback("delete table", Skeleton.table, NFT_MSG_DELTABLE, 0) { $0.string(NFTA_TABLE_NAME, Skeleton.table) }
  }

  /// Whatever there is.
  mutating func replaceLoopbackTable(isOwned: Bool) {
    // Without flags it changes nothing of one that is there, not even the owner.
    addLoopbackTable(isOwned: false)
    deleteLoopbackTable()
    addLoopbackTable(isOwned: isOwned)
  }

  /// `bridge` `nil`: a chain at no hook.
  mutating func addLoopbackChain(bridge: String?, _ loopback: UInt32) {
    let name = LoopbackState.chain(bridge ?? "none")
    self.loopback("add chain", "\(Skeleton.table) \(name)", NFT_MSG_NEWCHAIN, NLM_F_CREATE) {
      $0.string(NFTA_CHAIN_TABLE, Skeleton.table)
      $0.string(NFTA_CHAIN_NAME, name)
      guard let bridge else { return }
      // struct nlattr trees: { hook { number, priority, device }, type, policy }
      $0.nested(NFTA_CHAIN_HOOK) {
        $0.attribute(NFTA_HOOK_HOOKNUM) { $0.big(UInt32(NF_NETDEV_INGRESS.rawValue)) }
        $0.attribute(NFTA_HOOK_PRIORITY) { $0.big(UInt32(bitPattern: LoopbackState.priority)) }
        $0.string(NFTA_HOOK_DEV, bridge)
      }
      $0.string(NFTA_CHAIN_TYPE, "filter")
      $0.attribute(NFTA_CHAIN_POLICY) { $0.big(UInt32(NF_ACCEPT)) }
    }
    let handle = RuleHandle(loopback: loopback, in: name)
    message(.object("add rule netdev \(Skeleton.table) \(name)")) { writer, sequence in
      writer.object(
        NFT_MSG_NEWRULE, flags: NLM_F_REQUEST | NLM_F_CREATE | NLM_F_APPEND, sequence: sequence, family: NFPROTO_NETDEV
      ) { handle.write($0) }
    }
  }

  mutating func deleteLoopbackChain(_ bridge: String) {
    let name = LoopbackState.chain(bridge)
    loopback("delete chain", "\(Skeleton.table) \(name)", NFT_MSG_DELCHAIN, 0) {
      $0.string(NFTA_CHAIN_TABLE, Skeleton.table)
      $0.string(NFTA_CHAIN_NAME, name)
    }
  }

  /// Whatever there is: a chain whose device has gone may remain, and is not the chain of a new device of that name.
  mutating func replaceLoopbackChain(_ bridge: String, _ loopback: UInt32, isOwned: Bool) {
    let name = LoopbackState.chain(bridge)
    addLoopbackTable(isOwned: isOwned)
    // Without a hook it changes nothing of one that is there.
    self.loopback("add chain", "\(Skeleton.table) \(name)", NFT_MSG_NEWCHAIN, NLM_F_CREATE) {
      $0.string(NFTA_CHAIN_TABLE, Skeleton.table)
      $0.string(NFTA_CHAIN_NAME, name)
    }
    self.loopback("flush chain", "\(Skeleton.table) \(name)", NFT_MSG_DELRULE, 0) {
      $0.string(NFTA_RULE_TABLE, Skeleton.table)
      $0.string(NFTA_RULE_CHAIN, name)
    }
    deleteLoopbackChain(bridge)
    addLoopbackChain(bridge: bridge, loopback)
  }

  mutating func loopback(
    _ words: String, _ name: String, _ type: nf_tables_msg_types, _ flags: Int32,
    _ attributes: (inout MessageWriter) -> Void
  ) {
    message(.object("\(words) netdev \(name)")) { writer, sequence in
      writer.message(
        nfTablesType(type), flags: NLM_F_REQUEST | flags, sequence: sequence, family: UInt8(NFPROTO_NETDEV), attributes)
    }
  }
}
