import TestSupport
import Testing

@testable import Agent

/// PMAGENT_SEED repeats a run that failed.
@Suite(.timeLimit(.minutes(30))) struct SimulationTests {
  @Test(arguments: [HoldPolicy.none, .auto])
  func kernelDatabaseAndListAgreeWhateverHappens(_ hold: HoldPolicy) throws {
    let start = ContinuousClock.now
    let runs = Effort.count(2, soak: 15)
    let steps = Effort.count(1500, soak: 20_000)
    var (total, deaths) = (Simulation.Counts(), [String: Int]())
    for _ in 0..<runs {
      let seed = Effort.seed()
      do {
        let simulation = try Simulation(seed: seed, hold: hold)
        try simulation.run(steps: steps)
        total.add(simulation.counts)
        deaths.merge(simulation.reaper.deaths, uniquingKeysWith: +)
      } catch {
        Issue.record("PMAGENT_SEED=\(seed), hold_ports \(hold): \(error)")
        return
      }
    }
    print(
      """
      simulation, hold_ports \(hold): \(total.steps) steps in \(ContinuousClock.now - start): \(total.events) events in \
      \(total.rounds) rounds, \(total.acknowledged) acknowledged, \(total.faults) faults, \(total.edits) edits, \
      \(total.restarts) restarts, \(total.starts) starts; deaths \(deaths.sorted { $0.key < $1.key })
      """)
    #expect(total.acknowledged > total.events / 4 && total.faults > 0 && deaths.count >= 3)
  }
}

extension Simulation.Counts {
  mutating func add(_ other: Self) {
    rounds += other.rounds
    events += other.events
    acknowledged += other.acknowledged
    faults += other.faults
    edits += other.edits
    restarts += other.restarts
    starts += other.starts
  }
}
