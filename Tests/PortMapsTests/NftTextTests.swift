import Subprocess
import TestSupport
import Testing

@testable import PortMaps

@Suite struct NftTextTests {
  /// `UPDATE_GOLDENS=1 swift test` writes it anew.
  @Test func theSkeletonIsTheGolden() throws {
    try expectGolden(NftText.ruleset([]), "skeleton.nft")
  }

  @Test func nftAcceptsTheSkeleton() async throws { try await expectAccepted(NftText.ruleset([])) }

  @Test func nftAcceptsAnElementOfEverySet() async throws {
    let elements = try everyElement()
    #expect(Set(elements.map(\.set)) == Set(SetName.allCases))
    try await expectAccepted(NftText.ruleset(elements))
  }

  /// A check that accepts everything would not be one.
  @Test func nftRefusesAWrongElement() async throws {
    let wrong = Element(.any4, .interface("br-web"))
    #expect(try await check(NftText.ruleset([wrong])).isAccepted == false)
  }

  private func everyElement() throws -> [Element] {
    var network = Network(
      "web", options: ["trusted_host_interfaces": "wg0", "gateway_mode_ipv6": "nat-unprotected"])
    let masqueraded = try ResolvedNetwork(network).elements(FilterPolicy())
    network.bridge = "br-fixed"
    network.options["com.docker.network.host_ipv4"] = "192.0.2.10"
    network.options["com.docker.network.host_ipv6"] = "2001:db8::10"
    let fixed = try ResolvedNetwork(network).elements(FilterPolicy())
    let inside = try ResolvedNetwork(Network("inside", isInternal: true)).elements(FilterPolicy())
    let routed = try ResolvedNetwork(
      Network("routed", options: ["gateway_mode_ipv4": "routed"])
    ).elements(FilterPolicy())
    var restricted: PublishRequest = "8082:82/sctp"
    restricted.allowFrom = ["198.51.100.0/24", "2001:db8::/32"]
    let bindings = try Start(
      Network("web"), ["8080:80", "192.0.2.10:8081:81/udp", "[2001:db8::10]:8081:81/udp", restricted]
    ).resolve().bindings
    // The longest name, and characters that a comment may hold.
    let policy = FilterPolicy(closedForwarding: [.ipv4, .ipv6], forwardAllow: [.init(from: "eth0", to: "eth1")])
    return policy.elements + masqueraded + fixed + inside + routed
      + bindings.elements(name: "wéb\\ ';{}#$" + String(repeating: "x", count: 200))
  }

  private func expectAccepted(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
    let (isAccepted, complaints) = try await check(text)
    #expect(isAccepted && complaints.isEmpty, "\(complaints)", sourceLocation: sourceLocation)
  }

  /// In a network namespace of its own, so that the machine's ruleset has no say.
  private func check(_ text: String) async throws -> (isAccepted: Bool, complaints: String) {
    let result = try await run(
      .name("unshare"), arguments: ["-n", "nft", "-c", "-f", "-"], input: .string(text), output: .discarded,
      error: .string(limit: 1 << 16))
    return (result.terminationStatus.isSuccess, result.standardError)
  }
}
