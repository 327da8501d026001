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
  /// What stands before the host part of its addresses.
  private let prefixes: [AddressFamily: String]
  private let length4: Int
  /// `false` when the host has no address on the bridge (gateway mode `isolated`).
  fileprivate let hasGateway: Bool

  package static let web = BridgeNetwork(
    name: "web-net", bridge: Plan.bridge, prefixes: [.ipv4: "172.18.0.", .ipv6: "2001:db8:18::"])
  package static let back = BridgeNetwork(
    name: "back-net", bridge: "br-back", prefixes: [.ipv4: "172.19.0.", .ipv6: "2001:db8:19::"])

  /// One of 200 more, `number` from 0.
  package static func numbered(_ number: Int, _ name: String, hasGateway: Bool = true) -> BridgeNetwork {
    BridgeNetwork(
      name: name, bridge: "br-\(name)", prefixes: [.ipv4: "172.20.\(number).", .ipv6: "2001:db8:\(number + 20)::"],
      length4: 24, hasGateway: hasGateway)
  }

  private init(
    name: String, bridge: String, prefixes: [AddressFamily: String], length4: Int = 16, hasGateway: Bool = true
  ) {
    (self.name, self.bridge, self.prefixes) = (name, bridge, prefixes)
    (self.length4, self.hasGateway) = (length4, hasGateway)
  }

  package var subnets: [String] {
    AddressFamily.allCases.map { "\(IPPrefix(gateway($0), length: length($0))?.description ?? "")" }
  }
  /// The host's address on it.
  package func gateway(_ family: AddressFamily) -> IPAddress { address(family, hostPart: 1) }
  package func address(_ family: AddressFamily, hostPart: Int) -> IPAddress {
    IPAddress(stringLiteral: "\(prefixes[family, default: ""])\(hostPart)")
  }
  fileprivate func length(_ family: AddressFamily) -> Int { family == .ipv4 ? length4 : 64 }
  fileprivate var gateways: [String] { AddressFamily.allCases.map { "\(gateway($0))/\(length($0))" } }

  fileprivate func container(_ name: String, hostPart: Int) throws -> Node {
    Node(
      name: name, namespace: try NetworkNamespace(), ipv4: address(.ipv4, hostPart: hostPart),
      ipv6: address(.ipv6, hostPart: hostPart))
  }
}

package final class Topology {
  package let host: Node
  package let remote: Node
  package let routed: Node
  package let web: Node
  package let neighbour: Node
  package let other: Node
  /// The containers of the networks that `init` was given: `c-NAME`, and its neighbour, `n-NAME`.
  package let pairs: [String: (container: Node, neighbour: Node)]
  private let servers: [EchoServer]

  /// The port every node but the host answers on.
  package static let port: UInt16 = 80
  /// A second one, which no test publishes.
  package static let unpublished: UInt16 = 81

  /// A program of the host's own.
  package static let hostPort: UInt16 = 7

  /// `bridgeNetfilter`: bridged packets pass the packet filter too (`bridge-nf-call-iptables`). `networks`: more of
  /// them, each with two containers. `namespace`: the host's, where it exists already.
  package init(
    bridgeNetfilter: Bool = false, networks: [BridgeNetwork] = [], host namespace: NetworkNamespace? = nil
  ) async throws {
    host = Node(name: "host", namespace: try namespace ?? NetworkNamespace(), ipv4: Plan.host4, ipv6: Plan.host6)
    remote = Node(name: "remote", namespace: try NetworkNamespace(), ipv4: "192.0.2.2", ipv6: "2001:db8::2")
    routed = Node(name: "routed", namespace: try NetworkNamespace(), ipv4: "198.51.100.2", ipv6: "2001:db8:100::2")
    web = try BridgeNetwork.web.container("web", hostPart: 2)
    neighbour = try BridgeNetwork.web.container("neighbour", hostPart: 3)
    other = try BridgeNetwork.back.container("other", hostPart: 2)
    var links = [
      Link(node: remote, to: .host(["192.0.2.1/24", "2001:db8::1/64"]), isRouted: false),
      Link(node: routed, to: .host(["198.51.100.1/24", "2001:db8:100::1/64"]), isRouted: true),
      Link(node: web, to: .bridge(.web), isRouted: true),
      Link(node: neighbour, to: .bridge(.web), isRouted: true),
      Link(node: other, to: .bridge(.back), isRouted: true),
    ]
    pairs = try Dictionary(
      uniqueKeysWithValues: networks.map {
        ($0.name, (try $0.container("c-\($0.name)", hostPart: 2), try $0.container("n-\($0.name)", hostPart: 3)))
      })
    for network in networks {
      guard let (container, neighbour) = pairs[network.name] else { continue }
      links += [container, neighbour].map { Link(node: $0, to: .bridge(network), isRouted: true) }
    }
    for node in [host] + links.map(\.node) {
      // Duplicate address detection takes a second, in which the host solicits no neighbour it forwards to.
      try node.namespace.run { () throws(SystemError) in
        try write("0", to: "/proc/sys/net/ipv6/conf/default/accept_dad")
        try write("0 0", to: "/proc/sys/net/ipv4/ping_group_range")
      }
    }
    try await Self.build(host.namespace, [.web, .back] + networks, links, bridgeNetfilter: bridgeNetfilter)
    servers =
      try links.map(\.node).flatMap { node in
        try [Self.port, Self.unpublished].map { try EchoServer(node.name, in: node.namespace, port: $0) }
      } + [EchoServer(host.name, in: host.namespace, port: Self.hostPort)]
  }

  private static func build(
    _ host: NetworkNamespace, _ networks: [BridgeNetwork], _ links: [Link], bridgeNetfilter: Bool
  ) async throws {
    var lines = ["link set lo up"]
    for network in networks {
      lines.append("link add \(network.bridge) type bridge")
      lines.append("link set \(network.bridge) up")
      if network.hasGateway { lines += network.gateways.map { "address add \($0) dev \(network.bridge)" } }
    }
    lines += links.flatMap(\.hostEnd)
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
  var hostEnd: [String] {
    let interface = "v-\(node)"
    var lines = ["link add \(interface) type veth peer name eth0 netns \(node.namespace.path)"]
    switch to {
    case .host(let addresses): lines += addresses.map { "address add \($0) dev \(interface)" }
    case .bridge(let network):
      lines.append("link set \(interface) master \(network.bridge)")
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

/// Who tells an agent of networks and containers.
package protocol Announcer {
  /// Sends one line whose reply must be `"ok": true`.
  @discardableResult func succeed(_ line: String) throws -> JSON
}

extension AgentProgram: Announcer {}
extension AgentClient: Announcer {}

extension Announcer {
  @discardableResult
  package func create(
    _ network: BridgeNetwork, options: [String: String] = [:], isInternal: Bool = false
  ) throws -> JSON {
    let prefixed = options.sorted { $0.key < $1.key }.map {
      let prefix = $0.key.hasPrefix("host_ipv") ? "com.docker.network." : "com.docker.network.bridge."
      return (key: prefix + $0.key, value: JSON.string($0.value))
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
    try start(node, on: network, publish: publish.map { .string($0) })
  }

  @discardableResult
  package func start(_ node: Node, on network: BridgeNetwork = .web, publish: [JSON]) throws -> JSON {
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
            ("publish", .array(publish)),
          ])
        ),
      ]))
  }

  @discardableResult
  package func remove(_ network: BridgeNetwork) throws -> JSON {
    try succeed(.object([("event", .string("network.remove")), ("network", .string(network.name))]))
  }

  @discardableResult
  package func stop(_ node: Node) throws -> JSON {
    try succeed(.object([("event", .string("container.stop")), ("container", .string(node.name))]))
  }

  private func succeed(_ request: JSON) throws -> JSON { try succeed(request.description) }
}
