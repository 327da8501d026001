import Netfilter
import PortMaps
import TestSupport
import Testing

@Suite("the skeleton in the kernel")
struct SkeletonTests {
  @Test("is created, listed and recognised")
  func create() async throws {
    let namespace = try NetworkNamespace()
    let kernel = try namespace.run { () throws(KernelError) in try KernelRuleset.open() }
    #expect(try kernel.read() == nil)
    try kernel.apply(RulesetChange(), skeleton: .rebuild)
    print(try await namespace.command("nft", "list", "table", "inet", "pmagent"))
    let installed = try #require(try kernel.read())
    #expect(installed.skeletonIsCurrent)
    #expect(installed.elements == [])
  }
}
