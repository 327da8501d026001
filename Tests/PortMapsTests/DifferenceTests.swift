import PortMaps
import TestSupport
import Testing

@Suite struct DifferenceTests {
  private static func web(_ port: UInt16, to target: UInt16 = 80, comment: String = "web") -> Element {
    Element(.any4, .port(.tcp, port), .destination("172.18.0.2", target), comment: comment)
  }
  private static let bridge = Element(.bridges, .interface("br-web"))

  @Test(
    arguments: [
      ("nothing", [], [], RulesetChange()),
      ("identical", [web(1), bridge], [bridge, web(1)], RulesetChange()),
      ("add", [web(1)], [web(3), web(1), web(2)], RulesetChange(additions: [web(3), web(2)])),
      ("remove", [web(1), bridge], [bridge], RulesetChange(removals: [web(1)])),
      ("retarget", [web(1)], [web(1, to: 81)], RulesetChange(removals: [web(1)], additions: [web(1, to: 81)])),
      (
        "another comment", [web(1)], [web(1, comment: "api")],
        RulesetChange(removals: [web(1)], additions: [web(1, comment: "api")])
      ),
      ("an element twice in have", [web(1), web(1)], [web(1)], RulesetChange()),
      ("an element twice in have, unwanted", [web(1), web(1)], [], RulesetChange(removals: [web(1)])),
      ("an element twice in want", [], [web(1), web(1)], RulesetChange(additions: [web(1)])),
      (
        "the same key in another set", [Element(.bridges, .interface("a"))], [Element(.direct, .interface("a"))],
        RulesetChange(
          removals: [Element(.bridges, .interface("a"))], additions: [Element(.direct, .interface("a"))])
      ),
    ] as [(String, [Element], [Element], RulesetChange)])
  func changes(_ name: String, _ have: [Element], _ want: [Element], _ change: RulesetChange) {
    #expect(difference(from: have, to: want) == change)
    #expect(change.isEmpty == (Set(have) == Set(want)))
  }

  @Test func ofSeveralWithOneKeyTheFirstCounts() {
    let (first, second, other) = (Self.web(1), Self.web(1, comment: "api"), Self.web(2))
    #expect(difference(from: [first, second], to: [first]).isEmpty)
    #expect(difference(from: [first], to: [first, second]).isEmpty)
    #expect(difference(from: [other, first, second], to: [other]) == RulesetChange(removals: [first]))
    #expect(difference(from: [other], to: [other, first, second]) == RulesetChange(additions: [first]))
  }

  /// Applies a change as the kernel does: a removal needs the element, an addition needs the key to be free.
  private func apply(_ change: RulesetChange, to elements: [Element]) throws -> Set<Element> {
    var table = Dictionary(uniqueKeysWithValues: elements.map { ($0.identity, $0) })
    for element in change.removals {
      #expect(table.removeValue(forKey: element.identity) == element, "ENOENT \(element)")
    }
    for element in change.additions {
      #expect(table.updateValue(element, forKey: element.identity) == nil, "EEXIST \(element)")
    }
    return Set(table.values)
  }

  /// As elements are read that were asked for by their keys, while what is wanted has those of several sets in turn.
  @Test(arguments: seeds(300))
  func setsMayComeInTheirOrder(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let want = (1...8 as ClosedRange<UInt16>).flatMap { port in
      [SetName.any4, .any6, .exact4].map { Element($0, .port(.tcp, port), .destination("172.18.0.2", 80)) }
    }.filter { _ in !random.oneIn(4) }
    var have = [SetName.exact4, .any6, .any4].flatMap { set in want.filter { $0.set == set } }
    #expect(difference(from: have, to: want).isEmpty)
    // Of which one is named twice, and of which one is missing, another or too much.
    #expect(difference(from: have, to: want + [random.pick(want)]).isEmpty)
    let index = Int.random(in: have.indices, using: &random)
    switch Int.random(in: 0..<4, using: &random) {
    case 0: have.remove(at: index)
    case 1: have[index].comment = "another"
    case 2: have.insert(Element(have[index].set, .port(.udp, 1), .destination("172.18.0.2", 80)), at: index + 1)
    default: have.swapAt(index, 0)
    }
    let change = difference(from: have, to: want)
    #expect(change.removals.count <= 1 && change.additions.count <= 1)
    #expect(try apply(change, to: have) == Set(want))
  }

  @Test(arguments: seeds(300))
  func theChangeLeadsToWhatIsWanted(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let elements = { (random: inout SeededGenerator) in
      (1...12 as ClosedRange<UInt16>).filter { _ in random.oneIn(2) }.map {
        Self.web($0, to: random.pick([80, 81]), comment: random.pick(["web", "api"]))
      }.shuffled(using: &random)
    }
    let (have, want) = (elements(&random), elements(&random))
    #expect(try apply(difference(from: have, to: want), to: have) == Set(want))
    #expect(difference(from: want, to: want).isEmpty)
  }
}
