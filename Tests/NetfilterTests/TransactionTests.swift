import Glibc
import Netfilter
import PortMaps
import TestSupport
import Testing

@Suite("transactions")
struct TransactionTests {
  private func mapping(_ port: Int, _ comment: String = "") -> Element {
    Element(.any4, .port(.tcp, UInt16(port)), .destination(Plan.container4, 80), comment: comment)
  }

  private func refusal(of change: RulesetChange, by kernel: KernelRuleset) -> KernelError? {
    #expect(throws: KernelError.self) { try kernel.apply(change, skeleton: .keep) }
  }

  static let conflict = Element(.any4, .port(.tcp, 8080), .destination("172.18.0.3", 80), comment: "late")
  static let missing = Element(.published4, .addressPort("172.18.0.9", .tcp, 1), comment: "gone")

  @Test(
    "a refusal names the culprit and changes nothing",
    arguments: [
      (
        RulesetChange(additions: [conflict]), EEXIST,
        "add element inet pmagent any4 { tcp . 8080 } for late: EEXIST (File exists)"
      ),
      (
        RulesetChange(removals: [missing]), ENOENT,
        "delete element inet pmagent published4 { 172.18.0.9 . tcp . 1 } for gone: ENOENT (No such file or directory)"
      ),
      (
        RulesetChange(additions: [Element(.any4, .interface("eth0"), .destination(Plan.container4, 1))]), EINVAL,
        #"add element inet pmagent any4 { "eth0" }: EINVAL (Invalid argument)"#
      ),
    ])
  func refused(_ change: RulesetChange, _ number: Int32, _ text: String) throws {
    let bench = try Bench(samples)
    let generation = try bench.kernel.generation()
    // In the middle of good ones, of the same message and of others.
    let change = RulesetChange(
      removals: [samples[0]] + change.removals + [samples[3]],
      additions: (1...500).map { mapping($0) } + change.additions + (501...1000).map { mapping($0) })
    let error = refusal(of: change, by: bench.kernel)
    guard case .refused(let refusal)? = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(refusal.errno == number)
    #expect(refusal.elements.count == 1)
    #expect(refusal.description == text)
    #expect(try bench.kernel.generation() == generation)
    #expect(Set(try #require(try bench.kernel.read()).elements) == Set(samples))
  }

  @Test("a rebuilt table starts without elements, so removals are void")
  func rebuild() throws {
    let bench = try Bench([samples[0]])
    let change = RulesetChange(removals: [Self.missing], additions: [samples[1]])
    try bench.kernel.apply(change, skeleton: .rebuild)
    #expect(try bench.kernel.read()?.elements == [samples[1]])
  }

  @Test("without a table every change is refused")
  func noTable() throws {
    let kernel = try NetworkNamespace().open()
    let error = refusal(of: RulesetChange(additions: [samples[0]]), by: kernel)
    #expect(error?.description.hasSuffix("ENOENT (No such file or directory)") == true)
  }

  @Test("a lost answer is an unknown outcome, and the next transaction works")
  func lostAnswers() throws {
    let bench = try Bench()
    // The smallest buffer that socket(7) allows, and a change of many messages, each of which is refused.
    var size: CInt = 1
    let socket = try #require(bench.kernel.descriptor)
    #expect(setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<CInt>.size)) == 0)
    let missing = (1...30_000).map { mapping($0) }
    let error = refusal(of: RulesetChange(removals: missing), by: bench.kernel)
    guard case .unknownOutcome(let words)? = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(words.contains("ENOBUFS"))
    try bench.kernel.apply(RulesetChange(additions: samples), skeleton: .keep)
    #expect(try bench.kernel.read()?.elements.count == samples.count)
  }

  @Test("10,000 elements are one transaction")
  func many() throws {
    let bench = try Bench()
    let elements = (1...10_000).map { mapping($0, "container-\($0)") }
    let generation = try bench.kernel.generation()
    try bench.kernel.apply(RulesetChange(additions: elements), skeleton: .keep)
    #expect(try bench.kernel.generation() == generation + 1)
    let read = try #require(try bench.kernel.read())
    #expect(Set(read.elements) == Set(elements))
    #expect(read.elements.count == 10_000)
    try bench.kernel.apply(RulesetChange(removals: read.elements), skeleton: .keep)
    #expect(try bench.kernel.read()?.elements == [])
  }

  @Test("an event costs the same at 0 and at 10,000 mappings", arguments: [0, 10_000])
  func flat(_ existing: Int) throws {
    let bench = try Bench((0..<existing).map { mapping($0 + 20_000) })
    let before = (bench.kernel.transactions, bench.kernel.messagesSent, bench.kernel.elementsSent)
    try bench.kernel.apply(
      RulesetChange(removals: [], additions: [mapping(1), mapping(2), samples[3]]), skeleton: .keep)
    #expect(bench.kernel.transactions - before.0 == 1)
    #expect(bench.kernel.messagesSent - before.1 == 2)
    #expect(bench.kernel.elementsSent - before.2 == 3)
  }

  @Test("a reader sees each transaction whole")
  func snapshots() async throws {
    let bench = try Bench([mapping(1)])
    let namespace = bench.namespace
    let writing = Task { try moveToAndFro(in: namespace) }
    for _ in 1...500 {
      if let installed = try readUnlessOutrun(bench.kernel) { #expect(installed.elements.count == 1) }
    }
    try await writing.value
  }

  /// `nil` when the writer was always quicker.
  private func readUnlessOutrun(_ kernel: KernelRuleset) throws -> InstalledRuleset? {
    do {
      return try kernel.read()
    } catch {
      guard case .system(_, errno: EBUSY) = error else { throw error }
      return nil
    }
  }

  /// Moves a mapping from one map to another and back: at any generation there is exactly one.
  private func moveToAndFro(in namespace: NetworkNamespace) throws {
    let kernel = try namespace.open()
    let (here, there) = (mapping(1), Element(.exact4, .addressPort(Plan.host4, .tcp, 1), mapping(1).value))
    for _ in 1...500 {
      try kernel.apply(RulesetChange(removals: [here], additions: [there]), skeleton: .keep)
      _ = try readUnlessOutrun(kernel)
      try kernel.apply(RulesetChange(removals: [there], additions: [here]), skeleton: .keep)
    }
  }
}

@Suite("a table that belongs to a socket")
struct OwnerTests {
  @Test("others are refused and told who holds it; they may read")
  func others() async throws {
    let bench = try Bench(owner: true, samples)
    let installed = try #require(try bench.kernel.read())
    #expect(installed.skeletonIsCurrent)
    let holder = try #require(installed.ownerPortID)

    let other = try bench.namespace.open()
    #expect(try other.read()?.ownerPortID == holder)
    #expect(try other.read()?.skeletonIsCurrent == false)
    for change in [RulesetChange(additions: [samples[0]]), RulesetChange(removals: [samples[0]])] {
      let error = #expect(throws: KernelError.self) { try other.apply(change, skeleton: .keep) }
      #expect(error?.description.contains("port id \(holder)") == true)
    }
    #expect(throws: KernelError.self) { try other.apply(RulesetChange(), skeleton: .rebuild) }
    #expect(throws: KernelError.self) { try other.deleteTable() }
    #expect(try bench.kernel.read()?.elements.count == samples.count)
    try await bench.nft("flush ruleset")
    #expect(try bench.kernel.read()?.elements.count == samples.count)
  }

  @Test(
    "changes hands by a rebuild, in one transaction",
    arguments: [(true, true), (true, false), (false, true), (false, false)])
  func handover(_ before: Bool, _ after: Bool) throws {
    let namespace = try NetworkNamespace()
    do {
      let first = try namespace.open(owner: before)
      try first.apply(RulesetChange(additions: samples), skeleton: .rebuild)
    }
    // The first socket is closed; what it owned persists.
    let second = try namespace.open(owner: after)
    let installed = try #require(try second.read())
    // What its owner has left behind is adopted by the reading.
    #expect(installed.skeletonIsCurrent == (before == after))
    #expect((installed.ownerPortID != nil) == (before && after))
    try second.apply(RulesetChange(additions: samples), skeleton: .rebuild)
    #expect(try second.generation() == installed.generation + 1)
    let rebuilt = try #require(try second.read())
    #expect(rebuilt.skeletonIsCurrent)
    #expect((rebuilt.ownerPortID != nil) == after)
    #expect(Set(rebuilt.elements) == Set(samples))
  }
}

@Suite struct GrowingTableTests {
  /// Right after many elements were added, the kernel is still moving them to a larger hash table.
  @Test func aTableThatGrowsIsReadWhole() throws {
    let elements = (1...10_000).map {
      Element(.any4, .port(.tcp, UInt16($0)), .destination(Plan.container4, 80), comment: "container-\($0)")
    }
    for _ in 1...10 {
      let bench = try Bench()
      try bench.kernel.apply(RulesetChange(additions: elements), skeleton: .keep)
      let read = try #require(try bench.kernel.read())
      #expect(Set(read.elements) == Set(elements))
    }
  }
}

/// Elements that are expected are asked for by their keys; what is read is what is there all the same.
@Suite struct ExpectedElementTests {
  private let elements = (1...1000).flatMap { port -> [Element] in
    let number = UInt16(port)
    return [
      Element(.any4, .port(.tcp, number), .destination(Plan.container4, 80), comment: "container-\(port)"),
      Element(.published6, .addressPort("2001:db8::7", .udp, number), comment: "container-\(port)"),
    ]
  }

  /// The same number of elements, of which one is another.
  enum Expectation: CaseIterable { case right, value, comment, key, fewer, repeated }

  private func expected(_ expectation: Expectation) -> [Element] {
    var expected = elements
    switch expectation {
    case .right: break
    case .value: expected[0].value = .destination(Plan.container4, 81)
    case .comment: expected[1].comment = "other"
    case .key: expected[0].key = .port(.tcp, 2000)
    case .fewer: expected.removeLast(2)
    case .repeated: expected[0] = expected[2]
    }
    return expected
  }

  /// By one thread, and by two.
  @Test(arguments: Expectation.allCases, [Int.max, 1])
  func whatIsThereIsRead(_ expectation: Expectation, leastShared: Int) throws {
    let bench = try Bench()
    try bench.kernel.apply(RulesetChange(additions: elements), skeleton: .keep)
    (bench.kernel.leastAskedFor, bench.kernel.leastShared) = (998, leastShared)
    let expected = expected(expectation)
    let read = try #require(try bench.kernel.read(expecting: expected))
    #expect(read.skeletonIsCurrent && read.elements.count == elements.count)
    #expect(Set(read.elements) == Set(elements))
    #expect(difference(from: read.elements, to: expected).isEmpty == (expectation == .right))
  }
}
