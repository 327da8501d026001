import Feed
import Glibc
import PortMaps
import TestSupport
import Testing

/// A machine with a runtime, and an agent that follows it.
final class RuntimeScene {
  let machine: RuntimeHost
  let agent: AgentProgram
  private var watcher: AgentClient
  /// `80/tcp -> 0.0.0.0:8080`, by container name, as far as the watcher has read.
  private var mappings: [String: Set<String>] = [:]

  init(_ engine: RuntimeHost.Engine) async throws {
    machine = try await RuntimeHost(engine)
    agent = try AgentProgram(
      in: machine.host.namespace, configuration: "docker = [\"unix://\(machine.socket)\"]\n")
    watcher = try Self.watch(agent)
  }

  private static func watch(_ agent: AgentProgram) throws -> AgentClient {
    let watcher = try agent.client()
    try watcher.send(#"{"query":"watch"}"#)
    return watcher
  }

  /// Starts an agent that was killed.
  func startAgent() throws {
    try agent.start()
    watcher = try Self.watch(agent)
    mappings = [:]
  }

  /// Starts a container of the image, which answers on `answering` beside port 80.
  func start(_ name: String, _ options: [String], answering ports: [String] = []) async throws {
    try await machine.client(["run", "-d", "--name", name] + options + ["web", "/server", name, "80", "7"] + ports)
    // udev gives bridges addresses of their own. Without it a bridge has that of one of its ports, which goes with it, and
    // neighbours take seconds to notice.
    try await machine.run([
      "sh", "-c",
      "for b in /sys/class/net/podman*/address; do [ ! -e $b ] || ip link set $(basename ${b%/*}) address $(cat $b); done || true",
    ])
  }

  /// Reads what the agent tells of its mappings until `condition` holds. An agent that has not got there after a minute
  /// is killed, which ends the reading.
  func wait(for what: String, until condition: () -> Bool) throws {
    let process = agent.process
    let watchdog = Task {
      // Not to wait for something to happen: to end a test that hangs.
      try await Task.sleep(for: .seconds(60))
      kill(process, SIGKILL)
    }
    defer { watchdog.cancel() }
    while !condition() {
      guard let line = try watcher.receive() else {
        throw NetworkNamespace.Failure(
          description: "waiting for \(what): there are \(mappings)\n\(try read(agent.log).suffix(3000))")
      }
      take(line)
    }
  }

  private func take(_ line: JSON) {
    guard case .string(let change)? = line["change"], case .string(let name)? = line["name"],
      case .string(let transport)? = line["protocol"], case .integer(let port)? = line["container_port"],
      case .string(let address)? = line["host_ip"]
    else { return }
    let host = IPAddress(parsing: address)?.bracketed ?? address
    var hostPort = ""
    if case .integer(let number)? = line["host_port"] { hostPort = "\(number)" }
    let text = "\(port)/\(transport) -> \(host):\(hostPort)"
    if change == "removed" { mappings[name]?.remove(text) } else { mappings[name, default: []].insert(text) }
  }

  /// Waits until the agent has taken note of everything that has happened: of a container that is started after it.
  func catchUp() async throws {
    try await start("last", ["-p", "7000:80"])
    try wait(for: "the last start") { ports("last") == ["80/tcp -> 0.0.0.0:7000"] }
    try await machine.client("rm", "-f", "last")
    try wait(for: "the last end") { ports("last").isEmpty }
  }

  func ports(_ name: String) -> [String] { (mappings[name] ?? []).sorted() }

  // MARK: What must agree

  /// `docker port` = `pmagent port` = packets.
  func verify(_ names: String..., sourceLocation: SourceLocation = #_sourceLocation) async throws {
    try await verify(names, sourceLocation: sourceLocation)
  }

  func verify(_ names: [String], sourceLocation: SourceLocation = #_sourceLocation) async throws {
    var questions: [Question] = []
    var answers: [String] = []
    for name in names {
      let said = try await machine.ports(name)
      try wait(for: "\(name) at \(said)") { machine.matches(ports(name), said) }
      let listed = try await pmagentPorts(name)
      #expect(machine.matches(listed, said), sourceLocation: sourceLocation)
      try wait(for: "\(name) at \(listed)") { ports(name) == listed }
      for port in ports(name) {
        for question in machine.questions(port) {
          questions.append(question)
          answers.append("\(name) saw ")
        }
      }
    }
    for (question, (answer, expected)) in zip(questions, zip(try askUntilServed(questions), answers)) {
      if question.mustAnswer {
        #expect(
          answer.text?.hasPrefix(expected) == true, "\(question.from) \(question.target): \(answer)",
          sourceLocation: sourceLocation)
      } else {
        #expect(answer.text == nil, "\(question.from) \(question.target): \(answer)", sourceLocation: sourceLocation)
      }
    }
  }

  private func pmagentPorts(_ name: String) async throws -> [String] {
    try await agent.command("port", name, "--socket", agent.socket).split(separator: "\n").map(String.init).sorted()
  }

  /// A program that was only just started may not listen yet.
  private func askUntilServed(_ questions: [Question]) throws -> [Answer] {
    var answers = try ask(questions)
    for _ in 0..<100 {
      let isEarly = zip(questions, answers).contains { if case .refused = $1 { $0.mustAnswer } else { false } }
      if !isEarly { break }
      answers = try ask(questions)
    }
    return answers
  }

  /// Nothing of it is published any more, and the others are.
  func verifyGone(_ name: String, was ports: [String], sourceLocation: SourceLocation = #_sourceLocation) throws {
    try wait(for: "\(name) to go") { self.ports(name).isEmpty }
    let questions = ports.flatMap { machine.questions($0) }.map { Question($0.from, $0.target, mustAnswer: false) }
    for (question, answer) in zip(questions, try ask(questions)) {
      #expect(answer.text == nil, "\(question.from) \(question.target): \(answer)", sourceLocation: sourceLocation)
    }
  }
}

extension RuntimeHost {
  /// Podman says 0.0.0.0 for any address, which is :: too where the container has IPv6.
  fileprivate func matches(_ ours: [String], _ theirs: [String]) -> Bool {
    if engine == .docker { return ours == theirs }
    let implied = Set(theirs.map { $0.replacing("0.0.0.0:", with: "[::]:") })
    return Set(theirs).isSubset(of: ours) && Set(ours).subtracting(theirs).isSubset(of: implied)
  }

  /// Who reaches a published port, `80/tcp -> 0.0.0.0:8080`, and who does not.
  fileprivate func questions(_ port: String) -> [Question] {
    let parts = port.split(separator: " -> ", maxSplits: 1)
    guard parts.count == 2, let colon = parts[1].lastIndex(of: ":"),
      let number = UInt16(parts[1][parts[1].index(after: colon)...]),
      let transport = TransportProtocol(parsing: parts[0].drop { $0 != "/" }.dropFirst())
    else { return [] }
    func question(_ from: Node, _ address: IPAddress, _ mustAnswer: Bool = true) -> Question {
      Question(from, Target(transport, address, number), mustAnswer: mustAnswer)
    }
    switch parts[1][..<colon] {
    case "0.0.0.0": return [question(remote, host.ipv4), question(host, host.ipv4), question(host, "127.0.0.1")]
    case "[::]": return [question(remote, host.ipv6), question(host, host.ipv6), question(host, "::1")]
    case "127.0.0.1": return [question(host, "127.0.0.1"), question(remote, host.ipv4, false)]
    case "[::1]": return [question(host, "::1"), question(remote, host.ipv6, false)]
    default: return []
    }
  }
}
