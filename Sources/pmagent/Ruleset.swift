import Agent
import ArgumentParser

extension PMAgent {
  struct Ruleset: Command {
    static let configuration = CommandConfiguration(
      abstract: "Print what the agent installs for the stored mappings, as text that nft -f loads.")

    @OptionGroup var options: DatabaseOptions

    func run(on console: Console) throws {
      try console.print(StoredState.open(options.configuration()).ruleset())
    }
  }
}
