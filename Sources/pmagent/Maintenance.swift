import ArgumentParser
import Feed
import Glibc

extension PMAgent {
  struct Maintenance: Command {
    static let configuration = CommandConfiguration(
      abstract: "Leave the kernel's table to an administrator for a while.",
      discussion: """
        The agent lets go of its table, so that nft can change it, until the command has ended; without one, until this is \
        interrupted (Ctrl-C). Then the table becomes what is stored again. Containers may come and go meanwhile.
        """)

    @OptionGroup var agent: AgentOptions
    @Argument(parsing: .postTerminator, help: "Run this, and end when it ends.")
    var command: [String] = []

    func run(on console: Console) throws {
      let agent = try agent.connect(limit: nil)
      _ = try agent.ask(["event": "maintenance.begin"])
      do {
        try maintain(agent, console)
      } catch FeedClientError.connectionLost(let path) {
        throw AgentLeft(
          description:
            "the agent closed the connection on \(path), which ends maintenance: the table becomes what is stored "
            + "as soon as an agent runs again")
      }
    }

    private func maintain(_ agent: AgentConnection, _ console: Console) throws {
      guard command.isEmpty else {
        let end = try end(of: command)
        _ = try agent.ask(["event": "maintenance.end"])
        if end != 0 { throw ExitStatus.failed }
        return
      }
      try console.print("table inet pmagent is yours until this is interrupted")
      // The agent takes the table back when the connection closes, which it does with this process. Nothing else is said on it.
      while true { _ = try agent.receive() }
    }

    /// What waitpid(2) says of it; it has said itself what went wrong.
    private func end(of command: [String]) throws -> Int32 {
      let words = command.map { strdup($0) } + [nil]
      defer { for word in words { free(word) } }
      var (process, status) = (pid_t(), Int32(0))
      errno = posix_spawnp(&process, command[0], nil, nil, words, environ)
      guard errno == 0 else { throw SystemFailure("run", command[0]) }
      while waitpid(process, &status, 0) < 0 {
        guard errno == EINTR else { throw SystemFailure("wait for", command[0]) }
      }
      return status
    }
  }
}
