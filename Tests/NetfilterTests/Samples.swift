import Netfilter
import PortMaps
import TestSupport

/// One element of every set; key and value as nft(8) prints them are in the tests.
let samples: [Element] =
  AddressFamily.allCases.flatMap { family -> [Element] in
    let sets = FamilySets(family)
    let is4 = family == .ipv4
    let host = is4 ? Plan.host4 : Plan.host6
    let container = is4 ? Plan.container4 : Plan.container6
    let clients = is4 ? Plan.clients4 : Plan.clients6
    let everywhere: IPPrefix = is4 ? "0.0.0.0/0" : "::/0"
    return [
      Element(sets.exact, .addressPort(host, .udp, 53), .destination(container, 5353), comment: "dns"),
      Element(sets.any, .port(.tcp, 8080), .destination(container, 80), comment: "web"),
      Element(
        sets.restricted, .sourceAddressPort(clients, everywhere, .sctp, 9000), .destination(container, 90),
        comment: "admin"),
      Element(sets.published, .addressPort(container, .tcp, 80), comment: "web"),
      Element(sets.allowed, .sourceAddressPort(clients, is4 ? Plan.subnet4 : Plan.subnet6, .tcp, 90), comment: "admin"),
      Element(sets.toBridge, .interface(Plan.bridge), .verdict(.goto(.toNat)), comment: "frontend"),
      Element(sets.masquerade, .interface(Plan.bridge)),
      Element(sets.source, .interface(Plan.bridge), .address(host)),
      Element(sets.hairpin, .interfacePrefix(Plan.bridge, is4 ? Plan.subnet4 : Plan.subnet6)),
    ]
  } + [
    Element(.bridges, .interface(Plan.bridge), comment: "Stra\u{df}e"),
    Element(.internal, .interface("fifteen-bytes-x")),
    Element(.icc, .interfaces(Plan.bridge, Plan.bridge)),
    Element(.direct, .interface(Plan.bridge)),
    Element(.trusted, .interfaces("eth0", Plan.bridge)),
    Element(.forwardAllow, .interfaces("eth0", "eth1"), comment: "forward_allow"),
    Element(.forwardPolicy, .family(.ipv6), .verdict(.drop), comment: "forwarding was off"),
  ]

/// A namespace with our table in it.
struct Bench {
  let namespace: NetworkNamespace
  let kernel: KernelRuleset

  init(owner: Bool = false, _ elements: [Element] = []) throws {
    namespace = try NetworkNamespace()
    kernel = try namespace.open(owner: owner)
    try kernel.apply(RulesetChange(additions: elements), skeleton: .rebuild)
  }

  func nft(_ command: String) async throws { try await namespace.command("nft", command) }
  func list() async throws -> String { try await namespace.command("nft", "list", "table", "inet", "pmagent") }
}

extension NetworkNamespace {
  func open(owner: Bool = false) throws(KernelError) -> KernelRuleset {
    try run { () throws(KernelError) in try KernelRuleset.open(owner: owner) }
  }
}
