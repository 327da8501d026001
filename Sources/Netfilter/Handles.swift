import CNetfilter
import PortMaps

// libnftnl's chains, sets and rules. Each object has one owner here that frees it; no pointer leaves this file.
//
// An object comes from the skeleton, to be written as a message, or from a message the kernel dumped. Both can be
// described, without what the kernel adds (handles, counts): equal descriptions mean equal objects.

struct ChainHandle: ~Copyable {
  private let chain = allocated(nftnl_chain_alloc())

  init(_ definition: Chain) {
    nftnl_chain_set_str(chain, id(NFTNL_CHAIN_TABLE), Skeleton.table)
    nftnl_chain_set_str(chain, id(NFTNL_CHAIN_NAME), definition.name.rawValue)
    nftnl_chain_set_u32(chain, id(NFTNL_CHAIN_FAMILY), UInt32(NFPROTO_INET))
    guard let base = definition.base else { return }
    nftnl_chain_set_str(chain, id(NFTNL_CHAIN_TYPE), base.kind.rawValue)
    nftnl_chain_set_u32(chain, id(NFTNL_CHAIN_HOOKNUM), base.hook.number)
    nftnl_chain_set_s32(chain, id(NFTNL_CHAIN_PRIO), base.priority)
    nftnl_chain_set_u32(chain, id(NFTNL_CHAIN_POLICY), UInt32(NF_ACCEPT))
  }

  /// `nil` when libnftnl does not understand the message.
  init?(_ message: Message) {
    let chain = chain
    guard message.withHeader({ nftnl_chain_nlmsg_parse($0, chain) }) == 0 else { return nil }
    nftnl_chain_unset(chain, id(NFTNL_CHAIN_HANDLE))
    nftnl_chain_set_u32(chain, id(NFTNL_CHAIN_USE), 0)
    nftnl_chain_set_u64(chain, id(NFTNL_CHAIN_PACKETS), 0)
    nftnl_chain_set_u64(chain, id(NFTNL_CHAIN_BYTES), 0)
    // NFT_CHAIN_BASE says again that there is a hook, and not on every kernel.
    if nftnl_chain_get_u32(chain, id(NFTNL_CHAIN_FLAGS)) == NFT_CHAIN_BASE.rawValue {
      nftnl_chain_unset(chain, id(NFTNL_CHAIN_FLAGS))
    }
  }

  deinit { nftnl_chain_free(chain) }

  var table: String { nftnl_chain_get_str(chain, id(NFTNL_CHAIN_TABLE)).map { String(cString: $0) } ?? "" }
  var description: String { text { nftnl_chain_snprintf($0, $1, chain, NFTNL_OUTPUT_DEFAULT.rawValue, 0) } }
  func write(_ header: UnsafeMutablePointer<nlmsghdr>) { nftnl_chain_nlmsg_build_payload(header, chain) }
}

struct SetHandle: ~Copyable {
  private let set = allocated(nftnl_set_alloc())

  init(_ definition: SetDefinition) {
    nftnl_set_set_str(set, id(NFTNL_SET_TABLE), Skeleton.table)
    nftnl_set_set_str(set, id(NFTNL_SET_NAME), definition.name.rawValue)
    number(NFTNL_SET_FAMILY, UInt32(NFPROTO_INET))
    number(NFTNL_SET_ID, definition.name.transactionID)
    number(NFTNL_SET_FLAGS, definition.flags)
    number(NFTNL_SET_KEY_TYPE, definition.key.concatenatedType)
    number(NFTNL_SET_KEY_LEN, definition.key.concatenatedLength)
    switch definition.value {
    case .none: break
    case .verdict:
      number(NFTNL_SET_DATA_TYPE, UInt32(NFT_DATA_VERDICT.rawValue))
    case .data(let types):
      number(NFTNL_SET_DATA_TYPE, types.concatenatedType)
      number(NFTNL_SET_DATA_LEN, types.concatenatedLength)
    }
    if definition.isInterval {
      let lengths = definition.key.map { UInt8($0.size) }
      nftnl_set_set_data(set, id(NFTNL_SET_DESC_CONCAT), lengths, UInt32(lengths.count))
    }
    if definition.key == [.ifname] {
      // Without it nft(8) lists the names as "": it takes a key that is no concatenation for a big-endian number.
      let byteOrder = hostByteOrderUserdata
      nftnl_set_set_data(set, id(NFTNL_SET_USERDATA), byteOrder, UInt32(byteOrder.count))
    }
    if definition.hasCounter { nftnl_set_add_expr(set, made(Expression("counter"))) }
  }

  init?(_ message: Message) {
    let set = set
    guard message.withHeader({ nftnl_set_nlmsg_parse($0, set) }) == 0 else { return nil }
    // For verdicts the kernel lists the size of its own struct.
    if nftnl_set_get_u32(set, id(NFTNL_SET_DATA_TYPE)) == NFT_DATA_VERDICT.rawValue {
      nftnl_set_unset(set, id(NFTNL_SET_DATA_LEN))
    }
  }

  deinit { nftnl_set_free(set) }

  private func number(_ attribute: nftnl_set_attr, _ value: UInt32) {
    nftnl_set_set_u32(set, id(attribute), value)
  }

  /// libnftnl's own text leaves out types and lengths. A limit of elements or a timeout is not in the skeleton.
  var description: String {
    let numbers = [
      NFTNL_SET_FLAGS, NFTNL_SET_KEY_TYPE, NFTNL_SET_KEY_LEN, NFTNL_SET_DATA_TYPE, NFTNL_SET_DATA_LEN,
      NFTNL_SET_DESC_SIZE, NFTNL_SET_GC_INTERVAL, NFTNL_SET_POLICY, NFTNL_SET_OBJ_TYPE,
    ].map { String(nftnl_set_get_u32(set, id($0))) }
    let name = nftnl_set_get_str(set, id(NFTNL_SET_NAME)).map { String(cString: $0) } ?? ""
    var expressions: [String] = []
    _ = withUnsafeMutablePointer(to: &expressions) {
      nftnl_set_expr_foreach(
        set,
        { expression, list in
          list?.assumingMemoryBound(to: [String].self).pointee.append(expressionName(expression))
          return 0
        }, $0)
    }
    // The one attribute of 8 bytes: libnftnl aborts when asked for another length than it has.
    let timeout = nftnl_set_get_u64(set, id(NFTNL_SET_TIMEOUT))
    return "\(name) \(numbers.joined(separator: " ")) \(timeout) \(fieldLengths) \(expressions)"
  }

  private var fieldLengths: [UInt8] {
    var length: UInt32 = 0
    guard let data = nftnl_set_get_data(set, id(NFTNL_SET_DESC_CONCAT), &length) else { return [] }
    return Array(UnsafeRawBufferPointer(start: data, count: Int(length)))
  }

  func write(_ header: UnsafeMutablePointer<nlmsghdr>) { nftnl_set_nlmsg_build_payload(header, set) }
}

struct RuleHandle: ~Copyable {
  private let rule = allocated(nftnl_rule_alloc())

  init(_ definition: Rule, in chain: ChainName) {
    self.init(definition.expressions, in: chain.rawValue, NFPROTO_INET, comment: definition.comment)
  }

  init(_ expressions: [Expression], in chain: String, _ family: Int, comment: String?) {
    nftnl_rule_set_str(rule, id(NFTNL_RULE_TABLE), Skeleton.table)
    nftnl_rule_set_str(rule, id(NFTNL_RULE_CHAIN), chain)
    nftnl_rule_set_u32(rule, id(NFTNL_RULE_FAMILY), UInt32(family))
    for expression in expressions { nftnl_rule_add_expr(rule, made(expression)) }
    guard let comment = comment.map(userdata(comment:)) else { return }
    nftnl_rule_set_data(rule, id(NFTNL_RULE_USERDATA), comment, UInt32(comment.count))
  }

  init?(_ message: Message) {
    let rule = rule
    guard message.withHeader({ nftnl_rule_nlmsg_parse($0, rule) }) == 0 else { return nil }
    nftnl_rule_unset(rule, id(NFTNL_RULE_HANDLE))
    nftnl_rule_unset(rule, id(NFTNL_RULE_POSITION))
    _ = nftnl_expr_foreach(
      rule,
      { expression, _ in
        if expressionName(expression) == "counter" {
          nftnl_expr_set_u64(expression, UInt16(NFTNL_EXPR_CTR_PACKETS), 0)
          nftnl_expr_set_u64(expression, UInt16(NFTNL_EXPR_CTR_BYTES), 0)
        }
        return 0
      }, nil)
  }

  deinit { nftnl_rule_free(rule) }

  var chain: String { nftnl_rule_get_str(rule, id(NFTNL_RULE_CHAIN)).map { String(cString: $0) } ?? "" }
  var description: String { text { nftnl_rule_snprintf($0, $1, rule, NFTNL_OUTPUT_DEFAULT.rawValue, 0) } }
  func write(_ header: UnsafeMutablePointer<nlmsghdr>) { nftnl_rule_nlmsg_build_payload(header, rule) }
}

/// libnftnl takes its enum constants as uint16_t.
private func id(_ attribute: some RawRepresentable<UInt32>) -> UInt16 { UInt16(attribute.rawValue) }

/// malloc(3) fails only when the process is lost anyway.
private func allocated(_ pointer: OpaquePointer?) -> OpaquePointer {
  guard let pointer else { preconditionFailure("out of memory") }
  return pointer
}

/// The caller hands the expression to a set or a rule, which frees it.
private func made(_ expression: Expression) -> OpaquePointer {
  let pointer = allocated(nftnl_expr_alloc(expression.name))
  for (type, value) in expression.attributes {
    switch value {
    case .number(let number): nftnl_expr_set_u32(pointer, UInt16(type), number)
    case .string(let string): nftnl_expr_set_str(pointer, UInt16(type), string)
    case .bytes(let bytes): nftnl_expr_set(pointer, UInt16(type), bytes, UInt32(bytes.count))
    }
  }
  return pointer
}

private func expressionName(_ expression: OpaquePointer?) -> String {
  expression.flatMap { nftnl_expr_get_str($0, UInt16(NFTNL_EXPR_NAME)) }.map { String(cString: $0) } ?? ""
}

/// What a `nftnl_*_snprintf` prints.
private func text(_ print: (UnsafeMutablePointer<CChar>, Int) -> Int32) -> String {
  withUnsafeTemporaryAllocation(of: CChar.self, capacity: 8192) { buffer in
    guard let start = buffer.baseAddress, print(start, buffer.count) > 0 else { return "" }
    return String(cString: start)
  }
}

extension Message {
  fileprivate func withHeader(_ body: (UnsafePointer<nlmsghdr>) -> Int32) -> Int32 {
    // Netlink aligns messages to 4 bytes, and so is the buffer they are received into.
    let address = UnsafeRawBufferPointer(rebasing: bytes).baseAddress
    return address.map { body($0.assumingMemoryBound(to: nlmsghdr.self)) } ?? -1
  }
}

extension MessageWriter {
  /// A message whose attributes libnftnl builds: `build` must write less than 8 KiB.
  mutating func object(
    _ type: nf_tables_msg_types, flags: Int32, sequence: UInt32, family: Int = NFPROTO_INET,
    _ build: (UnsafeMutablePointer<nlmsghdr>) -> Void
  ) {
    withUnsafeTemporaryAllocation(byteCount: 8192, alignment: 8) { buffer in
      guard
        let header = nftnl_nlmsg_build_hdr(
          buffer.baseAddress, nfTablesType(type), UInt16(family), UInt16(flags), sequence)
      else { return }
      build(header)
      append(UnsafeRawBufferPointer(start: header, count: Int(header.pointee.nlmsg_len)))
    }
  }
}

extension SetName {
  /// NFTA_SET_ID, unique within a transaction. Mandatory, though everything else refers to the set by its name.
  fileprivate var transactionID: UInt32 { UInt32(SetName.allCases.firstIndex(of: self) ?? 0) + 1 }
}

extension SetDefinition {
  /// `enum nft_set_flags`. nf_tables wants CONCAT for ranges in a concatenation, not for exact keys.
  fileprivate var flags: UInt32 {
    (value == .none ? 0 : NFT_SET_MAP.rawValue)
      | (isInterval ? NFT_SET_INTERVAL.rawValue | NFT_SET_CONCAT.rawValue : 0)
  }
}

extension [DataType] {
  /// nft(8) numbers a concatenation with 6 bits for each field.
  fileprivate var concatenatedType: UInt32 { reduce(0) { $0 << 6 | $1.rawValue } }
  fileprivate var concatenatedLength: UInt32 { reduce(0) { $0 + UInt32(($1.size + 3) & ~3) } }
}
