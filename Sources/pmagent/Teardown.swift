import Agent
import ArgumentParser

extension PMAgent {
  struct Teardown: Command {
    static let configuration = CommandConfiguration(
      abstract: "Remove the kernel's table and restore sysctls; the agent must be stopped.",
      discussion: "The database stays: an agent that starts again restores its mappings.")

    @OptionGroup var options: DatabaseOptions

    func run(on console: Console) throws {
      for line in try Agent.Teardown.run(options.configuration()) { try console.print(line) }
    }
  }
}
