import Glibc
import PortMaps
import Subprocess
import TestSupport
import Testing

/// What the pages show on a console is what happens.
///
/// The ```console blocks of a page are one session: each `$ command` is typed into one shell, which is in namespaces of
/// its own as soon as the page's first command, `contrib/lab/lab.sh`, has run. A command's output must be the lines below
/// it, where `…` stands for any text, and it must succeed. `UPDATE_GOLDENS=1` writes what differs into the pages; lines with
/// `…` that still match stay.
@Suite struct ConsoleTests {
  @Test(arguments: try Page.all().filter { $0.hasConsole })
  func thePageShowsWhatHappens(_ page: Page) async throws {
    let steps = page.steps
    #expect(steps.first?.command == "sudo contrib/lab/lab.sh")
    let outcomes = try await Session.run(steps.map(\.command))
    #expect(outcomes.count == steps.count, "the session ended early:\n\(outcomes.last?.output ?? "")")
    for (step, outcome) in zip(steps, outcomes) {
      #expect(outcome.status == "0", "\(page):\(step.line): \(step.command)\n\(outcome.output)")
    }
    let wrong = zip(steps, outcomes).filter { !matches($1.output, $0.output) }
    if getenv("UPDATE_GOLDENS") != nil {
      try write(page.replacing(wrong.map { ($0.range, $1.output.keepingWildcards(of: $0.output)) }), to: page.path)
    } else {
      for (step, outcome) in wrong {
        expectSameLines(outcome.output, step.output, "\(page):\(step.line): \(step.command)")
      }
    }
  }

  @Test func aSessionTellsOutputsAndStatusesApart() async throws {
    let outcomes = try await Session.run(["echo one; echo two >&2", "false", "true", "exit 3", "echo never"])
    #expect(
      outcomes == [
        .init(output: "one\ntwo\n", status: "0"), .init(output: "", status: "1"), .init(output: "", status: "0"),
      ])
  }

  @Test(arguments: [
    ("", "", true), ("a", "a", true), ("a", "b", false), ("ab", "a", false), ("pid 17 ends", "pid … ends", true),
    ("pid 17 ended", "pid … ends", false), ("a b c", "a…b…c", true), ("a c b", "a…b…c", false), ("xa", "…", true),
  ])
  func wildcards(_ text: String, _ pattern: String, _ expected: Bool) {
    #expect(matches(text, pattern) == expected)
  }
}

/// One shell that is given commands as if they were typed.
private enum Session {
  struct Outcome: Equatable {
    /// Both streams.
    var output: String
    var status: String
  }

  private static let mark = "\u{1}"

  /// Outcomes of the commands, as far as the shell came.
  static func run(_ commands: [String]) async throws -> [Outcome] {
    let products = AgentProgram.path.split(separator: "/").dropLast().joined(separator: "/")
    var script = "exec 2>&1; cd '\(projectDirectory)'; sudo() { \"$@\"; }\n"
    for command in commands { script += "\(started(command))\nprintf '\(mark)%s\(mark)' $?\n" }
    let result = try await Subprocess.run(
      .name("timeout"), arguments: ["120", "bash"],
      environment: .inherit.updating([
        "PATH": "/\(products):/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
      ]), input: .string(script), output: .string(limit: 16 << 20), error: .string(limit: 1 << 20))
    let parts = result.standardOutput.split(separator: mark, omittingEmptySubsequences: false).map(String.init)
    return stride(from: 0, to: parts.count - 1, by: 2).map { Outcome(output: parts[$0], status: parts[$0 + 1]) }
  }

  /// A program in the background is there when its log, where its standard error goes, says so.
  private static func started(_ command: String) -> String {
    guard command.hasSuffix("&"), let log = command.dropLast().split(separator: "2> ").last else { return command }
    return "rm -f \(log); \(command)\ngrep -qm1 ready <(tail -qF -n +1 \(log) 2> /dev/null)"
  }
}

private struct Step {
  let command: String
  /// Of the output, in the lines of the page.
  let range: Range<Int>
  let output: String
  var line: Int { range.lowerBound }
}

extension String {
  /// With the lines of `old` that have a wildcard in place of those that match them.
  fileprivate func keepingWildcards(of old: String) -> String {
    let patterns = old.split(separator: "\n").filter { $0.contains("…") }.map(String.init)
    return split(separator: "\n", omittingEmptySubsequences: false).map { line in
      patterns.first { TestSupport.matches(String(line), $0) } ?? String(line)
    }.joined(separator: "\n")
  }
}

extension Page {
  fileprivate var hasConsole: Bool { blocks.contains { $0.language == "console" } }

  fileprivate var steps: [Step] {
    blocks.filter { $0.language == "console" }.flatMap { block in
      let commands = block.range.filter { lines[$0].hasPrefix("$ ") }
      return zip(commands, commands.dropFirst() + [block.range.upperBound]).map { command, next in
        let output = lines[command + 1..<next].map { $0 + "\n" }.joined()
        return Step(command: String(lines[command].dropFirst(2)), range: command + 1..<next, output: output)
      }
    }
  }

  fileprivate func replacing(_ changes: [(range: Range<Int>, text: String)]) -> String {
    var lines = lines
    for (range, text) in changes.reversed() {
      lines.replaceSubrange(
        range, with: text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init))
    }
    return lines.joined(separator: "\n")
  }
}
