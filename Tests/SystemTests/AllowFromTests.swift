import Feed
import PortMaps
import TestSupport
import Testing

/// `allow_from`: only these sources use a mapping, whichever way they come, and by the address they really have.
@Suite struct AllowFromTests {
  /// Who asks which host port, or the container's port itself, and what the container sees. `nil`: nothing comes.
  struct Row: Sendable {
    let client: String
    let end: End
    let source: Seen?

    enum End {
      case host(UInt16)
      case loopback(UInt16)
      case container(UInt16)
    }
    enum Seen { case own, gateway, asked }

    init(_ client: String, _ end: End, _ source: Seen?) { (self.client, self.end, self.source) = (client, end, source) }
  }

  /// What `web` publishes, on tcp and udp: its port 80 to the network of `routed`, to its neighbour, to its neighbour's
  /// network; port 81 to `remote`, to the host, and to `other`.
  static func publications(family: AddressFamily) -> [JSON] {
    let isIPv4 = family == .ipv4
    return [
      // Overlapping prefixes are one.
      (
        8080, 80,
        isIPv4
          ? ["198.51.100.0/25", "198.51.100.0/24", "198.51.100.2/32"] : ["2001:db8:100::/48", "2001:db8:100::2/128"]
      ),
      (8081, 81, isIPv4 ? ["192.0.2.0/30"] : ["2001:db8::/126"]),
      (8082, 80, isIPv4 ? ["172.18.0.3/32"] : ["2001:db8:18::3/128"]),
      (8083, 81, isIPv4 ? ["127.0.0.0/8", "172.19.0.0/16"] : ["2001:db8:19::/64"]),
      // A list without an address of the family is for nobody of it.
      (8084, 80, isIPv4 ? ["2001:db8::/16"] : ["0.0.0.0/0"]),
    ].flatMap { publish(UInt16($0.0), to: UInt16($0.1), from: $0.2, on: isIPv4 ? "0.0.0.0" : "::") }
  }

  /// Port 0 is none, for a routed network.
  static func publish(_ port: UInt16, to inner: UInt16, from sources: [String], on address: String? = nil) -> [JSON] {
    ["tcp", "udp"].map { transport in
      var members: [(String, JSON)] = [
        ("container_port", .integer(Int64(inner))), ("protocol", .string(transport)),
        ("allow_from", .array(sources.map { .string($0) })),
      ]
      if port != 0 { members.append(("host_port", .integer(Int64(port)))) }
      if let address { members.append(("host_ip", .string(address))) }
      return .object(members)
    }
  }

  static let rows = [
    Row("routed", .host(8080), .own), Row("routed", .container(80), .own),
    Row("routed", .host(8081), nil), Row("routed", .container(81), nil),
    Row("routed", .host(8082), nil), Row("routed", .host(8083), nil), Row("routed", .host(8084), nil),
    Row("remote", .host(8080), nil), Row("remote", .host(8081), .own), Row("remote", .host(8082), nil),
    Row("remote", .host(8084), nil),
    // The neighbour's address counts, not that of the bridge it is masqueraded with.
    Row("neighbour", .host(8082), .gateway), Row("neighbour", .host(8080), nil), Row("neighbour", .host(8083), nil),
    Row("web", .host(8082), nil),
    Row("other", .host(8083), .gateway), Row("other", .host(8081), nil), Row("other", .container(81), nil),
    // The host is a source as all others: by the address it asks, which is its own.
    Row("host", .host(8081), .asked), Row("host", .host(8080), nil), Row("host", .loopback(8080), nil),
    Row("host", .container(80), .gateway),
  ]

  @Test(arguments: [false, true])
  func onlyTheseSourcesUseTheMapping(bridgeNetfilter: Bool) async throws {
    let topology = try await Topology(bridgeNetfilter: bridgeNetfilter)
    let agent = try AgentProgram(in: topology.host.namespace)
    try agent.create(.web)
    try agent.create(.back)
    try agent.start(topology.web, publish: AddressFamily.allCases.flatMap { Self.publications(family: $0) })
    try await check(Self.rows, topology)
    #expect(ask(.tcp, "127.0.0.1", 8083, from: topology.host.namespace) == .text("web saw 172.18.0.1: hello"))
  }

  @Test func anUnrestrictedMappingOfTheSamePortIsForEverybody() async throws {
    let topology = try await Topology()
    let agent = try AgentProgram(in: topology.host.namespace)
    try agent.create(.web)
    let open = ["8090:80", "8090:80/udp"].map { JSON.string($0) }
    try agent.start(
      topology.web, publish: open + AddressFamily.allCases.flatMap { Self.publications(family: $0) })
    try await check(
      [
        Row("remote", .host(8090), .own), Row("remote", .host(8080), nil), Row("routed", .host(8090), .own),
        Row("routed", .host(8081), nil), Row("routed", .container(80), .own), Row("routed", .container(81), nil),
      ], topology)
  }

  @Test func routedPortsAreRestrictedToo() async throws {
    let topology = try await Topology()
    let agent = try AgentProgram(in: topology.host.namespace)
    try agent.create(.web, options: ["gateway_mode_ipv4": "routed", "gateway_mode_ipv6": "routed"])
    try agent.create(.back)
    try agent.start(
      topology.web,
      publish: Self.publish(0, to: 80, from: ["198.51.100.0/24", "2001:db8:100::/48"])
        + Self.publish(0, to: 81, from: ["172.19.0.2/32", "2001:db8:19::2/128"]))
    try await check(
      [
        Row("routed", .container(80), .own), Row("routed", .container(81), nil),
        Row("other", .container(80), nil), Row("other", .container(81), .gateway),
      ], topology)
  }

  /// By `container.publish`, `container.unpublish` and another announcement; a flow that was allowed goes on.
  @Test func itChangesLive() async throws {
    let topology = try await Topology()
    let (host, web) = (topology.host, topology.web)
    let agent = try AgentProgram(in: host.namespace)
    try agent.create(.web)
    try agent.start(web, publish: [] as [JSON])
    let closed = [Row("routed", .host(8080), nil), Row("remote", .host(8080), nil), Row("routed", .container(80), nil)]
    try await check(closed, topology)
    let forRouted = Self.publish(8080, to: 80, from: ["198.51.100.0/24", "2001:db8:100::/48"])
    let forRemote = Self.publish(8080, to: 80, from: ["192.0.2.0/24", "2001:db8::/64"])
    try change(agent, "container.publish", web, forRouted)
    let routedOnly = [
      Row("routed", .host(8080), .own), Row("remote", .host(8080), nil), Row("routed", .container(80), .own),
    ]
    try await check(routedOnly, topology)
    let flow = try Flow(.tcp, to: host.ipv4, 8080, from: topology.routed.namespace)
    #expect(flow.ask("before").text != nil)
    try agent.start(web, publish: forRemote)
    let remoteOnly = [
      Row("routed", .host(8080), nil), Row("remote", .host(8080), .own), Row("routed", .container(80), nil),
    ]
    try await check(remoteOnly, topology)
    #expect(flow.ask("after") == .text("web saw \(topology.routed.ipv4): after"))
    try change(agent, "container.unpublish", web, forRemote)
    try await check(closed, topology)
  }

  private func change(_ agent: AgentProgram, _ event: String, _ node: Node, _ publish: [JSON]) throws {
    let request = JSON.object([
      ("event", .string(event)), ("container", .string(node.name)), ("publish", .array(publish)),
    ])
    try agent.succeed(request.description)
  }

  private func check(_ rows: [Row], _ topology: Topology) async throws {
    let nodes = [
      topology.host, topology.remote, topology.routed, topology.web, topology.neighbour, topology.other,
    ]
    var cells: [(question: Question, expected: Answer?)] = []
    for row in rows {
      let client = try #require(nodes.first { $0.name == row.client })
      for (family, transport) in PacketTests.flows {
        let target =
          switch row.end {
          case .host(let port): Target(transport, topology.host.address(family), port)
          case .loopback(let port): Target(transport, family == .ipv4 ? "127.0.0.1" : "::1", port)
          case .container(let port): Target(transport, topology.web.address(family), port)
          }
        let source =
          switch row.source {
          case .own?: client.address(family)
          case .gateway?: BridgeNetwork.web.gateway(family)
          case .asked?: target.address
          case nil: nil as IPAddress?
          }
        cells.append(
          (Question(client, target, mustAnswer: source != nil), source.map { .text("web saw \($0): hello") }))
      }
    }
    // Nothing of it concerns a program of the host, which every client must reach.
    for name in Set(rows.map(\.client)) {
      let client = try #require(nodes.first { $0.name == name })
      let near: IPAddress =
        switch name {
        case "routed": "198.51.100.1"
        case "web", "neighbour": BridgeNetwork.web.gateway(.ipv4)
        case "other": BridgeNetwork.back.gateway(.ipv4)
        default: topology.host.ipv4
        }
      let source = name == "host" ? near : client.ipv4
      cells.append(
        (Question(client, Target(.udp, near, Topology.hostPort), mustAnswer: true), .text("host saw \(source): hello")))
    }
    for (cell, answer) in zip(cells, try ask(cells.map(\.question))) {
      #expect(
        cell.expected == nil ? answer.text == nil : answer == cell.expected,
        "\(cell.question.from) → \(cell.question.target)")
    }
  }
}
