import ArgumentParser
import Feed

extension PMAgent {
  struct Status: Command {
    static let configuration = CommandConfiguration(
      abstract: "Show whether the kernel's table is what is stored; exit 3 when it is not.")

    @Flag(help: "Print the agent's reply.") var json = false
    @OptionGroup var agent: AgentOptions

    func run(on console: Console) throws {
      let answer = try agent.connect().ask(["query": "status"])
      try json ? console.print(answer.line) : console.print(Self.text(answer))
      guard let isInSync = try answer.value(of: "in_sync").bool else { throw UnknownAnswer(part: "in_sync") }
      if !isInSync { throw ExitStatus.notInSync }
    }

    /// A line a field, those too that this program does not know; a line a degradation at the end.
    static func text(_ answer: Answer) throws -> String {
      let fields = try JSON(parsing: answer.line).members.filter { !["ok", "degraded"].contains($0.key) }
      let degraded = try answer.elements(of: "degraded").map { degradation in
        (key: "degraded", value: "\(degradation["code"]?.string ?? "-"): \(degradation["message"]?.string ?? "-")")
      }
      let lines = fields.map { (key: $0.key.replacing("_", with: " "), value: words($0.value)) } + degraded
      let width = lines.map(\.key.count).max() ?? 0
      return lines.map { $0.key + String(repeating: " ", count: width + 2 - $0.key.count) + $0.value }
        .joined(separator: "\n")
    }

    private static func words(_ value: JSON) -> String {
      switch value {
      case .bool(let bool): bool ? "yes" : "no"
      case .string(let text): text
      case .null: "unknown"
      case .integer, .number, .array, .object: value.description
      }
    }
  }
}
