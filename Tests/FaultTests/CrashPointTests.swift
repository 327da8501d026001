import Feed
import Glibc
import TestSupport
import Testing

/// The program is killed at every point it passes, restarted, and asked to go on.
@Suite(.timeLimit(.minutes(60))) struct CrashPointTests {
  /// A point, at the time it is passed for the `occurrence`-th time.
  struct Point: Hashable, CustomStringConvertible {
    var name: String
    var occurrence: Int
    var description: String { "\(name):\(occurrence)" }
  }

  /// The points of a start and of the scenario, in order.
  struct Trace {
    var start: [Point]
    var scenario: [Point]
  }

  private static func points(_ names: [Substring]) -> [Point] {
    var seen: [String: Int] = [:]
    return names.map { name in
      seen["\(name)", default: 0] += 1
      return Point(name: "\(name)", occurrence: seen["\(name)"] ?? 0)
    }
  }

  private func agent() throws -> AgentProgram {
    try AgentProgram(in: NetworkNamespace(), at: TemporaryDirectory(in: "/dev/shm"))
  }

  private func trace() throws -> Trace {
    let agent = try agent()
    let file = agent.directory.path + "/trace"
    try agent.start(environment: ["PMAGENT_CRASH_TRACE=\(file)"])
    let start = try read(file).split(separator: "\n").count
    for step in CrashScenario.steps { _ = try agent.client().ask(step) }
    // Flows are ended after the last reply; then it answers again.
    try agent.succeed(#"{"query":"hello"}"#)
    var points = Self.points(try read(file).split(separator: "\n"))
    // The last round is that query's.
    points.removeLast(3)
    return Trace(start: Array(points[..<start]), scenario: Array(points[start...]))
  }

  /// What is to be seen after each step.
  private func reference() throws -> [Visible] {
    let agent = try agent()
    try agent.start()
    return try [Visible(agent)]
      + CrashScenario.steps.map { step in
        _ = try agent.client().ask(step)
        return try Visible(agent)
      }
  }

  @Test func everyPointIsSurvived() throws {
    let seed = Effort.seed()
    var random = SeededGenerator(seed: seed)
    let (trace, reference) = (try trace(), try reference())
    let names = Set((trace.start + trace.scenario).map(\.name))
    var points = trace.start + trace.scenario
    let all = points.count
    // Each name, and of the rest a sample.
    let firsts = points.filter { $0.occurrence == 1 }
    points = Array((firsts + points.shuffled(using: &random).prefix(Effort.count(25, soak: all))).uniqued())
    var survived = 0
    for point in points {
      do {
        try survive(point, isAtStart: trace.start.contains(point), reference)
        survived += 1
      } catch {
        Issue.record("PMAGENT_CRASH=\(point): \(error)")
      }
    }
    print(
      """
      crash points: \(survived) of \(points.count) survived (of \(all) there are, \(names.count) names, \
      \(CrashScenario.events) events in \(CrashScenario.steps.count) rounds), PMAGENT_SEED=\(seed)
      """)
    #expect(survived == points.count && names.count >= 16)
  }

  private func survive(_ point: Point, isAtStart: Bool, _ reference: [Visible]) throws {
    let agent = try agent()
    let environment = ["PMAGENT_CRASH=\(point)"]
    var done = 0
    if isAtStart {
      try #require(try agent.startAndEnd(environment: environment) == .signal(SIGKILL), "\(point)")
    } else {
      try agent.start(environment: environment)
      done = acknowledgedSteps(agent)
      try #require(agent.wait() == .signal(SIGKILL), "\(point)")
    }
    try goOn(agent, done, reference, "\(point)")
  }

  /// Until it dies.
  private func acknowledgedSteps(_ agent: AgentProgram) -> Int {
    for (index, step) in CrashScenario.steps.enumerated() {
      do {
        _ = try agent.client().ask(step)
      } catch {
        return index
      }
    }
    return CrashScenario.steps.count
  }

  /// What was acknowledged is there, the round that was not is there as a whole or not at all; and telling all of it
  /// again leads to where it would have led.
  private func goOn(_ agent: AgentProgram, _ done: Int, _ reference: [Visible], _ point: String) throws {
    try agent.start()
    let found = try Visible(agent)
    try #require(
      found == reference[done] || found == reference[min(done + 1, reference.count - 1)], "\(point), step \(done)")
    for step in CrashScenario.steps[done...] { _ = try agent.client().ask(step) }
    try #require(try Visible(agent) == reference.last, "\(point), after the rest")
    // What the crash interrupted is not forgotten: flows that were to be ended are, and the record of them goes.
    try agent.succeed(#"{"query":"hello"}"#)
    try #require(agent.terminate() == 0)
  }

  /// Killed again while it replays what the first death interrupted.
  @Test func everyPointOfAReplayIsSurvived() throws {
    let reference = try reference()
    let rounds = [3, 11]
    var survived = 0
    for round in rounds {
      for name in ["state-loaded", "table-read", "table-repaired", "filter-in-place"] {
        let agent = try agent()
        try agent.start(environment: ["PMAGENT_CRASH=round-committed:\(round)"])
        let done = acknowledgedSteps(agent)
        try #require(agent.wait() == .signal(SIGKILL))
        try #require(try agent.startAndEnd(environment: ["PMAGENT_CRASH=\(name):1"]) == .signal(SIGKILL))
        try goOn(agent, done, reference, "round-committed:\(round), then \(name)")
        survived += 1
      }
    }
    print("crash points of a replay: \(survived) of \(survived) survived")
  }
}

extension Sequence where Element: Hashable {
  fileprivate func uniqued() -> [Element] {
    var seen: Set<Element> = []
    return filter { seen.insert($0).inserted }
  }
}
