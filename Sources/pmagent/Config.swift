import Agent
import ArgumentParser

extension PMAgent {
  struct Config: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Work on configuration files.", subcommands: [Check.self])

    struct Check: Command {
      static let configuration = CommandConfiguration(
        abstract: "Say whether a configuration file can be used.")

      @Argument(help: ArgumentHelp("The file (default: \(Configuration.defaultPath)).", valueName: "file"))
      var path: String?

      func run(on console: Console) throws {
        let path = path ?? Configuration.defaultPath
        _ = try Configuration.load(path, mustExist: true)
        try console.print("\(path): ok")
      }
    }
  }
}
