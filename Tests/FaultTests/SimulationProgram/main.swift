// usage: simulation none|auto RUNS STEPS
//
// The simulation as a program, which the compiler can optimise without the tests: `make soak` runs one on each processor.
import Glibc

@testable import Agent

let arguments = CommandLine.arguments
guard arguments.count == 4, let hold = HoldPolicy(rawValue: arguments[1]), let runs = Int(arguments[2]),
  let steps = Int(arguments[3])
else {
  print("usage: simulation none|auto RUNS STEPS")
  exit(2)
}
do {
  _ = try Simulations(runs, of: steps, hold: hold)
} catch {
  print("\(error)")
  exit(1)
}
