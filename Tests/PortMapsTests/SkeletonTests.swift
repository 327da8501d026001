import PortMaps
import Testing

@Suite struct SkeletonTests {
  private let rules = Skeleton.chains.flatMap(\.rules)
  private var statements: [Statement] { rules.flatMap(\.statements) }

  @Test func everySetIsDefinedOnce() {
    let byName = { (a: SetName, b: SetName) in a.rawValue < b.rawValue }
    #expect(Skeleton.sets.map(\.name).sorted(by: byName) == SetName.allCases.sorted(by: byName))
    for name in SetName.allCases { #expect(Skeleton.definition(of: name).name == name) }
  }

  @Test func everyChainIsThereOnce() {
    #expect(Set(Skeleton.chains.map(\.name)) == Set(ChainName.allCases))
    #expect(Skeleton.chains.count == ChainName.allCases.count)
  }

  @Test func everyChainThatHasNoHookIsReached() {
    let targets = statements.compactMap { statement -> ChainName? in
      switch statement {
      case .verdict(.jump(let chain)), .verdict(.goto(let chain)): chain
      default: nil
      }
    }
    let modes: [ChainName] = [.toNat, .toNatUnprotected, .toRouted, .toInternal]
    #expect(Set(targets + modes) == Set(Skeleton.chains.filter { $0.base == nil }.map(\.name)))
  }

  /// nft(8) and the kernel need a chain before a jump to it.
  @Test func jumpsLeadToLaterChains() throws {
    for (index, chain) in Skeleton.chains.enumerated() {
      for case .verdict(.jump(let target)) in chain.rules.flatMap(\.statements) {
        #expect(try #require(Skeleton.chains.firstIndex { $0.name == target }) > index, "\(chain.name) to \(target)")
      }
    }
  }

  @Test func everyLookupFitsItsSet() {
    for statement in statements {
      let (key, name, value): ([Selector], SetName, SetDefinition.Value)
      switch statement {
      case .lookup(let selectors, let set): (key, name, value) = (selectors, set, .none)
      case .verdictMap(let selectors, let set): (key, name, value) = (selectors, set, .verdict)
      case .dnat(let family, let selectors, let set):
        (key, name, value) = (selectors, set, .data([.address(family), .inetService]))
      case .snat(let family, let selectors, let set): (key, name, value) = (selectors, set, .data([.address(family)]))
      default: continue
      }
      let definition = Skeleton.definition(of: name)
      #expect(key.map(dataType) == definition.key, "\(NftText.statement(statement))")
      #expect(value == definition.value, "\(NftText.statement(statement))")
    }
  }

  @Test func everySetIsLookedUp() {
    let used = statements.compactMap { statement -> SetName? in
      switch statement {
      case .lookup(_, let set), .verdictMap(_, let set), .dnat(_, _, let set), .snat(_, _, let set): set
      default: nil
      }
    }
    #expect(Set(used) == Set(SetName.allCases))
  }

  /// A family's addresses are only looked at once the packet is known to have them.
  @Test func addressesFollowTheirFamily() {
    for rule in rules {
      var known: Set<AddressFamily> = []
      for statement in rule.statements {
        switch statement {
        case .family(let family), .address(.saddr(let family), in: _), .address(.daddr(let family), in: _):
          known = [family]
        case .lookup(let key, _), .dnat(_, let key, _):
          for case .saddr(let family) in key { #expect(known.contains(family), "\(NftText.rule(rule))") }
          for case .daddr(let family) in key { #expect(known.contains(family), "\(NftText.rule(rule))") }
        default: break
        }
      }
    }
  }

  @Test func theNumberOfRulesIsAConstant() { #expect(rules.count == 49) }

  @Test func onlyBaseChainsOfTheContract() {
    let bases = Skeleton.chains.compactMap { chain in
      chain.base.map { "\(chain.name.rawValue): \($0.kind.rawValue) \($0.hook.rawValue) \($0.priority)" }
    }
    #expect(
      bases == [
        "guard: filter prerouting -300", "prerouting: nat prerouting -99", "output: nat output -99",
        "forward: filter forward 0", "postrouting: nat postrouting 101",
      ])
  }

  private func dataType(_ selector: Selector) -> DataType {
    switch selector {
    case .iifname, .oifname: .ifname
    case .nfproto: .nfProto
    case .l4proto: .inetProto
    case .saddr(let family), .daddr(let family): .address(family)
    case .thDport: .inetService
    }
  }
}
