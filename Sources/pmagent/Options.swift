import Agent
import ArgumentParser
import Feed
import Glibc
import PortMaps
import Storage

struct ConfigOption: ParsableArguments {
  @Option(
    name: .customLong("config"),
    help: ArgumentHelp("The configuration file (default: \(Configuration.defaultPath)).", valueName: "file"))
  var path: String?

  /// The file at the default path may be absent.
  func load() throws(ConfigurationError) -> Configuration {
    try Configuration.load(path ?? Configuration.defaultPath, mustExist: path != nil)
  }
}

/// For commands that need the agent.
struct AgentOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The agent's socket.", valueName: "path"))
  var socket: String?

  @OptionGroup var config: ConfigOption

  func connect(limit: Duration? = AgentConnection.limit) throws -> AgentConnection {
    try AgentConnection(to: try socket ?? config.load().socket, limit: limit)
  }
}

/// For commands that work on the database.
struct DatabaseOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The agent's database.", valueName: "path"))
  var database: String?

  @OptionGroup var config: ConfigOption

  func configuration() throws(ConfigurationError) -> Configuration {
    var configuration = try config.load()
    configuration.database = database ?? configuration.database
    return configuration
  }
}

/// For commands that ask the agent, or its database while it is down.
struct ReadingOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The agent's socket.", valueName: "path"))
  var socket: String?

  @Option(help: ArgumentHelp("Read this database instead of asking the agent.", valueName: "path"))
  var database: String?

  @OptionGroup var config: ConfigOption

  func validate() throws {
    if socket != nil, database != nil {
      throw ValidationError("--socket asks the agent and --database reads its file: give one of them")
    }
  }

  func open(_ console: Console) throws -> Source {
    var configuration = try config.load()
    if let database {
      configuration.database = database
      return .database(try .open(configuration))
    }
    // The database of the configuration may be another agent's.
    if let socket { return .agent(try AgentConnection(to: socket)) }
    let down: FeedClientError
    do {
      return .agent(try AgentConnection(to: configuration.socket))
    } catch { down = error }
    switch down {
    case .notThere, .refused: break
    case .notPermitted, .connectionLost, .silent, .system: throw down
    }
    let state: StoredState
    do {
      state = try .open(configuration)
    } catch let error as StoreError where error.reason == .missing { throw down }
    console.warn("\(down.reason): the agent is not running; showing the database \(configuration.database)")
    return .database(state)
  }
}

// MARK: Values

extension TransportProtocol: ExpressibleByArgument {
  package init?(argument: String) { self.init(parsing: argument) }
  package static var allValueStrings: [String] { allCases.map(\.description) }
}

/// A port number on the command line.
func port(_ text: String) throws -> UInt16 {
  guard let port = UInt16(text), port > 0 else { throw ValidationError("port \"\(text)\" is not in 1-65535") }
  return port
}
