import Netfilter
import PortMaps
import TestSupport
import Testing

@Suite("elements in the kernel")
struct ElementTests {
  @Test("are added, read back, listed and removed", arguments: samples)
  func roundTrip(_ element: Element) async throws {
    let bench = try Bench()
    try bench.kernel.apply(RulesetChange(additions: [element]), skeleton: .keep)
    #expect(try bench.kernel.read()?.elements == [element])
    let listing = try await bench.list().replacing(" counter packets 0 bytes 0", with: "")
    #expect(listing.contains("elements = { \(NftText.element(element)) }"), "\(listing)")

    try bench.kernel.apply(RulesetChange(removals: [element]), skeleton: .keep)
    let installed = try #require(try bench.kernel.read())
    #expect(installed.elements == [])
    #expect(installed.skeletonIsCurrent)
  }

  @Test("the samples have one of every set")
  func complete() {
    #expect(Set(samples.map(\.set)) == Set(SetName.allCases))
    #expect(samples.count == SetName.allCases.count)
  }

  static let forms: [Element] =
    [.accept, .drop, .return, .jump(.toRouted), .goto(.toInternal)].enumerated().map {
      Element(.toBridge6, .interface("br\($0)"), .verdict($1))
    } + TransportProtocol.allCases.map { Element(.any4, .port($0, 1), .destination(Plan.container4, 65535)) }
    + (0...32).map {
      // Each prefix length, in one column of its own.
      Element(.allowed4, .sourceAddressPort(prefix4($0), Plan.subnet4, .tcp, UInt16($0 + 1)))
    }
    + (0...128).map { Element(.hairpin6, .interfacePrefix("br\($0)", prefix6($0))) }
  private static func prefix4(_ length: Int) -> IPPrefix { IPPrefix("198.51.100.77", length: length) ?? "0.0.0.0/0" }
  private static func prefix6(_ length: Int) -> IPPrefix { IPPrefix("2001:db8:ffff::77", length: length) ?? "::/0" }

  @Test("every verdict, protocol and prefix length is read back")
  func everyForm() throws {
    let bench = try Bench(Self.forms)
    let read = try #require(try bench.kernel.read())
    #expect(read.skeletonIsCurrent)
    #expect(Set(read.elements) == Set(Self.forms))
    #expect(read.elements.count == Self.forms.count)
  }

  @Test("what is read needs no change to become what was wanted, and an empty change sends nothing")
  func idempotent() throws {
    let bench = try Bench(samples)
    let change = difference(from: try #require(try bench.kernel.read()).elements, to: samples)
    #expect(change.isEmpty)
    let (generation, transactions) = (try bench.kernel.generation(), bench.kernel.transactions)
    try bench.kernel.apply(change, skeleton: .keep)
    #expect(try bench.kernel.generation() == generation)
    #expect(bench.kernel.transactions == transactions)
  }

  @Test("a key changes its value and its comment in one transaction")
  func retarget() throws {
    let bench = try Bench(samples)
    let wanted = samples.map { element in
      var element = element
      if element.set == .any4 { element.value = .destination("172.18.0.9", 81) }
      if element.set == .published4 { element.comment = "renamed" }
      return element
    }
    let generation = try bench.kernel.generation()
    let change = difference(from: try #require(try bench.kernel.read()).elements, to: wanted)
    #expect(change.removals.map(\.set) == [.any4, .published4])
    try bench.kernel.apply(change, skeleton: .keep)
    #expect(try bench.kernel.generation() == generation + 1)
    #expect(Set(try #require(try bench.kernel.read()).elements) == Set(wanted))
  }

  @Test("another program's element is read like ours")
  func foreign() async throws {
    let bench = try Bench(samples)
    try await bench.nft(#"add element inet pmagent any4 { tcp . 22 comment "mine" : 172.18.0.9 . 22 }"#)
    let foreign = Element(.any4, .port(.tcp, 22), .destination("172.18.0.9", 22), comment: "mine")
    let read = try #require(try bench.kernel.read())
    #expect(difference(from: read.elements, to: samples) == RulesetChange(removals: [foreign]))
  }

  @Test(
    "a comment that is too long is cut between two characters",
    arguments: [
      (String(repeating: "a", count: 127), String(repeating: "a", count: 127)),
      (String(repeating: "a", count: 128), String(repeating: "a", count: 127)),
      (String(repeating: "\u{e4}", count: 64), String(repeating: "\u{e4}", count: 63)),
      ("a" + String(repeating: "\u{1f433}", count: 40), "a" + String(repeating: "\u{1f433}", count: 31)),
    ])
  func longComment(_ comment: String, _ kept: String) async throws {
    let bench = try Bench([Element(.bridges, .interface(Plan.bridge), comment: comment)])
    #expect(try bench.kernel.read()?.elements.first?.comment == kept)
    #expect(try await bench.list().contains("comment \"\(kept)\""))
  }

  @Test("a translation counts new connections, per element")
  func counters() async throws {
    let destination: Element.Value = .destination("127.0.0.1", 9)
    let bench = try Bench([
      Element(.exact4, .addressPort("127.0.0.1", .udp, 5300), destination),
      Element(.any4, .port(.udp, 5301), destination),
    ])
    try await bench.namespace.command("ip", "link", "set", "lo", "up")
    for port in [5300, 5301] {
      try await bench.namespace.command("bash", "-c", "for i in 1 2 3; do echo > /dev/udp/127.0.0.1/\(port); done")
    }
    let listing = try await bench.list()
    #expect(listing.contains("127.0.0.1 . udp . 5300 counter packets 3 bytes 87 : 127.0.0.1 . 9"), "\(listing)")
    #expect(listing.contains("udp . 5301 counter packets 3 bytes 87 : 127.0.0.1 . 9"), "\(listing)")
    #expect(try bench.kernel.read()?.elements.count == 2)
  }
}
