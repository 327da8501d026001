import ArgumentParser
import Feed

extension PMAgent {
  struct Watch: Command {
    static let configuration = CommandConfiguration(
      abstract: "Show every mapping, then each change as it is committed, until interrupted.")

    @Flag(help: "Print the agent's lines.") var json = false
    @OptionGroup var agent: AgentOptions

    func run(on console: Console) throws {
      let agent = try agent.connect(limit: nil)
      try agent.send(Array(#"{"query":"watch"}"#.utf8))
      var answer = Answer(line: try agent.receive())
      while true {
        if json {
          try console.print(answer.line)
        } else if let text = try Self.text(answer) {
          try console.print(text)
        }
        do { answer = Answer(line: try agent.receive()) } catch FeedClientError.connectionLost(let path) {
          throw AgentLeft(
            description: "the agent closed the connection on \(path): it has ended, or its lines were left unread for "
              + "too long; watch again to see what is there now")
        }
      }
    }

    /// `nil` for the line that only ends the first listing.
    static func text(_ answer: Answer) throws -> String? {
      let line = try JSON(parsing: answer.line)
      guard let change = line["change"]?.string else {
        try answer.check()
        throw UnknownAnswer(part: "change")
      }
      if change == "ready" { return nil }
      let mapping = try Mapping(line)
      let reason = mapping.state.reason.map { ": \($0)" } ?? ""
      return "\(change) \(mapping.name) \(mapping.network) \(mapping.ports) \(mapping.state.name)\(reason)"
    }
  }
}
