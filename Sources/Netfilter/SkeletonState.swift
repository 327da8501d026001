import CNetfilter
import PortMaps

enum TableFlags {
  static let owned: UInt32 = NFT_TABLE_F_OWNER.rawValue | persist
  /// What the kernel leaves when the owner goes.
  static let orphaned = persist
  /// NFT_TABLE_F_PERSIST of Linux 6.9, which Debian 12's header lacks.
  private static let persist: UInt32 = 0x4
}

/// The static part of a table in libnftnl's words, as the skeleton describes it or as the kernel lists it.
struct SkeletonState: Equatable {
  var flags: UInt32 = 0
  var comment = ""
  /// Chains, sets and whatever else the table contains (NFTA_TABLE_USE): flow tables and objects are none of ours.
  var objectCount = 0
  var chains: Set<String> = []
  var sets: Set<String> = []
  /// By chain, in order.
  var rules: [String: [String]] = [:]

  /// What `rebuildSkeleton` makes.
  static func expected(flags: UInt32) -> SkeletonState {
    var state = unowned
    state.flags = flags
    return state
  }

  private static let unowned: SkeletonState = {
    var state = SkeletonState()
    state.comment = SkeletonState.comment
    state.objectCount = Skeleton.sets.count + Skeleton.chains.count
    for set in Skeleton.sets { state.sets.insert(SetHandle(set).description) }
    for chain in Skeleton.chains {
      state.chains.insert(ChainHandle(chain).description)
      for rule in chain.rules {
        state.rules[chain.name.rawValue, default: []].append(RuleHandle(rule, in: chain.name).description)
      }
    }
    return state
  }()

  /// The table's comment: tells an operator, and another version of this program, which skeleton is installed.
  static let comment = "pmagent skeleton \(fingerprint)"

  /// FNV-1a (RFC 9923) of the skeleton's text, in hexadecimal.
  private static let fingerprint: String = {
    let hash = NftText.ruleset([]).utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    return String(hash, radix: 16)
  }()

  /// Takes in a message of a dump of tables, chains, sets or rules. What libnftnl cannot read is not ours.
  mutating func add(_ message: Message) {
    switch message.type {
    case nfTablesType(NFT_MSG_NEWCHAIN):
      // The kernel dumps the chains of all tables of the family.
      guard let chain = ChainHandle(message) else {
        chains.insert("?")
        return
      }
      if chain.table == Skeleton.table { chains.insert(chain.description) }
    case nfTablesType(NFT_MSG_NEWSET): sets.insert(SetHandle(message)?.description ?? "?")
    case nfTablesType(NFT_MSG_NEWRULE):
      guard let rule = RuleHandle(message) else {
        rules["?"] = []
        return
      }
      rules[rule.chain, default: []].append(rule.description)
    default: break
    }
  }
}
