import Agent
import Feed
import PortMaps

/// Who answers: the agent, or its database alone. Both give the wire's replies, so that commands know one form.
enum Source {
  case agent(AgentConnection)
  case database(StoredState)

  func list(_ filter: MappingFilter) throws -> Answer {
    switch self {
    case .agent(let agent):
      return try agent.ask([
        "query": "list", "container": filter.container.map(JSON.string), "network": filter.network.map(JSON.string),
        "host_port": filter.hostPort.map { .integer(Int64($0)) },
        "protocol": filter.transport.map { .string($0.description) },
      ])
    case .database(let state): return try answer { .mappings(try state.mappings(filter)) }
    }
  }

  func networks() throws -> Answer {
    switch self {
    case .agent(let agent): return try agent.ask(["query": "networks"])
    case .database(let state): return try answer { .networks(try state.networkDescriptions()) }
    }
  }

  func inspect(_ container: String) throws -> Answer {
    switch self {
    case .agent(let agent): return try agent.ask(["query": "inspect", "container": .string(container)])
    case .database(let state): return try answer { .inspect(try state.inspect(container)) }
    }
  }

  private func answer(_ reply: () throws -> Reply) throws -> Answer {
    do {
      return Answer(try reply())
    } catch let error as RequestError {
      throw RequestRefused(code: error.code.rawValue, message: error.message)
    }
  }
}

/// A connection that is asked one thing at a time, or fed many.
final class AgentConnection {
  /// How long an agent may be silent that is asked a question. Less in tests.
  @TaskLocal static var limit = Duration.seconds(30)

  private let path: String
  private var client: FeedClient

  /// Without a `limit` it waits as long as it takes.
  init(to path: String, limit: Duration? = AgentConnection.limit) throws(FeedClientError) {
    self.path = path
    client = try .connect(to: path, limit: limit)
  }

  /// Fails with `RequestRefused`.
  func ask(_ request: KeyValuePairs<String, JSON?>) throws -> Answer {
    try send(Array(JSON(request).description.utf8))
    let answer = Answer(line: try receive())
    try answer.check()
    return answer
  }

  /// One line, or several with LFs between them.
  func send(_ lines: [UInt8]) throws(FeedClientError) { try client.send(lines) }

  func receive() throws(FeedClientError) -> [UInt8] {
    guard let line = try client.receiveLine() else { throw .connectionLost(path: path) }
    return line
  }
}

extension JSON {
  /// An object; members without a value are left out.
  init(_ members: KeyValuePairs<String, JSON?>) {
    self = .object(members.compactMap { key, value in value.map { (key, $0) } })
  }
}

extension JSON: ExpressibleByStringLiteral {
  package init(stringLiteral text: String) { self = .string(text) }
}
