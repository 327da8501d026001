import ArgumentParser
import Feed
import Glibc

extension PMAgent {
  struct Emit: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Send events to the agent and print its replies.",
      usage: """
        pmagent emit [<file> ...] [--socket <path>] [--config <file>]
        pmagent emit <subcommand>
        """,
      discussion: """
        Without a subcommand, requests are read from the files or from standard input, one JSON object a line. The exit \
        status is 1 when one of them is refused; those behind it are sent all the same.
        """,
      subcommands: [
        Lines.self, Start.self, Stop.self, Connect.self, Disconnect.self, Publish.self, Unpublish.self,
        NetworkCreate.self, NetworkRemove.self,
      ],
      defaultSubcommand: Lines.self)

    struct Lines: Command {
      static let configuration = CommandConfiguration(
        abstract: "Send requests from files or standard input.", shouldDisplay: false)

      @Argument(help: ArgumentHelp("Files with requests; - is standard input.", valueName: "file"))
      var files: [String] = ["-"]
      @OptionGroup var agent: AgentOptions

      func run(on console: Console) throws {
        let feed = LineFeed(agent: try agent.connect(limit: nil), console: console)
        for file in files {
          if file == "-" {
            try feed.send(console.input, file: "standard input")
          } else {
            let descriptor = open(file, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw SystemFailure("open", file) }
            defer { close(descriptor) }
            try feed.send(descriptor, file: file)
          }
        }
        if feed.hasFailures { throw ExitStatus.failed }
      }
    }
  }
}

/// Sends requests and prints the replies, in order.
///
/// What one read(2) gives is sent at once, and its replies are taken before the next: lines of a file travel together,
/// those of a pipe that grows are answered as they come, and there is never more under way than the two buffers of the
/// socket hold, so that neither side can wait for the other.
final class LineFeed {
  private static let chunk = 64 * 1024
  /// The contract's longest line; without a limit a file without an LF would be read into memory whole.
  private static let longestLine = 1 << 20

  private let agent: AgentConnection
  private let console: Console
  private(set) var hasFailures = false

  init(agent: AgentConnection, console: Console) { (self.agent, self.console) = (agent, console) }

  func send(_ descriptor: Int32, file: String) throws {
    var rest: [UInt8] = []
    while true {
      var chunk = [UInt8](repeating: 0, count: Self.chunk)
      let count = read(descriptor, &chunk, chunk.count)
      if count < 0 {
        guard errno == EINTR else { throw SystemFailure("read", file) }
        continue
      }
      rest += chunk[..<count]
      // The last line may come without its LF.
      guard count > 0 else { return try exchange(rest[...]) }
      guard let end = rest.lastIndex(of: UInt8(ascii: "\n")) else {
        guard rest.count <= Self.longestLine else {
          throw LineTooLong(description: "\(file): a line is longer than \(Self.longestLine) bytes")
        }
        continue
      }
      try exchange(rest[..<end])
      rest.removeFirst(end + 1)
    }
  }

  /// Sends whole lines and prints as many replies. When the agent closes the connection, what it said before is printed.
  private func exchange(_ text: ArraySlice<UInt8>) throws {
    let lines = text.split(separator: UInt8(ascii: "\n")).filter { !$0.allSatisfy { " \t\r".utf8.contains($0) } }
    if lines.isEmpty { return }
    let sending = Result { () throws(FeedClientError) in try agent.send(Array(lines.joined(separator: "\n".utf8))) }
    for _ in lines {
      var answer = Answer(line: try agent.receive())
      // Of a request to watch there are more, before and after the one that ends its first listing.
      while let change = try answer.change, change != "ready" {
        try console.print(answer.line)
        answer = Answer(line: try agent.receive())
      }
      try console.print(answer.line)
      guard try answer.change == nil else { continue }
      do { try answer.check() } catch is RequestRefused { hasFailures = true }
    }
    try sending.get()
  }
}

private struct LineTooLong: Error, CustomStringConvertible {
  let description: String
}
