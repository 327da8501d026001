import Netfilter
import PortMaps
import TestSupport
import Testing

@Suite("the table for ::1 in the kernel")
struct LoopbackPathTests {
  private let namespace: NetworkNamespace
  private let path: LoopbackPath

  init() throws {
    namespace = try NetworkNamespace()
    path = LoopbackPath(on: try namespace.open())
  }

  @Test("is made once, recognised, and removed")
  func lifeCycle() async throws {
    try path.probe()
    #expect(try await list() == "", "a probe leaves nothing")
    #expect(try !path.isInstalled())
    #expect(try path.converge())
    #expect(try path.isInstalled())
    let listing = try await list()
    #expect(try !path.converge())
    #expect(try await list() == listing)
    try path.probe()
    #expect(try await list() == listing)
    for _ in 1...2 {
      try path.remove()
      #expect(try await list() == "")
    }
  }

  @Test("is what nft(8) makes of its own listing")
  func reload() async throws {
    _ = try path.converge()
    let listing = try await list()
    try await namespace.command("nft", "flush", "ruleset")
    try await namespace.command("nft", "-f", "-", input: listing)
    #expect(try await list() == listing)
    #expect(try path.isInstalled())
  }

  @Test(
    "an edit is noticed, and undone",
    arguments: [
      "delete table ip6 pmagent", "flush table ip6 pmagent", "add chain ip6 pmagent mine",
      "add rule ip6 pmagent input drop",
      "add set ip6 pmagent mine { type ipv6_addr; }", "add chain ip6 pmagent input { policy drop; }",
      "add table ip6 pmagent { flags dormant; }",
      "delete chain ip6 pmagent input; add chain ip6 pmagent input { type filter hook input priority 0; }",
    ])
  func edited(_ edit: String) async throws {
    _ = try path.converge()
    let listing = try await list()
    try await namespace.command("nft", edit)
    #expect(try !path.isInstalled())
    #expect(try path.converge())
    #expect(try await list() == listing)
  }

  private func list() async throws -> String { try await namespace.command("nft", "list", "ruleset") }
}
