import Agent
import ArgumentParser
import Glibc

/// The command line: nouns read, verbs change, and `pmagent` alone lists.
@main
struct PMAgent: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pmagent",
    abstract: "Publish the ports of containers with nftables.",
    discussion: """
      Without a command, the mappings are listed (ls).

      Containers are named by id, name, or a prefix that only one of them has. ls, networks, inspect, port and \
      ruleset also work while the agent is down: they read its database then.

      EXIT STATUS:
        0  done
        1  failed; standard error says why
        2  the command line is wrong
        3  status: the kernel's table is not what is stored
        4  the agent cannot be reached, and there is no database to read instead
        5  not permitted: the socket, the database or the kernel refuses this user
      """,
    version: "pmagent \(Version.current)",
    subcommands: [
      List.self, Networks.self, Inspect.self, Port.self, Status.self, Watch.self, Ruleset.self, Emit.self,
      Reconcile.self, Maintenance.self, Run.self, Teardown.self, Config.self,
    ],
    defaultSubcommand: List.self)

  static let _errorPrefix = "pmagent: "

  static func main() {
    Console.occupyClosedStreams()
    Glibc.exit(run(Array(CommandLine.arguments.dropFirst()), on: .standard).rawValue)
  }

  /// Carries out one command line. What goes wrong is said on the console and by the status.
  static func run(_ arguments: [String], on console: Console) -> ExitStatus {
    do {
      var command = try parseAsRoot(arguments)
      // The help command is ArgumentParser's own.
      if let command = command as? any Command { try command.run(on: console) } else { try command.run() }
      return .ok
    } catch let status as ExitStatus {
      return status
    } catch {
      return report(error, on: console)
    }
  }

  private static func report(_ error: any Error, on console: Console) -> ExitStatus {
    let code = exitCode(for: error)
    if code == .success {
      do {
        try console.print(fullMessage(for: error))
        return .ok
      } catch { return report(error, on: console) }
    }
    console.complain(fullMessage(for: error))
    return code == .validationFailure ? .usage : ExitStatus(of: error)
  }
}

/// A function of its arguments and the console.
protocol Command: ParsableCommand {
  func run(on console: Console) throws
}

extension Command {
  func run() throws { try run(on: .standard) }
}
