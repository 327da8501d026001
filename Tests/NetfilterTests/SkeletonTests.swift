import Netfilter
import PortMaps
import TestSupport
import Testing

@Suite("the skeleton in the kernel")
struct SkeletonTests {
  @Test("nft(8) lists it, with an element in every set, as the golden file")
  func golden() async throws {
    try expectGolden(try await Bench(samples).list(), "table.nft")
  }

  @Test("the listing can be saved and loaded by nft(8)")
  func reload() async throws {
    let (bench, namespace) = (try Bench(samples), try NetworkNamespace())
    try await namespace.command("nft", "-f", "-", input: try await bench.list())
    expectSameLines(try await namespace.command("nft", "list", "ruleset"), try await bench.list())
    let restored = try #require(try namespace.open().read())
    #expect(!restored.skeletonIsCurrent, "nft(8) puts byteorder expressions before interval lookups")
  }

  @Test("equals what nft(8) makes of the same ruleset as text")
  func sameAsText() async throws {
    let namespace = try NetworkNamespace()
    try await namespace.command("nft", "-f", "-", input: NftText.ruleset(samples))
    let text = try await namespace.command("nft", "list", "table", "inet", "pmagent")
    // Text has no table comment, and declares chains in the other order.
    expectSameLines(blocks(try await Bench(samples).list()), blocks(text))
  }

  /// The sets and chains of a listing in alphabetical order.
  private func blocks(_ listing: String) -> String {
    listing.split(separator: "\n").filter { !$0.hasPrefix("\tcomment") }.split(separator: "\t}")
      .map { $0.filter { !$0.hasPrefix("table") }.joined(separator: "\n") }.sorted().joined(separator: "\n")
  }

  @Test("is recognised, also by another process")
  func recognised() throws {
    let bench = try Bench()
    for kernel in [bench.kernel, try bench.namespace.open()] {
      let installed = try #require(try kernel.read())
      #expect(installed.skeletonIsCurrent)
      #expect(installed.elements == [])
      #expect(installed.ownerPortID == nil)
      #expect(installed.generation == (try kernel.generation()))
    }
  }

  static let equivalents = [
    "counters have counted": #"""
    flush chain inet pmagent guard
    add rule inet pmagent guard ip saddr != 127.0.0.0/8 ip daddr != 127.0.0.0/8 accept
    add rule inet pmagent guard ip6 saddr != ::1 ip6 daddr != ::1 accept
    add rule inet pmagent guard iifname != "lo" counter packets 7 bytes 8 drop comment "loopback addresses are the host's own"
    """#,
    "a set and its rules are made again": recreated("type ifname;"),
  ]

  @Test("is recognised although", arguments: equivalents.keys.sorted())
  func equivalent(_ name: String) async throws {
    let bench = try Bench()
    try await bench.namespace.command("nft", "-f", "-", input: (Self.equivalents[name] ?? "") + "\n")
    #expect(try bench.kernel.read()?.skeletonIsCurrent == true)
  }

  /// The set `direct`, and the chain that looks it up.
  private static func recreated(_ definition: String) -> String {
    """
    flush chain inet pmagent to_nat
    delete set inet pmagent direct
    add set inet pmagent direct { \(definition) }
    add rule inet pmagent to_nat ct status dnat jump published
    add rule inet pmagent to_nat iifname @bridges counter drop comment "other networks: only host addresses"
    add rule inet pmagent to_nat oifname @direct jump published
    add rule inet pmagent to_nat iifname . oifname @trusted jump published
    add rule inet pmagent to_nat counter drop
    """
  }

  static let edits = [
    "a rule is missing": "flush chain inet pmagent output",
    "a rule is added": "add rule inet pmagent forward accept",
    "a rule is replaced": "flush chain inet pmagent to_internal; add rule inet pmagent to_internal counter accept",
    "a rule lost its comment": "flush chain inet pmagent to_internal; add rule inet pmagent to_internal counter drop",
    "rules change places": """
    flush chain inet pmagent to_nat_unprotected; add rule inet pmagent to_nat_unprotected accept
    add rule inet pmagent to_nat_unprotected ct status dnat jump published
    add rule inet pmagent to_nat_unprotected iifname @bridges counter drop comment "other networks: only host addresses"
    """,
    "a lookup is inverted": """
    flush chain inet pmagent prerouting; add rule inet pmagent prerouting fib daddr type != local jump publish
    """,
    "a chain is added": "add chain inet pmagent mine",
    "a base chain is added": "add chain inet pmagent mine { type filter hook input priority 0; policy drop; }",
    "a chain is deleted": "flush chain inet pmagent output; delete chain inet pmagent output",
    "a policy is changed": "add chain inet pmagent forward { type filter hook forward priority 0; policy drop; }",
    "a set is added": "add set inet pmagent mine { type ipv4_addr; }",
    "a set is deleted": """
    flush chain inet pmagent forward; flush chain inet pmagent postrouting; delete set inet pmagent icc
    """,
    "a set has a limit": recreated("type ifname; size 100;"),
    "a set has a timeout": recreated("type ifname; timeout 1d;"),
    "a set is for other keys": recreated("type ifname; flags interval;"),
    "a counter object is added": "add counter inet pmagent mine",
    "the table is dormant": "add table inet pmagent { flags dormant; }",
    "the table has another comment": "delete table inet pmagent; add table inet pmagent { comment \"mine\"; }",
    "an element is a range of ports": """
    add element inet pmagent allowed4 { 198.51.100.0/24 . 172.18.0.0/16 . tcp . 70-79 }
    """,
    "an element is a range of addresses": """
    add element inet pmagent allowed4 { 198.51.100.1-198.51.100.9 . 172.18.0.0/16 . tcp . 80 }
    """,
    "an element has a protocol that is not ours": "add element inet pmagent published4 { 172.18.0.2 . dccp . 80 }",
    "an element jumps to a chain that is not ours": """
    add chain inet pmagent mine; add element inet pmagent to_bridge4 { eth9 : jump mine }
    """,
  ]

  @Test("an edit is noticed, and a rebuild undoes it", arguments: edits.keys.sorted())
  func edited(_ name: String) async throws {
    let bench = try Bench(samples)
    let before = try await bench.list()
    try await bench.namespace.command("nft", "-f", "-", input: (Self.edits[name] ?? "") + "\n")
    let installed = try #require(try bench.kernel.read())
    #expect(!installed.skeletonIsCurrent)
    #expect(installed.elements == [])

    let generation = try bench.kernel.generation()
    try bench.kernel.apply(RulesetChange(additions: samples), skeleton: .rebuild)
    #expect(try bench.kernel.generation() == generation + 1, "a rebuild is one transaction")
    #expect(try bench.kernel.read()?.skeletonIsCurrent == true)
    expectSameLines(try await bench.list(), before)
  }

  @Test("a deleted table reads as nil; deleting it twice is no error")
  func deleted() throws {
    let bench = try Bench(samples)
    try bench.kernel.deleteTable()
    #expect(try bench.kernel.read() == nil)
    let generation = try bench.kernel.generation()
    try bench.kernel.deleteTable()
    #expect(try bench.kernel.generation() == generation)
  }

  @Test("other tables are left alone")
  func foreign() async throws {
    let bench = try Bench()
    let other = """
      table inet other {
      \tset pmagent {
      \t\ttype ipv4_addr
      \t\telements = { 192.0.2.1 }
      \t}

      \tchain forward {
      \t\ttype nat hook prerouting priority dstnat; policy accept;
      \t\tip daddr 192.0.2.1 tcp dport 8080 dnat ip to 172.18.0.2:80
      \t}
      }
      table ip pmagent {
      \tchain forward {
      \t\tcounter packets 0 bytes 0 drop
      \t}
      }

      """
    try await bench.namespace.command("nft", "-f", "-", input: other)
    #expect(try bench.kernel.read()?.skeletonIsCurrent == true)
    try bench.kernel.apply(RulesetChange(additions: samples), skeleton: .rebuild)
    try bench.kernel.deleteTable()
    #expect(try await bench.namespace.command("nft", "list", "ruleset") == other)
  }
}
