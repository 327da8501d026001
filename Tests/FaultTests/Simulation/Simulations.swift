import TestSupport

@testable import Agent

/// Simulations one after the other, each with a seed of its own, and what they did together.
struct Simulations {
  private(set) var counts = Simulation.Counts()
  /// How often the agent died where.
  private(set) var deaths: [String: Int] = [:]
  private var elapsed = Duration.zero

  /// Throws what does not hold, with the seed that repeats it.
  init(_ runs: Int, of steps: Int, hold: HoldPolicy) throws {
    let start = ContinuousClock.now
    for _ in 0..<runs {
      let seed = Effort.seed()
      do {
        let simulation = try Simulation(seed: seed, hold: hold)
        try simulation.run(steps: steps)
        counts.add(simulation.counts)
        deaths.merge(simulation.reaper.deaths, uniquingKeysWith: +)
      } catch {
        throw Simulation.Broken(description: "PMAGENT_SEED=\(seed), hold_ports \(hold): \(error)")
      }
    }
    elapsed = ContinuousClock.now - start
    print(
      """
      simulation, hold_ports \(hold): \(counts.steps) steps in \(elapsed), \(perMinute) a minute: \(counts.events) events in \
      \(counts.rounds) rounds, \(counts.acknowledged) acknowledged, \(counts.faults) faults, \(counts.edits) edits, \
      \(counts.restarts) restarts, \(counts.starts) starts; deaths \(deaths.sorted { $0.key < $1.key })
      """)
  }

  private var perMinute: Int { Int(Double(counts.steps) * (.seconds(60) / elapsed)) }
}

extension Simulation.Counts {
  fileprivate mutating func add(_ other: Self) {
    rounds += other.rounds
    events += other.events
    acknowledged += other.acknowledged
    faults += other.faults
    edits += other.edits
    restarts += other.restarts
    starts += other.starts
  }
}
