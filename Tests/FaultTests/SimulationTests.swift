import TestSupport
import Testing

@testable import Agent

/// PMAGENT_SEED repeats a run that failed.
@Suite(.timeLimit(.minutes(30))) struct SimulationTests {
  @Test(arguments: [HoldPolicy.none, .auto])
  func kernelDatabaseAndListAgreeWhateverHappens(_ hold: HoldPolicy) throws {
    let runs = try Simulations(Effort.count(2, soak: 5), of: Effort.count(12_000, soak: 40_000), hold: hold)
    let counts = runs.counts
    #expect(counts.acknowledged > counts.events / 4 && counts.faults > 0 && runs.deaths.count >= 3)
  }
}
