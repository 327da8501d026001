import CNetfilter
import Glibc
import PortMaps

/// The nlmsg_type of an nf_tables message.
func nfTablesType(_ type: nf_tables_msg_types) -> UInt16 {
  UInt16(NFNL_SUBSYS_NFTABLES) << 8 | UInt16(type.rawValue)
}

/// The messages of one nf_tables transaction in one buffer, for one send:
///
/// ```
/// NFNL_MSG_BATCH_BEGIN
///   NFT_MSG_NEWTABLE | DELTABLE | NEWSET | NEWCHAIN | NEWRULE …    when the skeleton is built
///   NFT_MSG_DELSETELEM … NFT_MSG_NEWSETELEM …
/// NFNL_MSG_BATCH_END
/// ```
///
/// Each message has its own sequence number, so that an error names its culprit. Only the last one between the two
/// boundaries asks for an acknowledgement: kernels before 6.10 do not acknowledge BATCH_END, and errors come anyway.
struct Batch {
  enum Operation {
    /// In nft(8)'s words: `add chain inet pmagent forward`.
    case object(String)
    case addElements(ArraySlice<Element>)
    case deleteElements(ArraySlice<Element>)
  }

  private var writer = MessageWriter()
  /// BATCH_BEGIN's sequence number; the messages follow without gaps, BATCH_END closes the row.
  private var first: UInt32 = 0
  private var messages: [(start: Int, operation: Operation)] = []
  private(set) var elementCount = 0

  var bytes: ArraySlice<UInt8> { writer.bytes }
  var sequences: ClosedRange<UInt32> { first...next }
  /// The message that is acknowledged.
  var lastSequence: UInt32 { next - 1 }
  /// Messages between the boundaries.
  var count: Int { messages.count }
  private var next: UInt32 { first + 1 + UInt32(messages.count) }

  /// Starts over, keeping the memory of the last transaction.
  mutating func begin(_ sequence: UInt32) {
    writer.removeAll()
    messages.removeAll(keepingCapacity: true)
    (first, elementCount) = (sequence, 0)
    boundary(NFNL_MSG_BATCH_BEGIN, first)
  }

  mutating func end() {
    if let last = messages.last { writer.requestAcknowledgement(messageAt: last.start) }
    boundary(NFNL_MSG_BATCH_END, next)
  }

  private mutating func boundary(_ type: Int32, _ sequence: UInt32) {
    writer.message(
      UInt16(type), flags: NLM_F_REQUEST, sequence: sequence, family: UInt8(AF_UNSPEC),
      resource: UInt16(NFNL_SUBSYS_NFTABLES)
    ) { _ in }
  }

  /// One message; `write` appends it under the sequence number it is given.
  mutating func message(_ operation: Operation, _ write: (inout MessageWriter, UInt32) -> Void) {
    let sequence = next
    messages.append((writer.count, operation))
    write(&writer, sequence)
  }

  // MARK: Elements

  mutating func delete(_ elements: [Element]) {
    forEachMessage(of: elements) { $0.elements($1, NFT_MSG_DELSETELEM) }
  }

  /// Elements that must not be there yet with another value. The kernel keeps the old comment of one that is.
  mutating func add(_ elements: [Element]) {
    forEachMessage(of: elements) { $0.elements($1, NFT_MSG_NEWSETELEM) }
  }

  /// The elements of a set together, because the kernel looks the set up for each message, and as many messages as they
  /// need: a list of elements is one attribute, whose length has 16 bits. The largest element takes 272 bytes, an IPv6
  /// mapping with a comment of 12 bytes 92.
  private mutating func forEachMessage(of elements: [Element], _ body: (inout Batch, ArraySlice<Element>) -> Void) {
    for list in elements.bySet {
      var rest = list[...]
      while !rest.isEmpty {
        body(&self, rest.prefix(Self.elementsPerMessage))
        rest = rest.dropFirst(Self.elementsPerMessage)
      }
    }
    elementCount += elements.count
  }

  static let elementsPerMessage = 240

  private mutating func elements(_ elements: ArraySlice<Element>, _ type: nf_tables_msg_types) {
    let set = elements[elements.startIndex].set
    let (isInterval, isAddition) = (Skeleton.definition(of: set).isInterval, type == NFT_MSG_NEWSETELEM)
    message(isAddition ? .addElements(elements) : .deleteElements(elements)) { writer, sequence in
      writer.message(
        nfTablesType(type), flags: isAddition ? NLM_F_REQUEST | NLM_F_CREATE : NLM_F_REQUEST, sequence: sequence,
        family: UInt8(NFPROTO_INET)
      ) {
        $0.elementSet(set)
        $0.nested(NFTA_SET_ELEM_LIST_ELEMENTS) {
          for element in elements { $0.element(element, isInterval: isInterval, withValue: isAddition) }
        }
      }
    }
  }

  // MARK: Skeleton

  /// Replaces the table whatever there is: declaring one that exists changes nothing (without flags, not even the owner),
  /// so that the deletion always has something to delete.
  mutating func rebuildSkeleton(owner: Bool) {
    table("add table", NFT_MSG_NEWTABLE, NLM_F_CREATE)
    deleteTable()
    table("create table", NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL) {
      if owner { $0.attribute(NFTA_TABLE_FLAGS) { $0.big(TableFlags.owned) } }
      $0.attribute(NFTA_TABLE_USERDATA) { $0.append(comment: SkeletonState.comment) }
    }
    for definition in Skeleton.sets {
      let handle = SetHandle(definition)
      object("add set", definition.name.rawValue, NFT_MSG_NEWSET) { handle.write($0) }
    }
    for chain in Skeleton.chains {
      let handle = ChainHandle(chain)
      object("add chain", chain.name.rawValue, NFT_MSG_NEWCHAIN) { handle.write($0) }
    }
    for chain in Skeleton.chains {
      for rule in chain.rules {
        let handle = RuleHandle(rule, in: chain.name)
        object("add rule", "\(chain.name.rawValue) \(NftText.rule(rule))", NFT_MSG_NEWRULE) { handle.write($0) }
      }
    }
  }

  mutating func deleteTable() { table("delete table", NFT_MSG_DELTABLE, 0) }

  /// Gives a table whose owner is gone to this socket, contents and all.
  mutating func adoptTable() {
    table("add table", NFT_MSG_NEWTABLE, NLM_F_CREATE) { $0.attribute(NFTA_TABLE_FLAGS) { $0.big(TableFlags.owned) } }
  }

  /// A table that is owned, then the deletion of one that cannot be there: the kernel understands the first or not, and rolls
  /// back in any case.
  mutating func probeOwnership() {
    table("create table", NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, named: "pmagent-probe") {
      $0.attribute(NFTA_TABLE_FLAGS) { $0.big(TableFlags.owned) }
    }
    table("delete table", NFT_MSG_DELTABLE, 0, named: "pmagent-never")
  }

  private mutating func table(
    _ words: String, _ type: nf_tables_msg_types, _ flags: Int32, named name: String = Skeleton.table,
    _ attributes: (inout MessageWriter) -> Void = { _ in }
  ) {
    message(.object("\(words) \(Skeleton.family) \(name)")) { writer, sequence in
      writer.message(nfTablesType(type), flags: NLM_F_REQUEST | flags, sequence: sequence, family: UInt8(NFPROTO_INET))
      {
        $0.string(NFTA_TABLE_NAME, name)
        attributes(&$0)
      }
    }
  }

  private mutating func object(
    _ words: String, _ name: String, _ type: nf_tables_msg_types, _ build: (UnsafeMutablePointer<nlmsghdr>) -> Void
  ) {
    message(.object("\(words) \(Skeleton.family) \(Skeleton.table) \(name)")) { writer, sequence in
      writer.object(type, flags: NLM_F_REQUEST | NLM_F_CREATE | NLM_F_APPEND, sequence: sequence, build)
    }
  }
}

// MARK: Refusals

extension Batch {
  /// What the kernel refused, in nft(8)'s words.
  func refusal(_ failure: NetlinkSocket.Failure) -> Refusal {
    guard failure.sequence > first, failure.sequence < next else {
      return Refusal(operation: "nf_tables transaction", elements: [], errno: failure.errno)
    }
    let (start, operation) = messages[Int(failure.sequence - first) - 1]
    switch operation {
    case .object(let words): return Refusal(operation: words, elements: [], errno: failure.errno)
    case .addElements(let elements): return refusal("add", elements, start, failure)
    case .deleteElements(let elements): return refusal("delete", elements, start, failure)
    }
  }

  private func refusal(
    _ verb: String, _ elements: ArraySlice<Element>, _ start: Int, _ failure: NetlinkSocket.Failure
  ) -> Refusal {
    let culprit = failure.offset.flatMap { self.culprit(in: elements, messageAt: start, offset: $0) }
    let set = elements[elements.startIndex].set.rawValue
    return Refusal(
      operation: "\(verb) element \(Skeleton.family) \(Skeleton.table) \(set)",
      elements: culprit.map { [$0] } ?? Array(elements), errno: failure.errno)
  }

  /// The element whose attribute contains the byte at `offset` of the message.
  private func culprit(in elements: ArraySlice<Element>, messageAt start: Int, offset: Int) -> Element? {
    bytes.withUnsafeBytes { bytes in
      guard let message = Message(bytes[start...]), let list = message.attributes[NFTA_SET_ELEM_LIST_ELEMENTS] else {
        return nil
      }
      for (element, attribute) in zip(elements, Attributes(list)) where attribute.value.endIndex > start + offset {
        // The offset may be that of the list itself, which accuses nobody.
        return attribute.value.startIndex - 4 <= start + offset ? element : nil
      }
      return nil
    }
  }
}

extension [PortMaps.Element] {
  /// A list for each set, in the order in which they appear: the order in which a transaction takes them.
  package var bySet: [[PortMaps.Element]] {
    // There are a few dozen sets, and a change has elements of few of them.
    var sets: [(name: SetName, count: Int)] = []
    // By places: each element that is taken out of the list counts references.
    for place in indices {
      let set = self[place].set
      if let index = sets.firstIndex(where: { $0.name == set }) {
        sets[index].count += 1
      } else {
        sets.append((set, 1))
      }
    }
    if sets.count == 1 { return [self] }
    var lists = sets.map { [PortMaps.Element](reserving: $0.count) }
    for place in indices {
      let set = self[place].set
      guard let index = sets.firstIndex(where: { $0.name == set }) else { continue }
      lists[index].append(self[place])
    }
    return lists
  }

  private init(reserving capacity: Int) {
    self = []
    reserveCapacity(capacity)
  }
}
