import Agent
import ArgumentParser
import Logging
import PortMaps
import Runtimes

extension PMAgent {
  struct Run: Command {
    static let configuration = CommandConfiguration(
      abstract: "Run the agent until SIGTERM or SIGINT; mappings stay in place.",
      discussion: "SIGHUP reads the configuration again. Options win over the configuration file.")

    @Option(help: ArgumentHelp("Listen on this Unix socket.", valueName: "path")) var socket: String?
    @Option(help: ArgumentHelp("Keep the state in this database.", valueName: "path")) var database: String?
    @Option(
      help: ArgumentHelp("Where ports of the default bridge are published by default.", valueName: "address"),
      transform: address(_:))
    var ip: IPAddress?
    @Option(
      help: ArgumentHelp(
        "Follow the container runtime (Docker, Podman) at this socket, [NAME=]unix:///PATH; may be repeated.",
        valueName: "socket"),
      transform: runtime(_:))
    var docker: [RuntimeSocket] = []
    @Option(
      help: ArgumentHelp(
        "Log events of this level and above: \(levels) (default: info).", valueName: "level"),
      transform: level(_:))
    var logLevel = Logger.Level.info
    @OptionGroup var config: ConfigOption

    func run(on console: Console) throws {
      let log = Logger(label: "pmagent") { _ in
        LineLogHandler(descriptor: console.errors, form: .suited(to: console.errors), logLevel: logLevel)
      }
      try AgentProcess(log: log, load: configuration).run()
    }

    @Sendable func configuration() throws -> Configuration {
      var configuration = try config.load()
      configuration.socket = socket ?? configuration.socket
      configuration.database = database ?? configuration.database
      configuration.ip = ip ?? configuration.ip
      if !docker.isEmpty { configuration.runtimes = try RuntimeSocket.distinct(docker) }
      return configuration
    }
  }
}

private func address(_ text: String) throws -> IPAddress {
  guard let address = IPAddress(parsing: text) else {
    throw ValidationError("\"\(text)\" is not an IPv4 or IPv6 literal")
  }
  return address
}

private func runtime(_ text: String) throws -> RuntimeSocket {
  do throws(RuntimeSocketError) {
    return try RuntimeSocket(parsing: text)
  } catch {
    throw ValidationError(error.description)
  }
}

private let levels = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")

private func level(_ text: String) throws -> Logger.Level {
  guard let level = Logger.Level(rawValue: text) else { throw ValidationError("\"\(text)\" is not one of \(levels)") }
  return level
}
