import Foundation

/// New connections and established ones through the agent's hosts, the floors and the peers, and what one mapping more costs
/// the peers.
struct Packets {
  let tools: Tools
  let isShort: Bool
  private var largest: Int { isShort ? 10_000 : 100_000 }

  func measure(_ report: inout Report) throws {
    progress("hosts for packets")
    let routed = try TestHost("routed", tools)
    let fixed = try TestHost("static", tools)
    try fixed.nft(
      """
      table ip nat {
        chain prerouting {
          type nat hook prerouting priority -100;
          ip daddr 192.0.2.1 tcp dport \(TestHost.port) dnat to \(TestHost.container):80
        }
      }

      """)
    let one = try agentHost(1)
    let many = try agentHost(largest)
    defer { for agent in [one.agent, many.agent] { agent.stop() } }
    var paths = [routed.path(translated: false), fixed.path(), one.host.path(), many.host.path()]
    // Side by side first: among many paths each is a cold one.
    let agents = try packets(paths, rounds: isShort ? 30 : 120)
    fill(&report, agents, routed.name, fixed.name, one.host.name, many.host.name)
    if !isShort { paths += try peers(&report) }
    let all = isShort ? agents : try packets(paths, rounds: 15)
    report.sections.append(section(agents, all, [routed.name, fixed.name, one.host.name, many.host.name]))
  }

  private func packets(_ paths: [String], rounds: Int) throws -> Measurements {
    progress("packets through \(paths.count) hosts")
    return try tools.measure("packets", "\(rounds)", "200", "2000", arguments: paths)
  }

  private func agentHost(_ mappings: Int) throws -> (host: TestHost, agent: AgentUnderTest) {
    let host = try TestHost("agent-\(mappings)", tools)
    let agent = try AgentUnderTest(
      tools, namespace: host.namespace, database: "\(tools.disk)/packets-\(mappings).db")
    // A container has two mappings.
    _ = try tools.measure("fill", agent.socket, "\(mappings / 2)")
    try run(
      tools.agent, "emit", "start", "web", "--socket", agent.socket, "--network", "net", "--ipv4", TestHost.container,
      "-p", "\(TestHost.port):80")
    return (host, agent)
  }

  private func fill(
    _ report: inout Report, _ measured: Measurements, _ routed: String, _ fixed: String, _ one: String, _ many: String
  ) {
    report.values["connect.static"] = measured.ratio("connect.\(many)", to: "connect.\(fixed)")
    report.values["connect.routed"] = measured.ratio("connect.\(many)", to: "connect.\(routed)")
    report.values["connect.flat"] = measured.ratio("connect.\(many)", to: "connect.\(one)")
    report.values["established.static"] = measured.ratio("established.\(many)", to: "established.\(fixed)")
  }

  // MARK: Peers

  private func peers(_ report: inout Report) throws -> [String] {
    var paths: [String] = []
    var table = Report.Table(
      header: ["", "mappings", "one more", "against one start", "against many starts"], rows: [])
    // A start of the measurements has two mappings.
    let one = (report.values["agent.start"] ?? .nan) / 2
    let many = 1e9 / (report.values["pipeline.rate"] ?? .nan)
    table.rows.append(["pmagent, one start at a time, durable", "\(largest)", time(one), times(1), ""])
    table.rows.append(["pmagent, 16 clients, durable", "10000", time(many), "", times(1)])
    var bars = [
      Plot.Bar(label: "pmagent, 16 clients", value: many / 1e6, isFloor: false),
      Plot.Bar(label: "pmagent, one start at a time", value: one / 1e6, isFloor: false),
    ]
    for peer in Peer.all(tools) {
      progress("peer \(peer.name)")
      let host = try TestHost(peer.name, tools)
      do {
        try peer.install(host, (0..<peer.count).map { Peer.Mapping(number: $0) })
      } catch {
        // iptables-legacy needs modules that a kernel may lack.
        table.rows.append([peer.title, "", "not on this machine", "", ""])
        continue
      }
      let more = try (0..<15).map { try peer.add(Peer.Mapping(number: peer.count + $0)) }
      let cost = try tools.time(more, in: host.namespace).median
      report.values["peer.\(peer.name)"] = cost / many
      table.rows.append([peer.title, "\(peer.count)", time(cost), times(cost / one), times(cost / many)])
      bars.append(.init(label: peer.name, value: cost / 1e6, isFloor: true))
      paths.append(host.path())
    }
    report.sections.append(
      .init(
        title: "One mapping more, beside 10,000: the peers' designs",
        text: """
          What it takes to publish one IPv4 port more, from the start of the first program to the end of the last: their \
          runtimes start these programs once for each. None of the peers stores anything durably.
          """, tables: [table],
        plots: [Plot(file: "peers.svg", title: "One mapping more", unit: "ms", bars: bars, isLogarithmic: true)]))
    return paths
  }

  private func section(_ agents: Measurements, _ all: Measurements, _ ours: [String]) -> Report.Section {
    let names = all.samples.keys.filter { $0.hasPrefix("connect.") }.map { String($0.dropFirst(8)) }
    let peers = names.filter { !ours.contains($0) }.sorted()
    let row = { (measured: Measurements, name: String) in
      [
        name, time(measured["connect.\(name)"].median), times(measured.ratio("connect.\(name)", to: "connect.static")),
        time(measured["established.\(name)"].median),
        times(measured.ratio("established.\(name)", to: "established.static")),
      ]
    }
    let header = ["", "new connection", "against `static`", "round trip", "against `static`"]
    return .init(
      title: "Packets",
      text: """
        A TCP connection from its first packet to its reset, and a round trip of 64 bytes on an established one, through a host \
        between veth pairs; client and server are one thread, so that it is the packets' path that is measured. `routed`: no \
        translation, no connection tracking; `static`: one DNAT rule and nothing else; `agent-N`: a mapping beside N - 1 others, \
        with the agent's whole filter. Ratios are medians over rounds in which each path had its turn. The peers' mapping is \
        the last of 10,000.
        """,
      tables: [.init(header: header, rows: ours.map { row(agents, $0) })]
        + (peers.isEmpty ? [] : [.init(header: header, rows: peers.map { row(all, $0) })]),
      plots: [
        Plot(
          file: "connect.svg", title: "A new connection", unit: "µs",
          bars: (ours + peers).map { name in
            let measured = ours.contains(name) ? agents : all
            return .init(
              label: name, value: measured["connect.\(name)"].median / 1e3, isFloor: !name.hasPrefix("agent"))
          })
      ])
  }
}
