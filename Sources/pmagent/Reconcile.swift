import ArgumentParser

extension PMAgent {
  struct Reconcile: Command {
    static let configuration = CommandConfiguration(
      abstract: "Make the kernel's table what is stored, after another program has changed it.")

    @OptionGroup var agent: AgentOptions

    func run(on console: Console) throws {
      _ = try agent.connect().ask(["event": "reconcile"])
      try console.print("the kernel's table is what is stored")
    }
  }
}
