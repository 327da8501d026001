import Feed
import PortMaps
import TestSupport
import Testing

/// Every place × every address × published or not × tcp, udp × IPv4, IPv6 × every mode and option × br_netfilter: one
/// host with all the networks, and every packet at once.
@Suite(.serialized) struct ReachabilityMatrixTests {
  @Test(arguments: [false, true], ["allow", "deny"])
  func everybodyReachesExactlyWhatTheModesPromise(bridgeNetfilter: Bool, directRouting: String) async throws {
    let world = try await World(bridgeNetfilter: bridgeNetfilter, directRouting: directRouting)
    let cells = world.controls + world.cells
    let answers = try ask(cells.map(\.question))
    for (cell, answer) in zip(cells, answers).prefix(world.controls.count) {
      try #require(answer == cell.expected, "nothing can be said where the control is silent: \(cell)")
    }
    let wrong = zip(cells, answers).filter { cell, answer in
      cell.expected == nil ? answer.text != nil : answer != cell.expected
    }
    print("\(world): \(cells.count) cells, \(cells.count { $0.expected != nil }) of them reach")
    #expect(cells.count == 3988)
    #expect(wrong.isEmpty, "\(wrong.map { "\($0): \($1)" }.joined(separator: "\n"))")
  }

  /// A container that sends to its neighbour through the gateway is talking to its neighbour all the same.
  @Test(arguments: [false, true], [false, true])
  func neighboursMeetAtTheGateway(bridgeNetfilter: Bool, interContainer: Bool) async throws {
    let topology = try await Topology(bridgeNetfilter: bridgeNetfilter)
    let (web, neighbour) = (topology.web, topology.neighbour)
    let agent = try AgentProgram(in: topology.host.namespace)
    try agent.create(.web, options: ["enable_icc": "\(interContainer)"])
    try await neighbour.namespace.command(
      "ip", "-batch", "-",
      input: AddressFamily.allCases.map { "route add \(web.address($0)) via \(BridgeNetwork.web.gateway($0))" }
        .joined(separator: "\n"))
    let control = Target(.udp, BridgeNetwork.web.gateway(.ipv4), Topology.hostPort)
    let answers = try neighbour.ask(
      PacketTests.flows.map { Target($0.transport, web.address($0.family), Topology.port) }, control: control)
    for (flow, answer) in zip(PacketTests.flows, answers) {
      let seen = "web saw \(neighbour.address(flow.family)): hello"
      #expect(answer == (interContainer ? .text(seen) : .silence), "\(flow)")
    }
  }

  /// The rows name every place and address, or one could be forgotten.
  @Test func theTableIsComplete() {
    let places = ["host", "itself", "neighbour", "nat-net", "routed-net", "remote", "remote-routed"]
    let expected = places.flatMap { place in
      ["address", "loopback", "other", "gateway", "container"].map { "\(place) \($0) published" } + [
        "\(place) container unpublished", "\(place) container icmp",
      ]
    }
    #expect(ReachabilityTable.inwards.map { "\($0.ends.0) \($0.ends.1) \($0.port)" } == expected)
  }
}

/// A question and what must come of it.
private struct Cell: CustomStringConvertible {
  let name: String
  let question: Question
  /// `nil`: nothing, or a refusal.
  let expected: Answer?
  var description: String {
    "\(name) (\(question.from) → \(question.target)): expected \(expected?.text ?? "no")"
  }
}

/// One host with a network for each column of the table, and the agent that knows them.
private final class World: CustomStringConvertible {
  private let topology: Topology
  private let agent: AgentProgram
  private let bridgeNetfilter: Bool
  private let directRouting: String
  private let columns: [Column]

  private struct Column {
    let network: BridgeNetwork
    let container: Node
    let neighbour: Node
    /// The host's port that leads to the container's.
    let port: UInt16
    var name: String { network.name }
  }

  private static let options: [String: [String: String]] = [
    "unprotected": ["gateway_mode_ipv4": "nat-unprotected", "gateway_mode_ipv6": "nat-unprotected"],
    "routed": ["gateway_mode_ipv4": "routed", "gateway_mode_ipv6": "routed"],
    "routed-net": ["gateway_mode_ipv4": "routed", "gateway_mode_ipv6": "routed"],
    "isolated": ["gateway_mode_ipv4": "isolated", "gateway_mode_ipv6": "isolated"],
    "icc-off": ["enable_icc": "false"],
    "no-masq": ["enable_ip_masquerade": "false"],
    "fixed": ["host_ipv4": "\(Plan.host4)", "host_ipv6": "\(Plan.host6)"],
    "trusted": ["trusted_host_interfaces": "v-routed"],
    "mixed": ["gateway_mode_ipv6": "routed"],
  ]

  var description: String { "br_netfilter \(bridgeNetfilter ? 1 : 0), direct_routing \(directRouting)" }

  init(bridgeNetfilter: Bool, directRouting: String) async throws {
    (self.bridgeNetfilter, self.directRouting) = (bridgeNetfilter, directRouting)
    let names = ReachabilityTable.columns + ["mixed", "nat-net", "routed-net"]
    let networks = names.enumerated().map { BridgeNetwork.numbered($0, $1, hasGateway: $1 != "isolated") }
    topology = try await Topology(bridgeNetfilter: bridgeNetfilter, networks: networks)
    columns = zip(networks, 8000...).compactMap { [pairs = topology.pairs] network, port in
      pairs[network.name].map { Column(network: network, container: $0.container, neighbour: $0.neighbour, port: port) }
    }
    // It knows the host's other address, but no container.
    try await topology.remote.namespace.command(
      "ip", "-batch", "-",
      input: "route add 198.51.100.1 via \(Plan.host4)\nroute add 2001:db8:100::1 via \(Plan.host6)")
    agent = try AgentProgram(in: topology.host.namespace, configuration: "direct_routing = \"\(directRouting)\"")
    for column in columns {
      try agent.create(
        column.network, options: Self.options[column.name, default: [:]],
        isInternal: ["internal", "isolated"].contains(column.name))
      try agent.start(column.container, on: column.network, publish: publish(column))
    }
  }

  private func publish(_ column: Column) -> [String] {
    let addresses =
      switch column.name {
      case "one-address": ["\(Plan.host4):", "[\(Plan.host6)]:"]
      case "loopback": ["127.0.0.1:", "[::1]:"]
      default: [""]
      }
    return addresses.flatMap { address in ["tcp", "udp"].map { "\(address)\(column.port):80/\($0)" } }
  }

  // MARK: Cells

  /// Every client must reach something that no filter is concerned with, or its silence says nothing: a program of the
  /// host, or where the host has no address a container on the same bridge.
  var controls: [Cell] {
    let containers = columns.flatMap { column in
      [column.container, column.neighbour].map { client in
        let isIsolated = column.name == "isolated"
        return (client, isIsolated ? column.neighbour : topology.host, isIsolated ? nil : column.network)
      }
    }
    let others = [topology.host, topology.remote, topology.routed].map { ($0, topology.host, nil as BridgeNetwork?) }
    return (containers + others).flatMap { client, server, network in
      PacketTests.flows.map { family, transport in
        // The host answers datagrams from the address that is nearest to the client.
        let near = client.name == "routed" ? otherAddress(family) : server.address(family)
        let address = network?.gateway(family) ?? near
        let port = server.name == "host" ? Topology.hostPort : Topology.port
        return cell(
          "control", from: client, Target(transport, address, port), at: server, sees: client.address(family))
      }
    }
  }

  var cells: [Cell] {
    columns.filter { !["nat-net", "routed-net"].contains($0.name) }.flatMap { column in
      PacketTests.flows.flatMap { family, transport in
        ReachabilityTable.inwards.flatMap { inwards($0, column, family, transport) }
          + ReachabilityTable.outwards.map { outwards($0, column, family, transport) }
      }
    }
  }

  private func inwards(
    _ row: ReachabilityTable.Row, _ column: Column, _ family: AddressFamily, _ transport: TransportProtocol
  ) -> [Cell] {
    let client = place(row.ends.0, column)
    let isDirect = row.ends.1 == "container"
    let address =
      switch row.ends.1 {
      case "address": topology.host.address(family)
      case "loopback": family == .ipv4 ? "127.0.0.1" as IPAddress : "::1"
      case "other": otherAddress(family)
      case "gateway": column.network.gateway(family)
      default: column.container.address(family)
      }
    let word = row.cell(column.name, family)
    let source = source(
      word, client, asked: address, gateway: column.network.gateway(family), leaving: column.network.gateway(family))
    let name = "\(column.name): \(row.ends.0) → \(row.ends.1) \(row.port)"
    if row.port == .icmp {
      // Once a family is enough.
      return transport == .tcp ? [ping(name, from: client, address, answers: source != nil)] : []
    }
    if isDirect {
      let port = row.port == .published ? Topology.port : Topology.unpublished
      return [cell(name, from: client, Target(transport, address, port), at: column.container, sees: source)]
    }
    // No row for what nobody published: no address of the host leads to it.
    return [
      cell(name, from: client, Target(transport, address, column.port), at: column.container, sees: source),
      cell(
        "\(name), unpublished", from: client, Target(transport, address, column.port + 1000), at: column.container,
        sees: nil),
    ]
  }

  private func outwards(
    _ row: ReachabilityTable.Row, _ column: Column, _ family: AddressFamily, _ transport: TransportProtocol
  ) -> Cell {
    let server = place(row.ends.0, column)
    let network = columns.first { $0.name == row.ends.0 }
    let leaving =
      switch row.ends.0 {
      case "remote": topology.host.address(family)
      case "remote-routed": otherAddress(family)
      default: network?.network.gateway(family) ?? .any(family)
      }
    let address =
      switch row.ends.1 {
      case "host": topology.host.address(family)
      case "gateway": column.network.gateway(family)
      default: server.address(family)
      }
    let source = source(
      row.cell(column.name, family), column.container, asked: address, gateway: leaving, leaving: leaving)
    let port =
      row.ends.1 == "own" ? (row.port == .published ? Topology.port : Topology.unpublished) : network?.port ?? 0
    return cell(
      "\(column.name) → \(row.ends.0) by \(row.ends.1)", from: column.container, Target(transport, address, port),
      at: server, sees: source)
  }

  private func cell(_ name: String, from client: Node, _ target: Target, at server: Node, sees: IPAddress?) -> Cell {
    Cell(
      name: name, question: Question(client, target, mustAnswer: sees != nil),
      expected: sees.map { .text("\(server) saw \($0): hello") })
  }

  private func ping(_ name: String, from client: Node, _ address: IPAddress, answers: Bool) -> Cell {
    Cell(
      name: name, question: Question(client, .ping(address), mustAnswer: answers),
      expected: answers ? .text("pong") : nil)
  }

  private func otherAddress(_ family: AddressFamily) -> IPAddress {
    family == .ipv4 ? "198.51.100.1" : "2001:db8:100::1"
  }

  private func place(_ word: String, _ column: Column) -> Node {
    switch word {
    case "host": topology.host
    case "itself": column.container
    case "neighbour": column.neighbour
    case "remote": topology.remote
    case "remote-routed": topology.routed
    default: columns.first { $0.name == word }?.container ?? topology.host
    }
  }

  /// What a cell's word stands for.
  private func source(
    _ word: Substring, _ client: Node, asked: IPAddress, gateway: IPAddress, leaving: IPAddress
  ) -> IPAddress? {
    let own = client.address(asked.family)
    switch word {
    case "no": return nil
    case "own": return own
    case "asked": return asked
    case "gw": return gateway
    case "out": return leaving
    case "fixed": return topology.host.address(asked.family)
    case "own/allow": return directRouting == "allow" ? own : nil
    default: preconditionFailure("not a cell: \(word)")
    }
  }
}
