/// Renders the ruleset as text that `nft -f` loads: what `pmagent ruleset` prints.
///
/// Loading it replaces the table in one transaction: declare, delete, define.
package enum NftText {
  package static func ruleset(_ elements: some Sequence<Element>) -> String {
    let bySet = Dictionary(grouping: elements, by: \.set)
    var lines = [
      "table \(Skeleton.family) \(Skeleton.table) {}",
      "delete table \(Skeleton.family) \(Skeleton.table)",
      "table \(Skeleton.family) \(Skeleton.table) {",
    ]
    for definition in Skeleton.sets { lines += set(definition, bySet[definition.name] ?? []) + [""] }
    // Chains that are jumped to come before those that jump: nft(8) resolves names as it reads.
    for chain in Skeleton.chains.reversed() { lines += self.chain(chain) + [""] }
    lines[lines.count - 1] = "}"
    return lines.joined(separator: "\n") + "\n"
  }

  private static func set(_ definition: SetDefinition, _ elements: [Element]) -> [String] {
    let type = { (types: [DataType]) in types.map(\.name).joined(separator: " . ") }
    let (keyword, value) =
      switch definition.value {
      case .none: ("set", "")
      case .verdict: ("map", " : verdict")
      case .data(let types): ("map", " : \(type(types))")
      }
    var lines = ["\t\(keyword) \(definition.name.rawValue) {", "\t\ttype \(type(definition.key))\(value)"]
    if definition.isInterval { lines.append("\t\tflags interval") }
    if definition.hasCounter { lines.append("\t\tcounter") }
    if !elements.isEmpty {
      lines.append("\t\telements = {")
      lines += elements.map { "\t\t\t\(element($0))," }
      lines.append("\t\t}")
    }
    return lines + ["\t}"]
  }

  /// One element as in `elements = { … }`.
  package static func element(_ element: Element) -> String {
    let comment = element.comment.isEmpty ? "" : " comment \"\(element.comment)\""
    let value =
      switch element.value {
      case .none: ""
      case .verdict(let verdict): " : \(self.verdict(verdict))"
      case .destination(let address, let port): " : \(address) . \(port)"
      case .address(let address): " : \(address)"
      }
    // In a map nft(8) expects the comment between key and data.
    return key(element.key) + comment + value
  }

  package static func key(_ key: Element.Key) -> String {
    switch key {
    case .port(let transport, let port): "\(transport) . \(port)"
    case .addressPort(let address, let transport, let port): "\(address) . \(transport) . \(port)"
    case .sourceAddressPort(let source, let destination, let transport, let port):
      "\(source) . \(destination) . \(transport) . \(port)"
    case .interface(let name): "\"\(name)\""
    case .interfaces(let first, let second): "\"\(first)\" . \"\(second)\""
    case .interfacePrefix(let name, let prefix): "\"\(name)\" . \(prefix)"
    case .family(let family): family.name
    }
  }

  private static func chain(_ chain: Chain) -> [String] {
    var lines = ["\tchain \(chain.name.rawValue) {"]
    if let base = chain.base {
      lines.append(
        "\t\ttype \(base.kind.rawValue) hook \(base.hook.rawValue) priority \(base.priority); policy accept;")
    }
    return lines + chain.rules.map { "\t\t\(rule($0))" } + ["\t}"]
  }

  package static func rule(_ rule: Rule) -> String {
    let text = rule.statements.map(statement).joined(separator: " ")
    return rule.comment.map { "\(text) comment \"\($0)\"" } ?? text
  }

  package static func statement(_ statement: Statement) -> String {
    switch statement {
    case .interface(let selector, let name): "\(self.selector(selector)) != \"\(name)\""
    case .family(let family): "meta nfproto \(family.name)"
    case .transport(let transport): "meta l4proto \(transport)"
    case .icmp(let family): "meta l4proto \(family == .ipv4 ? "icmp" : "ipv6-icmp")"
    case .address(let selector, let prefix): "\(self.selector(selector)) \(self.prefix(prefix))"
    case .neitherEnd(let prefix):
      [Selector.saddr, Selector.daddr].map { "\(selector($0(prefix.address.family))) != \(self.prefix(prefix))" }
        .joined(separator: " ")
    case .established: "ct state established,related"
    case .translated: "ct status dnat"
    case .destinationIsLocal: "fib daddr type local"
    case .lookup(let key, let set): "\(concatenation(key)) @\(set.rawValue)"
    case .verdictMap(let key, let set): "\(concatenation(key)) vmap @\(set.rawValue)"
    case .dnat(let family, let key, let set):
      "dnat \(protocolName(family)) to \(concatenation(key)) map @\(set.rawValue)"
    case .snat(let family, let key, let set):
      "snat \(protocolName(family)) to \(concatenation(key)) map @\(set.rawValue)"
    case .masquerade: "masquerade"
    case .counter: "counter"
    case .verdict(let verdict): self.verdict(verdict)
    }
  }

  package static func verdict(_ verdict: Verdict) -> String {
    switch verdict {
    case .accept: "accept"
    case .drop: "drop"
    case .return: "return"
    case .jump(let chain): "jump \(chain.rawValue)"
    case .goto(let chain): "goto \(chain.rawValue)"
    }
  }

  private static func concatenation(_ key: [Selector]) -> String { key.map(selector).joined(separator: " . ") }

  private static func selector(_ selector: Selector) -> String {
    switch selector {
    case .iifname: "iifname"
    case .oifname: "oifname"
    case .nfproto: "meta nfproto"
    case .l4proto: "meta l4proto"
    case .saddr(let family): "\(protocolName(family)) saddr"
    case .daddr(let family): "\(protocolName(family)) daddr"
    case .thDport: "th dport"
    }
  }

  /// As nft(8) lists it: one address has no length.
  private static func prefix(_ prefix: IPPrefix) -> String {
    prefix.length == prefix.address.family.bitWidth ? "\(prefix.address)" : "\(prefix)"
  }

  private static func protocolName(_ family: AddressFamily) -> String { family == .ipv4 ? "ip" : "ip6" }
}
