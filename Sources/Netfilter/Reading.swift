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
      generation = $0.attributes[Int(NFTA_GEN_ID.rawValue)].map { UInt32($0.big) }
    }
    guard let generation else { throw .system(operation: "read the generation of nf_tables", errno: EBADMSG) }
    return generation
  }

  /// `nil` when there is no table of our name.
  mutating func table() throws(KernelError) -> Table? {
    var table: Table?
    let answer = try ask(
      NFT_MSG_GETTABLE, "read \(tableName)", { $0.string(Int(NFTA_TABLE_NAME.rawValue), Skeleton.table) }
    ) {
      table = Table($0.attributes)
    }
    return answer == .absent ? nil : table
  }

  /// Chains, sets and rules; `nil` when they changed meanwhile.
  mutating func skeleton(of table: Table) throws(KernelError) -> SkeletonState? {
    var state = SkeletonState(flags: table.flags, comment: table.comment, objectCount: table.use)
    let questions = [
      (NFT_MSG_GETCHAIN, Int(NFTA_CHAIN_TABLE.rawValue)), (NFT_MSG_GETSET, Int(NFTA_SET_TABLE.rawValue)),
      (NFT_MSG_GETRULE, Int(NFTA_RULE_TABLE.rawValue)),
    ]
    for (type, attribute) in questions {
      let answer = try ask(type, dump: true, "read \(tableName)", { $0.string(attribute, Skeleton.table) }) {
        state.add($0)
      }
      guard answer == .complete else { return nil }
    }
    return state
  }

  /// The elements of one set, or how the dump failed. `isForeign` is set when one is not of a kind we write.
  mutating func elements(
    of definition: SetDefinition, into elements: inout [Element], isForeign: inout Bool
  ) throws(KernelError) -> Answer {
    var (read, foreign): ([Element], Bool) = ([], false)
    let answer = try ask(
      NFT_MSG_GETSETELEM, dump: true, "read the elements of \(tableName) \(definition.name.rawValue)",
      { $0.elementSet(definition.name) }
    ) { message in
      guard let list = message.attributes[Int(NFTA_SET_ELEM_LIST_ELEMENTS.rawValue)] else { return }
      for (_, attributes) in Attributes(list) {
        if let element = Element(Attributes(attributes), of: definition) {
          read.append(element)
        } else {
          foreign = true
        }
      }
    }
    elements += read
    isForeign = isForeign || foreign
    return answer
  }

  enum Answer { case complete, interrupted, absent }

  private mutating func ask(
    _ type: nf_tables_msg_types, dump: Bool = false, _ operation: String,
    _ attributes: (inout MessageWriter) -> Void = { _ in }, receive: (Message) -> Void
  ) throws(KernelError) -> Answer {
    let sequence = nextSequence
    var writer = MessageWriter()
    writer.message(
      nfTablesType(type), flags: dump ? NLM_F_REQUEST | NLM_F_DUMP : NLM_F_REQUEST, sequence: sequence,
      family: UInt8(NFPROTO_INET), attributes)
    let answers: Answers
    do {
      answers = try exchange(writer.bytes, sequences: sequence...sequence, receive: receive)
    } catch .unknownOutcome(let problem) {
      throw .system(operation: "\(operation): \(problem)", errno: EIO)
    }
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

let tableName = "table \(Skeleton.family) \(Skeleton.table)"

extension NetlinkSocket.Table {
  fileprivate init(_ attributes: Attributes) {
    for (type, value) in attributes {
      switch type {
      case Int(NFTA_TABLE_FLAGS.rawValue): flags = UInt32(value.big)
      case Int(NFTA_TABLE_USE.rawValue): use = Int(value.big)
      case Int(NFTA_TABLE_OWNER.rawValue): owner = UInt32(value.big)
      case Int(NFTA_TABLE_USERDATA.rawValue): comment = userdataComment(value)
      default: break
      }
    }
  }
}
