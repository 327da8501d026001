import CNetfilter
import PortMaps

/// A chain of `table ip6 pmagent`, with its one rule.
private struct LoopbackChain {
  let name: String
  let hook: nf_inet_hooks
  let priority: Int32
  let rule: [Expression]

  static let all = [
    // After NF_IP6_PRI_NAT_DST (-100), where the kernel turns the destination of an answer back, whoever translated it.
    LoopbackChain(name: "prerouting", hook: NF_INET_PRE_ROUTING, priority: -90, rule: keepingDestination),
    // Among the last: a filter may well drop what is for ::1 and does not come from `lo`.
    LoopbackChain(name: "input", hook: NF_INET_LOCAL_IN, priority: 101, rule: restoringLoopback),
  ]

  /// What is the same of one that was made and one that the kernel lists.
  var description: String { Self.description(name, hook.rawValue, priority, NF_ACCEPT) }
  static func description(_ name: String, _ hook: UInt32, _ priority: Int32, _ policy: Int32) -> String {
    "\(name) \(hook) \(priority) \(policy)"
  }

  var handle: RuleHandle {
    RuleHandle(rule, in: name, NFPROTO_IPV6, comment: "answers to the host's own ::1")
  }
}

/// `table ip6 pmagent`, as it has to be or as the kernel lists it.
struct LoopbackState: Equatable {
  private var flags: UInt32 = 0
  private var comment = ""
  private var owner: UInt32?
  /// Chains and whatever else it contains (NFTA_TABLE_USE).
  private var objectCount = 0
  private var chains: Set<String> = []
  /// By chain, in order.
  private var rules: [String: [String]] = [:]

  static let table = "table ip6 \(Skeleton.table)"

  init() {}

  static func expected(flags: UInt32, owner: UInt32? = nil) -> LoopbackState {
    var state = LoopbackState()
    (state.flags, state.comment, state.owner) = (flags, SkeletonState.comment, owner)
    state.objectCount = LoopbackChain.all.count
    for chain in LoopbackChain.all {
      state.chains.insert(chain.description)
      state.rules[chain.name] = [chain.handle.description]
    }
    return state
  }

  mutating func add(table message: Message) {
    flags = message.attributes[NFTA_TABLE_FLAGS].map { UInt32($0.big) } ?? 0
    comment = message.attributes[NFTA_TABLE_USERDATA].map(userdataComment) ?? ""
    owner = message.attributes[NFTA_TABLE_OWNER].map { UInt32($0.big) }
    objectCount = message.attributes[NFTA_TABLE_USE].map { Int($0.big) } ?? 0
  }

  /// Takes in a message of a dump, which has the chains of all tables of the family.
  mutating func add(chain message: Message) {
    guard message.attributes[NFTA_CHAIN_TABLE]?.string == Skeleton.table else { return }
    let hook = message.attributes[NFTA_CHAIN_HOOK].map(Attributes.init)
    chains.insert(
      LoopbackChain.description(
        message.attributes[NFTA_CHAIN_NAME]?.string ?? "?",
        UInt32(truncatingIfNeeded: hook?[NFTA_HOOK_HOOKNUM]?.big ?? .max),
        Int32(truncatingIfNeeded: hook?[NFTA_HOOK_PRIORITY]?.big ?? 0),
        Int32(truncatingIfNeeded: message.attributes[NFTA_CHAIN_POLICY]?.big ?? 0)))
  }

  mutating func add(rule message: Message) {
    guard let rule = RuleHandle(message) else {
      rules["?"] = []
      return
    }
    rules[rule.chain, default: []].append(rule.description)
  }
}

extension Batch {
  /// Whatever there is.
  mutating func replaceLoopbackTable(isOwned: Bool, isHooked: Bool = true) {
    // Without flags it changes nothing of one that is there, not even the owner.
    addLoopbackTable(isOwned: false)
    deleteLoopbackTable()
    addLoopbackTable(isOwned: isOwned)
    for chain in LoopbackChain.all { add(chain, isHooked: isHooked) }
  }

  /// Nothing happens when the table is there and this socket's already, or nobody's.
  mutating func addLoopbackTable(isOwned: Bool) {
    loopback("add table", Skeleton.table, NFT_MSG_NEWTABLE, NLM_F_CREATE) {
      $0.string(NFTA_TABLE_NAME, Skeleton.table)
      if isOwned { $0.attribute(NFTA_TABLE_FLAGS) { $0.big(TableFlags.owned) } }
      $0.attribute(NFTA_TABLE_USERDATA) { $0.append(comment: SkeletonState.comment) }
    }
  }

  mutating func deleteLoopbackTable() {
    loopback("delete table", Skeleton.table, NFT_MSG_DELTABLE, 0) { $0.string(NFTA_TABLE_NAME, Skeleton.table) }
  }

  /// The table in place of whatever there is, with rules that no packet meets, then the deletion of one that cannot be there:
  /// the kernel looks at each rule and rolls back in any case.
  mutating func probeLoopbackTable(isOwned: Bool) {
    replaceLoopbackTable(isOwned: isOwned, isHooked: false)
    loopback("delete table", "that cannot exist", NFT_MSG_DELTABLE, 0) {
      $0.string(NFTA_TABLE_NAME, "\(Skeleton.table) of nobody")
    }
  }

  private mutating func add(_ chain: LoopbackChain, isHooked: Bool) {
    loopback("add chain", "\(Skeleton.table) \(chain.name)", NFT_MSG_NEWCHAIN, NLM_F_CREATE) {
      $0.string(NFTA_CHAIN_TABLE, Skeleton.table)
      $0.string(NFTA_CHAIN_NAME, chain.name)
      guard isHooked else { return }
      // struct nlattr trees: { hook { number, priority }, type, policy }
      $0.nested(NFTA_CHAIN_HOOK) {
        $0.attribute(NFTA_HOOK_HOOKNUM) { $0.big(chain.hook.rawValue) }
        $0.attribute(NFTA_HOOK_PRIORITY) { $0.big(UInt32(bitPattern: chain.priority)) }
      }
      $0.string(NFTA_CHAIN_TYPE, "filter")
      $0.attribute(NFTA_CHAIN_POLICY) { $0.big(UInt32(NF_ACCEPT)) }
    }
    let handle = chain.handle
    message(.object("add rule ip6 \(Skeleton.table) \(chain.name)")) { writer, sequence in
      writer.object(
        NFT_MSG_NEWRULE, flags: NLM_F_REQUEST | NLM_F_CREATE | NLM_F_APPEND, sequence: sequence, family: NFPROTO_IPV6
      ) { handle.write($0) }
    }
  }

  private mutating func loopback(
    _ words: String, _ name: String, _ type: nf_tables_msg_types, _ flags: Int32,
    _ attributes: (inout MessageWriter) -> Void
  ) {
    message(.object("\(words) ip6 \(name)")) { writer, sequence in
      writer.message(
        nfTablesType(type), flags: NLM_F_REQUEST | flags, sequence: sequence, family: UInt8(NFPROTO_IPV6), attributes)
    }
  }
}
