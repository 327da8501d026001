import Feed
import Glibc
import PortMaps

// A host, two bridges with containers, and two machines beside it. Every link is a veth pair, every box a namespace.
//
//   remote ─ 192.0.2.0/24 ───── v-remote ┐      ┌ br-web   172.18.0.0/16 ── web, neighbour
//            2001:db8::/64               ├ host ┤          2001:db8:18::/64
//   routed ─ 198.51.100.0/24 ── v-routed ┘      └ br-back  172.19.0.0/16 ── other
//            2001:db8:100::/64                             2001:db8:19::/64
//
// `remote` knows the host's addresses only; `routed` sends everything to the host, as a machine with a route to the
// containers does, or an attacker on the host's layer 2 segment. The host has host part 1 everywhere, `neighbour` 3, all
// others 2.

/// A machine or container of a `Topology`.
package struct Node: Sendable, CustomStringConvertible {
  package let name: String
  package let namespace: NetworkNamespace
  package let ipv4: IPAddress
  package let ipv6: IPAddress

  package var description: String { name }
  package func address(_ family: AddressFamily) -> IPAddress { family == .ipv4 ? ipv4 : ipv6 }
}

/// A bridge network of a `Topology`.
package struct BridgeNetwork: Sendable {
  package let name: String
  package let bridge: String
  package let subnets: [String]
  fileprivate let gateways: [String]

  package static let web = BridgeNetwork(
    name: "web-net", bridge: Plan.bridge, subnets: [Plan.subnet4.description, Plan.subnet6.description],
    gateways: ["172.18.0.1/16", "2001:db8:18::1/64"])
  package static let back = BridgeNetwork(
    name: "back-net", bridge: "br-back", subnets: ["172.19.0.0/16", "2001:db8:19::/64"],
    gateways: ["172.19.0.1/16", "2001:db8:19::1/64"])
}

package final class Topology {
  package let host: Node
  package let remote: Node
  package let routed: Node
  package let web: Node
  package let neighbour: Node
  package let other: Node
  private let servers: [EchoServer]

  /// The port every node but the host answers on.
  package static let port: UInt16 = 80
  /// A second one, which no test publishes.
  package static let unpublished: UInt16 = 81

  /// `bridgeNetfilter`: bridged packets pass the packet filter too (`bridge-nf-call-iptables`).
  package init(bridgeNetfilter: Bool = false) async throws {
    host = Node(name: "host", namespace: try NetworkNamespace(), ipv4: Plan.host4, ipv6: Plan.host6)
    remote = Node(name: "remote", namespace: try NetworkNamespace(), ipv4: "192.0.2.2", ipv6: "2001:db8::2")
    routed = Node(name: "routed", namespace: try NetworkNamespace(), ipv4: "198.51.100.2", ipv6: "2001:db8:100::2")
    web = Node(name: "web", namespace: try NetworkNamespace(), ipv4: Plan.container4, ipv6: Plan.container6)
    neighbour = Node(
      name: "neighbour", namespace: try NetworkNamespace(), ipv4: "172.18.0.3", ipv6: "2001:db8:18::3")
    other = Node(name: "other", namespace: try NetworkNamespace(), ipv4: "172.19.0.2", ipv6: "2001:db8:19::2")
    let links = [
      Link(node: remote, to: .host(["192.0.2.1/24", "2001:db8::1/64"]), isRouted: false),
      Link(node: routed, to: .host(["198.51.100.1/24", "2001:db8:100::1/64"]), isRouted: true),
      Link(node: web, to: .bridge(.web), isRouted: true),
      Link(node: neighbour, to: .bridge(.web), isRouted: true),
      Link(node: other, to: .bridge(.back), isRouted: true),
    ]
    for node in [host] + links.map(\.node) {
      // Duplicate address detection takes a second, in which the host solicits no neighbour it forwards to.
      try node.namespace.run { () throws(SystemError) in
        try write("0", to: "/proc/sys/net/ipv6/conf/default/accept_dad")
      }
    }
    try await Self.build(host.namespace, links, bridgeNetfilter: bridgeNetfilter)
    servers = try links.map(\.node).flatMap { node in
      try [Self.port, Self.unpublished].map { try EchoServer(node.name, in: node.namespace, port: $0) }
    }
  }

  private static func build(_ host: NetworkNamespace, _ links: [Link], bridgeNetfilter: Bool) async throws {
    var lines = ["link set lo up"]
    for network in [BridgeNetwork.web, .back] {
      lines.append("link add \(network.bridge) type bridge")
      lines.append("link set \(network.bridge) up")
      lines += network.gateways.map { "address add \($0) dev \(network.bridge)" }
    }
    lines += links.flatMap { $0.hostEnd(hairpin: bridgeNetfilter) }
    try await host.command("ip", "-batch", "-", input: lines.joined(separator: "\n"))
    try await withThrowingTaskGroup(of: Void.self) { group in
      for link in links {
        group.addTask {
          try await link.node.namespace.command("ip", "-batch", "-", input: link.nodeEnd.joined(separator: "\n"))
        }
      }
      try await group.waitForAll()
    }
    try host.run { () throws(SystemError) in
      for family in ["iptables", "ip6tables"] {
        try write(bridgeNetfilter ? "1" : "0", to: "/proc/sys/net/bridge/bridge-nf-call-\(family)")
      }
    }
  }
}

/// A veth pair between the host and a node, where it is `eth0`.
private struct Link {
  enum Target {
    case bridge(BridgeNetwork)
    /// The host's addresses on it.
    case host([String])
  }
  let node: Node
  let to: Target
  /// The host is the node's default route.
  let isRouted: Bool

  /// Lines for ip(8) in the host's namespace.
  func hostEnd(hairpin: Bool) -> [String] {
    let interface = "v-\(node)"
    var lines = ["link add \(interface) type veth peer name eth0 netns \(node.namespace.path)"]
    switch to {
    case .host(let addresses): lines += addresses.map { "address add \($0) dev \(interface)" }
    case .bridge(let network):
      lines.append("link set \(interface) master \(network.bridge)")
      // A bridged frame leaves by the port it came from only then; without br_netfilter the host routes it.
      if hairpin { lines.append("link set \(interface) type bridge_slave hairpin on") }
    }
    return lines + ["link set \(interface) up"]
  }

  /// Lines for ip(8) in the node's namespace.
  var nodeEnd: [String] {
    let gateways =
      switch to {
      case .host(let addresses): addresses
      case .bridge(let network): network.gateways
      }
    let lengths = gateways.map { $0.drop { $0 != "/" } }
    var lines = ["link set lo up", "link set eth0 up"]
    lines += zip([node.ipv4, node.ipv6], lengths).map { "address add \($0)\($1) dev eth0" }
    if isRouted { lines += gateways.map { "route add default via \($0.prefix { $0 != "/" })" } }
    return lines
  }
}

// MARK: Announcing it

extension AgentProgram {
  @discardableResult
  package func create(
    _ network: BridgeNetwork, options: [String: String] = [:], isInternal: Bool = false
  ) throws -> JSON {
    let prefixed = options.sorted { $0.key < $1.key }.map {
      (key: "com.docker.network.bridge." + $0.key, value: JSON.string($0.value))
    }
    return try succeed(
      .object([
        ("event", .string("network.create")),
        (
          "network",
          .object([
            ("id", .string(network.name)), ("bridge", .string(network.bridge)), ("internal", .bool(isInternal)),
            ("subnets", .array(network.subnets.map { .string($0) })), ("options", .object(prefixed)),
          ])
        ),
      ]))
  }

  @discardableResult
  package func start(_ node: Node, on network: BridgeNetwork = .web, publish: [String]) throws -> JSON {
    try succeed(
      .object([
        ("event", .string("container.start")),
        (
          "container",
          .object([
            ("id", .string(node.name)),
            (
              "networks",
              .array([
                .object([
                  ("network", .string(network.name)), ("ipv4", .string("\(node.ipv4)")),
                  ("ipv6", .string("\(node.ipv6)")),
                ])
              ])
            ),
            ("publish", .array(publish.map { .string($0) })),
          ])
        ),
      ]))
  }

  @discardableResult
  package func stop(_ node: Node) throws -> JSON {
    try succeed(.object([("event", .string("container.stop")), ("container", .string(node.name))]))
  }

  private func succeed(_ request: JSON) throws -> JSON { try succeed(request.description) }
}
