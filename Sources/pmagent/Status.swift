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

    /// A line a field, those too that this program does not know; a line a source and a degradation at the end.
    static func text(_ answer: Answer) throws -> String {
      let all = try JSON(parsing: answer.line).members
      let fields = all.filter { !["ok", "degraded", "sources"].contains($0.key) }
      let sources = all.first { $0.key == "sources" }?.value.elements.map {
        (key: "source", value: JSON.string(source($0)))
      }
      let degraded = try answer.elements(of: "degraded").map { degradation in
        (key: "degraded", value: "\(degradation["code"]?.string ?? "-"): \(degradation["message"]?.string ?? "-")")
      }
      let lines =
        (fields + (sources ?? [])).map { (key: $0.key.replacing("_", with: " "), value: words($0.value)) } + degraded
      let width = lines.map(\.key.count).max() ?? 0
      return lines.map { $0.key + String(repeating: " ", count: width + 2 - $0.key.count) + $0.value }
        .joined(separator: "\n")
    }

    /// `docker: follows unix:///run/docker.sock (docker 20.10.24), connected, snapshot 12 s ago, lag 1 ms`
    private static func source(_ source: JSON) -> String {
      var parts: [String] = []
      if let socket = source["follows"]?.string {
        parts.append("follows \(socket)" + (source["runtime"]?.string.map { " (\($0))" } ?? ""))
        let since = source["since_ms"]?.integer.map { " since \($0 / 1000) s" } ?? ""
        parts.append((source["connected"]?.bool == true ? "connected" : "NOT connected") + since)
      }
      parts.append(source["snapshot_age_ms"]?.integer.map { "snapshot \($0 / 1000) s ago" } ?? "no snapshot yet")
      if let lag = source["lag_us"]?.integer { parts.append("lag \(lag / 1000) ms") }
      if let problem = source["problem"]?.string { parts.append(problem) }
      return "\(source["name"]?.string ?? "-"): " + parts.joined(separator: ", ")
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
