import Foundation

/// Starts and stops at a steady rate: does anything grow?
struct Churn {
  let tools: Tools
  let seconds: Int
  private let rate = 500
  private let running = 1000

  func measure(_ report: inout Report) throws {
    progress("\(seconds) s of \(rate) starts and stops a second")
    let agent = try AgentUnderTest(tools, namespace: "churn", database: "\(tools.disk)/churn.db")
    defer { agent.stop() }
    _ = try tools.measure("fill", agent.socket, "0")
    let emptyElements = try agent.elements(tools)
    var states: [State] = []
    let client = Process()
    let output = "/run/bench/churn.out"
    _ = FileManager.default.createFile(atPath: output, contents: nil)
    client.executableURL = URL(fileURLWithPath: tools.floor)
    client.arguments = ["churn", agent.socket, "\(rate)", "\(seconds)", "\(running)"]
    client.standardOutput = FileHandle(forWritingAtPath: output)
    try client.run()
    let start = Date()
    for step in 1...12 {
      // Samples at equal distances in time: the passing of time is what is waited for.
      Thread.sleep(until: start.addingTimeInterval(Double(seconds * step) / 13))
      states.append(State(agent))
    }
    client.waitUntilExit()
    guard client.terminationStatus == 0 else { throw Failure("churn failed") }
    let measured = try Measurements(parsing: String(contentsOfFile: output, encoding: .utf8))
    let (quarter, end) = (states[2], states[11])
    report.values["churn.memory"] = end.memory / quarter.memory
    report.values["churn.descriptors"] = end.descriptors - quarter.descriptors
    report.values["churn.wal"] = (states.map(\.wal).max() ?? .nan) / 1e6
    report.values["churn.elements"] = try agent.elements(tools) - emptyElements
    report.sections.append(section(states, measured))
  }

  private struct State {
    var memory, descriptors, wal: Double
    init(_ agent: AgentUnderTest) { (memory, descriptors, wal) = (agent.memory, agent.descriptors, agent.walSize) }
  }

  private func section(_ states: [State], _ measured: Measurements) -> Report.Section {
    let start = measured["churn.start"]
    return .init(
      title: "Churn",
      text: """
        \(start.values.count) starts and as many stops by one client in \(seconds) s, \(rate) a second where the disk lets it, \
        \(running) containers running at any time. A start took \(time(start.median)), 99 of 100 at most \
        \(time(start.percentile(99))).
        """,
      tables: [
        .init(
          header: ["after", "memory", "descriptors", "write-ahead log"],
          rows: states.enumerated().map { index, state in
            [
              "\(seconds * (index + 1) / 13) s", String(format: "%.1f MB", state.memory / 1e6),
              whole(state.descriptors),
              String(format: "%.1f MB", state.wal / 1e6),
            ]
          })
      ],
      plots: [
        Plot(
          file: "churn.svg", title: "Memory in \(seconds) s of churn", unit: "MB",
          bars: states.enumerated().map { index, state in
            Plot.Bar(label: "\(seconds * (index + 1) / 13) s", value: state.memory / 1e6, isFloor: false)
          })
      ])
  }
}
