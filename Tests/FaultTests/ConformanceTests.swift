import Glibc
import Netfilter
import PortMaps
import TestSupport
import Testing

/// A table of either kind, and what a test does to it behind the store's back.
protocol Bench {
  init() throws
  func open(owner: Bool) throws(KernelError) -> any RulesetStore
  /// Makes a table whose only map is `any4`, with room for so many elements.
  func limit(_ size: Int) async throws
}

struct RealBench: Bench {
  let namespace: NetworkNamespace
  init() throws { namespace = try NetworkNamespace() }
  func open(owner: Bool) throws(KernelError) -> any RulesetStore {
    try namespace.run { () throws(KernelError) in try KernelRuleset.open(owner: owner) }
  }
  func limit(_ size: Int) async throws {
    try await namespace.command(
      "nft",
      """
      add table inet pmagent; add map inet pmagent any4 \
      { type inet_proto . inet_service : ipv4_addr . inet_service; size \(size); }
      """)
  }
}

struct FakeBench: Bench {
  let kernel = FakeKernel()
  func open(owner: Bool) -> any RulesetStore { kernel.open(owner: owner) }
  func limit(_ size: Int) {
    kernel.createEmpty()
    kernel.sizes[.any4] = size
  }
}

/// The model of the kernel is as strict as the kernel.
@Suite struct ConformanceTests {
  enum Kind: CaseIterable {
    case kernel, model
    func bench() throws -> any Bench { self == .kernel ? try RealBench() : FakeBench() }
  }

  struct Row: Sendable, CustomTestStringConvertible {
    let name: String
    var given: [Element] = []
    var removals: [Element] = []
    var additions: [Element] = []
    /// Elements afterwards, or the errno and the culprit.
    let expected: Expected
    var testDescription: String { name }
  }
  enum Expected: Sendable, Equatable {
    case elements([Element])
    case refused(Int32, Element)
  }

  static func web(_ port: UInt16, to last: Int = 2, _ comment: String = "web") -> Element {
    Element(.any4, .port(.tcp, port), .destination(IPAddress(ipv4: 0xac12_0000 + UInt32(last)), 80), comment: comment)
  }
  static func allowed(_ source: IPPrefix, _ port: UInt16 = 80) -> Element {
    Element(.allowed4, .sourceAddressPort(source, "172.18.0.2/32", .tcp, port), comment: "admin")
  }
  static let hairpin = Element(.hairpin4, .interfacePrefix("br0", "10.0.0.0/8"))

  static let rows = [
    Row(name: "add", additions: [web(80)], expected: .elements([web(80)])),
    Row(name: "add the same", given: [web(80)], additions: [web(80)], expected: .elements([web(80)])),
    Row(
      name: "another comment is ignored", given: [web(80)], additions: [web(80, "new")], expected: .elements([web(80)])),
    Row(
      name: "same key, other data", given: [web(80)], additions: [web(81), web(80, to: 3), web(82)],
      expected: .refused(EEXIST, web(80, to: 3))),
    Row(name: "the same twice in one", additions: [web(80), web(80, "b")], expected: .elements([web(80)])),
    Row(
      name: "other data twice in one", additions: [web(80), web(80, to: 3)], expected: .refused(EEXIST, web(80, to: 3))),
    Row(
      name: "delete and add retargets", given: [web(80)], removals: [web(80)], additions: [web(80, to: 3, "new")],
      expected: .elements([web(80, to: 3, "new")])),
    Row(name: "delete ignores the data", given: [web(80)], removals: [web(80, to: 9)], expected: .elements([])),
    Row(
      name: "delete what is missing", given: [web(80)], removals: [web(80), web(81)], additions: [web(82)],
      expected: .refused(ENOENT, web(81))),
    Row(
      name: "delete twice", given: [web(80)], removals: [web(80), web(80)], expected: .refused(ENOENT, web(80))),
    Row(
      name: "a key of another set", additions: [web(81), Element(.any4, .interface("eth0"), web(80).value)],
      expected: .refused(EINVAL, Element(.any4, .interface("eth0"), web(80).value))),
    Row(
      name: "an interval that is covered", given: [allowed("10.0.0.0/8")], additions: [allowed("10.1.0.0/16")],
      expected: .refused(EEXIST, allowed("10.1.0.0/16"))),
    Row(
      name: "an interval with the same end", given: [allowed("10.255.0.0/16")], additions: [allowed("10.0.0.0/8")],
      expected: .refused(EEXIST, allowed("10.0.0.0/8"))),
    Row(
      name: "an interval beside another", given: [allowed("10.0.0.0/8")], additions: [allowed("11.0.0.0/8")],
      expected: .elements([allowed("10.0.0.0/8"), allowed("11.0.0.0/8")])),
    Row(
      name: "the same interval", given: [allowed("10.0.0.0/8")], additions: [allowed("10.0.0.0/8")],
      expected: .elements([allowed("10.0.0.0/8")])),
    Row(
      name: "delete part of an interval", given: [allowed("10.0.0.0/8")], removals: [allowed("10.1.0.0/16")],
      expected: .elements([])),
    Row(
      name: "delete part of a subnet", given: [hairpin],
      removals: [Element(.hairpin4, .interfacePrefix("br0", "10.1.0.0/16"))], expected: .elements([])),
  ]

  @Test(arguments: Kind.allCases, rows) func row(_ kind: Kind, _ row: Row) throws {
    let store = try kind.bench().open(owner: false)
    try store.apply(RulesetChange(additions: row.given), skeleton: .rebuild)
    let generation = try store.generation()
    switch row.expected {
    case .elements(let elements):
      try store.apply(RulesetChange(removals: row.removals, additions: row.additions), skeleton: .keep)
      #expect(Set(try #require(try store.read()).elements) == Set(elements))
      // A transaction that changes nothing is none.
      #expect(try store.generation() == generation + (Set(elements) == Set(row.given) ? 0 : 1))
    case .refused(let number, let culprit):
      let error = #expect(throws: KernelError.self) {
        try store.apply(RulesetChange(removals: row.removals, additions: row.additions), skeleton: .keep)
      }
      guard case .refused(let refusal)? = error else {
        Issue.record("\(String(describing: error))")
        return
      }
      #expect(refusal.errno == number && refusal.elements == [culprit], "\(refusal)")
      #expect(Set(try #require(try store.read()).elements) == Set(row.given))
      #expect(try store.generation() == generation)
    }
  }

  @Test(arguments: Kind.allCases) func nothingIsNoTransaction(_ kind: Kind) throws {
    let store = try kind.bench().open(owner: false)
    let generation = try store.generation()
    try store.apply(RulesetChange(), skeleton: .keep)
    try store.deleteTable()
    #expect(try store.read()?.elements == nil)
    #expect(try store.generation() == generation)
    try store.apply(RulesetChange(removals: [Self.web(1)]), skeleton: .rebuild)
    try store.deleteTable()
    #expect(try store.generation() == generation + 2)
  }

  @Test(arguments: Kind.allCases) func withoutATableEverythingIsAbsent(_ kind: Kind) throws {
    let store = try kind.bench().open(owner: false)
    let error = #expect(throws: KernelError.self) {
      try store.apply(RulesetChange(additions: [Self.web(80), Self.web(81), Self.hairpin]), skeleton: .keep)
    }
    guard case .refused(let refusal)? = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(refusal.errno == ENOENT && refusal.elements == [Self.web(80), Self.web(81)], "\(refusal)")
  }

  @Test(arguments: Kind.allCases) func aFullSetIsENFILE(_ kind: Kind) async throws {
    let bench = try kind.bench()
    try await bench.limit(2)
    let store = try bench.open(owner: false)
    try store.apply(RulesetChange(additions: [Self.web(80)]), skeleton: .keep)
    let change = RulesetChange(additions: [Self.web(80), Self.web(81), Self.web(82)])
    let error = #expect(throws: KernelError.self) { try store.apply(change, skeleton: .keep) }
    guard case .refused(let refusal)? = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(refusal.errno == ENFILE && refusal.elements == [Self.web(82)], "\(refusal)")
    try store.apply(RulesetChange(removals: [Self.web(80)], additions: [Self.web(81), Self.web(82)]), skeleton: .keep)
  }

  @Test(arguments: Kind.allCases) func anOwnedTableIsForItsOwner(_ kind: Kind) throws {
    let bench = try kind.bench()
    let (owner, other) = (try bench.open(owner: true), try bench.open(owner: false))
    try owner.apply(RulesetChange(additions: [Self.web(80)]), skeleton: .rebuild)
    let generation = try owner.generation()
    let attempts: [(any RulesetStore) throws -> Void] = [
      { try $0.apply(RulesetChange(additions: [Self.web(81)]), skeleton: .keep) },
      { try $0.apply(RulesetChange(removals: [Self.web(80)]), skeleton: .keep) },
      { try $0.apply(RulesetChange(), skeleton: .rebuild) },
      { try $0.deleteTable() },
    ]
    for attempt in attempts {
      let error = #expect(throws: KernelError.self) { try attempt(other) }
      guard case .notPermitted(let words)? = error, words.contains("belongs to another program") else {
        Issue.record("\(String(describing: error))")
        continue
      }
    }
    #expect(try other.read()?.skeletonIsCurrent == false)
    #expect(try other.generation() == generation)
    #expect(try owner.read()?.elements == [Self.web(80)])
  }

  /// The same random transactions give the same answers and the same table.
  @Test(arguments: seeds(Effort.count(1, soak: 20))) func theyAgreeOnWhateverComes(_ seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let (real, fake) = (try RealBench().open(owner: false), FakeBench().open(owner: false))
    for store in [real, fake] { try store.apply(RulesetChange(), skeleton: .rebuild) }
    var refusals = 0
    var generations = (try real.generation(), try fake.generation())
    for _ in 0..<400 {
      let change = RulesetChange(
        removals: (0..<Int.random(in: 0...3, using: &random)).map { _ in Self.element(&random) },
        additions: (0..<Int.random(in: 0...3, using: &random)).map { _ in Self.element(&random) })
      let outcomes = [real, fake].map { outcome(of: change, on: $0) }
      #expect(outcomes[0] == outcomes[1], "\(change)")
      if outcomes[0] != "" { refusals += 1 }
      let (a, b) = (try #require(try real.read()), try #require(try fake.read()))
      let differing = Set(a.elements).symmetricDifference(b.elements)
      #expect(differing.isEmpty, "\(change)")
      let moved = (a.generation - generations.0, b.generation - generations.1)
      #expect(moved.0 == moved.1, "\(change)")
      generations = (a.generation, b.generation)
      if !differing.isEmpty { return }
    }
    print("seed \(seed): 400 random transactions, \(refusals) refused by both")
    #expect(refusals > 40 && refusals < 360)
  }

  /// Few keys, so that they meet; and no interval in the middle of another, where a deletion could mean either.
  static func element(_ random: inout SeededGenerator) -> Element {
    let port = UInt16.random(in: 1...6, using: &random)
    let comment = random.pick(["", "a", "b"])
    let address: IPAddress = random.pick(["172.18.0.2", "172.18.0.3"])
    let prefixes: [IPPrefix] = ["10.0.0.0/8", "10.0.0.0/16", "10.255.0.0/16", "11.0.0.0/8"]
    let places: [IPPrefix] = ["172.18.0.0/16", "172.19.0.0/16"]
    return switch Int.random(in: 0..<5, using: &random) {
    case 0: Element(.any4, .port(.tcp, port), .destination(address, 80), comment: comment)
    case 1: Element(.published4, .addressPort(address, .udp, port), comment: comment)
    case 2:
      Element(.toBridge4, .interface(random.pick(["a", "b"])), .verdict(.goto(random.pick([.toNat, .toRouted]))))
    case 3:
      Element(
        .restricted4, .sourceAddressPort(random.pick(prefixes), random.pick(places), .tcp, port % 2 + 1),
        .destination(address, 80), comment: comment)
    default: Element(.hairpin4, .interfacePrefix(random.pick(["a", "b"]), random.pick(prefixes)))
    }
  }

  private func outcome(of change: RulesetChange, on store: any RulesetStore) -> String {
    do {
      try store.apply(change, skeleton: .keep)
      return ""
    } catch {
      return "\(error)"
    }
  }
}
