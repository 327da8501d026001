import CNetfilter
import Glibc
import PortMaps

// The questions we ask nf_tables. None of them changes anything, so an answer that is lost is a plain error here.

extension NetlinkSocket {
  /// What NFT_MSG_GETTABLE says of our table.
  struct Table {
    var flags: UInt32 = 0
    var comment = ""
    var use = 0
    /// NFTA_TABLE_OWNER: the port id of the owning socket.
    var owner: UInt32?
  }

  /// The number of the last transaction of the network namespace, whosever it was.
  mutating func generation() throws(KernelError) -> UInt32 {
    var generation: UInt32?
    _ = try ask(NFT_MSG_GETGEN, "read the generation of nf_tables") {
      generation = $0.attributes[NFTA_GEN_ID].map { UInt32($0.big) }
    }
    guard let generation else { throw .system(operation: "read the generation of nf_tables", errno: EBADMSG) }
    return generation
  }

  /// `nil` when there is no table of our name.
  mutating func table() throws(KernelError) -> Table? {
    var table: Table?
    let answer = try ask(
      NFT_MSG_GETTABLE, "read \(tableName)", { $0.string(NFTA_TABLE_NAME, Skeleton.table) },
      { table = Table($0.attributes) })
    return answer == .absent ? nil : table
  }

  /// Whether the kernel knows tables that are owned and persist (Linux 6.9). Asked, for a version number proves nothing; no
  /// table is made by it, and no generation.
  mutating func canOwnTables() throws(KernelError) -> Bool {
    var batch = Batch()
    batch.begin(nextSequence)
    batch.probeOwnership()
    batch.end()
    let errors = try exchange(batch.bytes, sequences: batch.sequences).errors
    if errors.contains(where: { $0.errno == EPERM }) {
      throw .notPermitted("nf_tables refuses transactions: the capability CAP_NET_ADMIN is missing")
    }
    return errors.map(\.sequence) == [batch.lastSequence]
  }

  /// Chains, sets and rules; `nil` when they changed meanwhile.
  mutating func skeleton(of table: Table) throws(KernelError) -> SkeletonState? {
    var state = SkeletonState(flags: table.flags, comment: table.comment, objectCount: table.use)
    let operation = "read the rules of \(tableName)"
    guard
      try ask(
        NFT_MSG_GETCHAIN, dump: true, operation, { $0.string(NFTA_CHAIN_TABLE, Skeleton.table) }, { state.add($0) })
        == .complete,
      try ask(NFT_MSG_GETSET, dump: true, operation, { $0.string(NFTA_SET_TABLE, Skeleton.table) }, { state.add($0) })
        == .complete,
      try ask(NFT_MSG_GETRULE, dump: true, operation, { $0.string(NFTA_RULE_TABLE, Skeleton.table) }, { state.add($0) })
        == .complete
    else { return nil }
    return state
  }

  struct Elements: Sendable {
    var elements: [Element] = []
    /// One of the set's elements is not of a kind we write.
    var hasForeign = false

    mutating func add(_ message: Message, of definition: SetDefinition) {
      guard let list = message.attributes[NFTA_SET_ELEM_LIST_ELEMENTS] else { return }
      for (_, attributes) in Attributes(list) {
        if let element = Element(Attributes(attributes), of: definition) {
          elements.append(element)
        } else {
          hasForeign = true
        }
      }
    }
  }

  /// Of several sets, as far as the first that has foreign ones; `nil` when one changed meanwhile.
  mutating func elements(_ questions: [KernelRuleset.Question]) throws(KernelError) -> Elements? {
    var all = Elements()
    for question in questions where !all.hasForeign {
      guard let read = try elements(of: question.set, expecting: question.expected) else { return nil }
      all.elements += read.elements
      all.hasForeign = read.hasForeign
    }
    return all
  }

  /// The elements of one set; `nil` when it changed meanwhile. `expected`: many, or none.
  private mutating func elements(
    of definition: SetDefinition, expecting expected: [Element]
  ) throws(KernelError) -> Elements? {
    if let elements = try elements(expected, of: definition) { return elements }
    var result = Elements()
    let answer = try ask(
      NFT_MSG_GETSETELEM, dump: true, definition.operation, { $0.elementSet(definition.name) },
      { result.add($0, of: definition) })
    // A dump that has some elements twice misses as many others. That happens while a hash table grows, which it does for
    // some milliseconds after many elements were added: it goes on in the table's new order where it had stopped in the old
    // one (nft_rhash_walk of the kernel's net/netfilter/nft_set_hash.c).
    return answer == .complete && !result.elements.isRepeating ? result : nil
  }

  /// Asks for the elements by their keys where they seem to be all there are; `nil` when they are not.
  ///
  /// A dump of a hash table begins at the table's start again for each 32 KiB, to skip what it has told already
  /// (nft_rhash_walk of the kernel's net/netfilter/nft_set_hash.c): it costs the square of the number of elements. An answer
  /// to a key costs about 3 µs.
  private mutating func elements(_ expected: [Element], of definition: SetDefinition) throws(KernelError) -> Elements? {
    guard !expected.isEmpty, !definition.isInterval, try count(of: definition.name) == expected.count else {
      return nil
    }
    var result = Elements()
    result.elements.reserveCapacity(expected.count)
    var rest = expected[...]
    while !rest.isEmpty {
      let part = rest.prefix(Batch.elementsPerMessage)
      rest = rest.dropFirst(part.count)
      let answer = try ask(
        NFT_MSG_GETSETELEM, definition.operation,
        {
          $0.elementSet(definition.name)
          $0.nested(NFTA_SET_ELEM_LIST_ELEMENTS) {
            for element in part { $0.element(element, isInterval: false, withValue: false) }
          }
        }, { result.add($0, of: definition) })
      guard answer == .complete else { return nil }
    }
    // As many were expected as there are, but one of them twice.
    return result.elements.isRepeating ? nil : result
  }

  /// Elements of a set; `nil` from a kernel that does not tell.
  private mutating func count(of set: SetName) throws(KernelError) -> Int? {
    var count: Int?
    _ = try ask(
      NFT_MSG_GETSET, "read the size of \(tableName) \(set.rawValue)",
      {
        $0.string(NFTA_SET_TABLE, Skeleton.table)
        $0.string(NFTA_SET_NAME, set.rawValue)
      }, { message in count = message.attributes[SetCount.attribute].map { Int($0.big) } })
    return count
  }

  /// NFTA_SET_COUNT, which Debian 12's header lacks.
  private struct SetCount: RawRepresentable {
    static let attribute = SetCount(rawValue: 20)
    let rawValue: UInt32
  }

  enum Answer { case complete, interrupted, absent }

  mutating func ask(
    _ type: nf_tables_msg_types, dump: Bool = false, family: Int = NFPROTO_INET, _ operation: String,
    _ attributes: (inout MessageWriter) -> Void = { _ in }, _ receive: (Message) -> Void
  ) throws(KernelError) -> Answer {
    let sequence = nextSequence
    var writer = MessageWriter()
    writer.message(
      nfTablesType(type), flags: dump ? NLM_F_REQUEST | NLM_F_DUMP : NLM_F_REQUEST, sequence: sequence,
      family: UInt8(family), attributes)
    let answers = try ask(operation, writer.bytes, sequence: sequence, receive: receive)
    if let failure = answers.errors.first {
      switch failure.errno {
      case ENOENT: return .absent
      // The kernel's word for "the ruleset changed during this dump" and for a signal.
      case EINTR, EAGAIN: return .interrupted
      default: throw .system(operation: operation, errno: failure.errno)
      }
    }
    return answers.wasInterrupted || (dump && !answers.isDone) ? .interrupted : .complete
  }
}

extension SetDefinition {
  fileprivate var operation: String { "read the elements of \(tableName) \(name.rawValue)" }
}

let tableName = "table \(Skeleton.family) \(Skeleton.table)"

extension NetlinkSocket.Table {
  fileprivate init(_ attributes: Attributes) {
    for (type, value) in attributes {
      switch type {
      case NFTA_TABLE_FLAGS: flags = UInt32(value.big)
      case NFTA_TABLE_USE: use = Int(value.big)
      case NFTA_TABLE_OWNER: owner = UInt32(value.big)
      case NFTA_TABLE_USERDATA: comment = userdataComment(value)
      default: break
      }
    }
  }
}
