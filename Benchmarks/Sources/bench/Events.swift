import Foundation

/// Events of one client and of many, ranges, restarts, memory: the agent beside its floor.
struct Events {
  let tools: Tools
  let isShort: Bool
  private var sizes: [Int] { isShort ? [10, 10_000] : [10, 10_000, 100_000] }
  private var largest: Int { sizes[sizes.count - 1] }

  func measure(_ report: inout Report) throws {
    progress("filling agents with \(sizes.map(String.init).joined(separator: ", ")) mappings")
    var agents: [AgentUnderTest] = []
    for size in sizes { agents.append(try filled(size, &report)) }
    try singleEvents(agents, &report)
    try pipeline(agents[1], &report)
    try range(agents[0], &report)
    try listings(agents, &report)
    for agent in agents { agent.stop() }
    try restarts(&report)
    try repair(&report)
    try inMemory(&report)
    try allocations(&report)
  }

  private func database(_ size: Int) -> String { "\(tools.disk)/agent-\(size).db" }
  private func floorDatabase(_ size: Int) -> String { "\(tools.disk)/floor-\(size).db" }

  private func filled(_ size: Int, _ report: inout Report) throws -> AgentUnderTest {
    let agent = try AgentUnderTest(tools, namespace: "events-\(size)", database: database(size))
    let idle = agent.memory
    // A container has two mappings: IPv4 and IPv6.
    _ = try tools.measure("fill", agent.socket, "\(size / 2)")
    if size == 10 {
      // Threads of the start-up that have nothing to do end after five seconds.
      Thread.sleep(forTimeInterval: 6)
      let before = agent.switches
      // What an agent does in five seconds in which nobody asks anything of it.
      Thread.sleep(forTimeInterval: 5)
      report.values["idle.wakeups"] = agent.switches - before
      report.values["memory.idle"] = agent.memory / 1e6
    }
    if size == 100_000 { report.values["memory.mappings"] = (agent.memory - idle) / 1e6 }
    try tools.copy(database(size), to: floorDatabase(size))
    return agent
  }

  // MARK: One at a time

  private func singleEvents(_ agents: [AgentUnderTest], _ report: inout Report) throws {
    var section = Report.Section(
      title: "One event",
      text: """
        A container with one dual-stack port starts: from the request to the reply, which says that it is stored durably and in
        the kernel. The agent holds the port with two sockets, too. The floor is the same rows in one commit of SQLite \
        (WAL, `synchronous = FULL`), by its C API into a copy of the same database, and the same four elements in one \
        nf_tables transaction. Cold: after 5 ms of rest each.
        """)
    var table = Report.Table(
      header: ["", "mappings", "agent p50", "agent p99", "floor p50", "ratio", "stop p50", "floor"], rows: [])
    for (name, pause, rounds) in [("warm", 0, isShort ? 150 : 500), ("cold", 5000, isShort ? 40 : 150)] {
      progress("single events, \(name)")
      let measured = try tools.measure(
        "events", "\(rounds)", "\(pause)",
        arguments: zip(sizes, agents).map { "\($0),\($1.socket),\(floorDatabase($0))" })
      for size in sizes {
        table.rows.append(row(name, size, measured))
        guard pause == 0 else { continue }
        report.values["start.floor.\(size)"] = ratio("start.\(size)", measured)
        if size == largest {
          report.values["start.flat"] = measured.ratio("agent.start.\(size)", to: "agent.start.10")
          report.values["agent.start"] = measured["agent.start.\(size)"].median
        }
      }
      if pause == 0 {
        section.plots.append(
          Plot(
            file: "start.svg", title: "One start, durable (p50)", unit: "µs",
            bars: sizes.flatMap { size in
              ["agent", "floor"].map {
                Plot.Bar(
                  label: "\($0), \(size)", value: measured["\($0).start.\(size)"].median / 1e3, isFloor: $0 == "floor")
              }
            }))
      }
    }
    section.tables = [table]
    report.sections.append(section)
  }

  private func ratio(_ what: String, _ measured: Measurements) -> Double {
    measured["agent.\(what)"].median / measured["floor.\(what)"].median
  }

  private func row(_ name: String, _ size: Int, _ measured: Measurements) -> [String] {
    let (start, floor) = (measured["agent.start.\(size)"], measured["floor.start.\(size)"])
    return [
      name, "\(size)", time(start.median), time(start.percentile(99)), time(floor.median),
      times(ratio("start.\(size)", measured)), time(measured["agent.stop.\(size)"].median),
      time(measured["floor.stop.\(size)"].median),
    ]
  }

  /// The same on a tmpfs.
  private func inMemory(_ report: inout Report) throws {
    progress("single events without a disk")
    var agents: [AgentUnderTest] = []
    var worlds: [String] = []
    for size in sizes {
      let (database, floor) = ("\(tools.memory)/agent-\(size).db", "\(tools.memory)/floor-\(size).db")
      try tools.copy(self.database(size), to: database)
      try tools.copy(self.database(size), to: floor)
      agents.append(try AgentUnderTest(tools, namespace: "memory-\(size)", database: database))
      worlds.append("\(size),\(agents[agents.count - 1].socket),\(floor)")
    }
    defer { for agent in agents { agent.stop() } }
    let measured = try tools.measure("events", isShort ? "300" : "1000", "0", arguments: worlds)
    let start = measured["agent.start.\(largest)"]
    report.values["memory.start.p50"] = start.median / 1e3
    report.values["memory.start.p99"] = start.percentile(99) / 1e3
    report.values["memory.start.floor"] = ratio("start.\(largest)", measured)
    report.sections.append(
      .init(
        title: "One event, without the disk",
        text: """
          The same with the databases on a tmpfs, where fdatasync(2) costs nothing: what is left is what the agent itself \
          costs. No setting of the program is different.
          """,
        tables: [
          .init(
            header: ["", "mappings", "agent p50", "agent p99", "floor p50", "ratio", "stop p50", "floor"],
            rows: sizes.map { row("warm", $0, measured) })
        ]))
  }

  // MARK: Many

  private func pipeline(_ agent: AgentUnderTest, _ report: inout Report) throws {
    progress("16 clients")
    let count = isShort ? 5_000 : 20_000
    let measured = try tools.measure(
      "pipeline", agent.socket, floorDatabase(10_000), "\(count)", isShort ? "2" : "5",
      in: agent.namespace)
    // A container has two mappings.
    let (rate, floor) = (2e9 / measured["agent.pipeline"].median, 2e9 / measured["floor.pipeline"].median)
    report.values["pipeline.rate"] = rate
    report.values["pipeline.floor"] = rate / floor
    report.sections.append(
      .init(
        title: "Many clients",
        text: """
          16 clients, each with up to 64 starts on their way, \(count) in all beside 10,000 mappings; no held ports. The floor \
          commits as many events at a time as the agent's rounds had.
          """,
        tables: [
          .init(
            header: ["", "mappings/s"],
            rows: [
              ["agent", whole(rate)], ["floor", whole(floor)], ["ratio", times(rate / floor)],
              ["events in a round", whole(measured["round.size"].median)],
            ])
        ]))
  }

  private func range(_ agent: AgentUnderTest, _ report: inout Report) throws {
    progress("ranges")
    let ports = isShort ? [10_000] : [100, 1000, 10_000]
    var table = Report.Table(header: ["ports", "publish", "floor", "ratio", "remove", "floor", "ratio"], rows: [])
    for count in ports {
      let measured = try tools.measure("range", agent.socket, "\(count)", isShort ? "3" : "7")
      let (publish, remove) = (ratio("publish", measured), ratio("remove", measured))
      table.rows.append([
        "\(count)", time(measured["agent.publish"].median), time(measured["floor.publish"].median), times(publish),
        time(measured["agent.remove"].median), time(measured["floor.remove"].median), times(remove),
      ])
      report.values["range.publish.floor"] = publish
      report.values["range.remove.floor"] = remove
    }
    report.sections.append(
      .init(
        title: "Ranges",
        text: """
          `10000-19999:10000-19999/udp`, both families: one row a family in the database, four elements a port in the kernel. \
          The floor is the raw netlink transaction of these elements; the agent also looks whether another program has one \
          of the ports, and holds ranges of up to 256 with a socket for each port.
          """, tables: [table]))
  }

  // MARK: All

  private func restarts(_ report: inout Report) throws {
    var table = Report.Table(header: ["mappings", "table", "restart to ready", "floor", "ratio"], rows: [])
    for size in sizes.dropFirst() {
      for state in ["intact", "wiped"] {
        progress("restarts with \(size) mappings, table \(state)")
        let command = AgentUnderTest.command(tools, socket: "/run/bench/restart.sock", database: database(size))
        let measured = try tools.measure(
          "restart", floorDatabase(size), state, isShort ? "3" : "5", arguments: command, in: "events-\(size)")
        let ratio = ratio("restart", measured)
        report.values["restart.\(state).floor"] = ratio
        table.rows.append([
          "\(size)", state, time(measured["agent.restart"].median), time(measured["floor.restart"].median),
          times(ratio),
        ])
      }
    }
    report.sections.append(
      .init(
        title: "Restart",
        text: """
          From exec(2) to `READY=1`. The floor reads every row of the database, and either dumps the table's elements or writes \
          them.
          """, tables: [table]))
  }

  private func repair(_ report: inout Report) throws {
    let size = 10_000
    progress("repair of a table with \(size) mappings that was deleted")
    let (database, floor) = ("\(tools.memory)/repair.db", "\(tools.memory)/repair-floor.db")
    try tools.copy(self.database(size), to: database)
    try tools.copy(self.database(size), to: floor)
    let agent = try AgentUnderTest(tools, namespace: "repair", database: database, owner: false)
    defer { agent.stop() }
    // Its socket is there before its table is; it answers when both are.
    _ = try tools.measure("fill", agent.socket, "0")
    let measured = try tools.measure("repair", floor, isShort ? "5" : "15", in: agent.namespace)
    let (repair, write) = (measured["agent.repair"].median, measured["floor.restart"].median)
    report.values["repair"] = repair / 1e6
    report.values["repair.floor"] = repair / write
    report.sections.append(
      .init(
        title: "Repair",
        text: """
          Another program deletes the table of an agent that does not own it (`owner = false`): from there to the agent's \
          transaction that brings all of it back. The floor reads every row of the database and writes the elements.
          """,
        tables: [
          .init(
            header: ["mappings", "back after", "floor", "ratio"],
            rows: [["\(size)", time(repair), time(write), times(repair / write)]])
        ]))
  }

  private func listings(_ agents: [AgentUnderTest], _ report: inout Report) throws {
    progress("listings")
    let all = try tools.time("\(tools.agent) ls --json --socket \(agents[agents.count - 1].socket)", count: 5)
    let ten = try tools.time("\(tools.agent) ls --socket \(agents[0].socket)", count: 15)
    report.values["ls.json"] = all.median / 1e6
    report.values["ls.ten"] = ten.median / 1e6
    report.sections.append(
      .init(
        title: "Listing and memory", text: "Commands with the start of their process.",
        tables: [
          .init(
            header: ["", ""],
            rows: [
              ["`pmagent ls --json`, \(largest) mappings", time(all.median)],
              ["`pmagent ls`, ten mappings", time(ten.median)],
              ["memory, idle", String(format: "%.0f MB", report.values["memory.idle"] ?? .nan)],
            ]
              + (report.values["memory.mappings"].map {
                [["memory of 100,000 mappings more", String(format: "%.0f MB", $0)]]
              } ?? []))
        ]))
  }

  /// Allocations of a start and a stop, counted: the same on any machine.
  private func allocations(_ report: inout Report) throws {
    let counter = "/run/bench/allocations"
    let agent = try AgentUnderTest(
      tools, namespace: "allocations", database: "\(tools.memory)/allocations.db",
      environment: ["LD_PRELOAD": tools.mallocs, "MALLOCS_FILE": counter])
    defer { agent.stop() }
    _ = try tools.measure("fill", agent.socket, "1000")
    let floor = "\(tools.memory)/floor.db"
    try tools.copy(agent.database, to: floor)
    let world = "0,\(agent.socket),\(floor)"
    _ = try tools.measure("events", "50", "0", world)
    let before = try count(counter)
    let rounds = 200.0
    _ = try tools.measure("events", whole(rounds), "0", world)
    report.values["start.allocations"] = (Double(try count(counter) - before) / rounds).rounded()
  }

  private func count(_ path: String) throws -> UInt64 {
    let data = try Data(contentsOf: URL(fileURLWithPath: path))
    return data.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
  }
}
