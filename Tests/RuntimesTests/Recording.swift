import Feed
import FoundationEssentials
import TestSupport

@testable import Runtimes

/// What a runtime said to an agent that followed it, in that order: answers and events. `pmagent run --log-level trace`
/// logs it; what does not concern published ports was left out of the answers.
struct Recording: CustomStringConvertible {
  enum Line {
    /// `nil`: status 404.
    case answer(target: String, Part?)
    case event(RuntimeEvent)
  }

  let name: String
  let lines: [Line]
  var description: String { name }

  init(_ name: String) throws {
    self.name = name
    let text = try read("\(projectDirectory)/Tests/RuntimesTests/Recordings/\(name).ndjson")
    lines = try text.split(separator: "\n").map { line in
      let json = try JSON(parsing: Array(line.utf8))
      if let event = json["event"] { return .event(try RuntimeEvent(parsing: Array(event.description.utf8))) }
      guard case .string(let target)? = json["get"] else { throw UnexpectedAnswer(description: "\(line)") }
      return .answer(
        target: target, try json["answer"].map { try Part(parsing: Array($0.description.utf8)) })
    }
  }
}

/// A `Tracker` that is driven by a recording instead of a daemon.
struct Replay {
  var tracker: Tracker
  private(set) var announced: [Event] = []
  /// Answers that nobody had asked for, and questions that were never answered.
  private(set) var unasked: [String] = []
  private(set) var open: [String] = []
  private var dialect: Dialect?
  private var networks: [RuntimeNetwork] = []

  init(source: String) { tracker = Tracker(source: source) }

  mutating func play(_ recording: Recording) throws {
    for line in recording.lines {
      switch line {
      case .event(let event): perform(tracker.receive(event))
      case .answer(let target, let answer): try take(target, answer)
      }
    }
  }

  private mutating func take(_ target: String, _ answer: Part?) throws {
    guard let dialect else {
      dialect = try answer.map { try Dialect(version: $0) }
      return
    }
    switch target {
    case dialect.networks:
      perform(tracker.beginSnapshot())
      networks = try answer?.elements().map { try dialect.network($0, source: tracker.source) } ?? []
    case dialect.containers:
      let running = try answer?.elements().map { try $0["Id"].string() } ?? []
      perform(tracker.listed(networks, running: running))
    default:
      guard let index = open.firstIndex(of: target) else { return unasked.append(target) }
      open.remove(at: index)
      let isContainer = target.contains("/containers/")
      let reference = String(target.split(separator: "/")[isContainer || dialect.engine == .docker ? 2 : 3])
      let finding: Tracker.Finding =
        if let answer {
          isContainer
            ? .container(try dialect.container(answer))
            : .network(try dialect.network(answer, source: tracker.source))
        } else {
          .gone
        }
      perform(tracker.found(finding, lookingAt: isContainer ? .container(reference) : .network(reference)))
    }
  }

  private mutating func perform(_ actions: [Tracker.Action]) {
    for action in actions {
      switch action {
      case .announce(let event): announced.append(event)
      case .look(.container(let id)): ask(dialect?.container(id))
      case .look(.network(let reference)): ask(dialect?.network(reference))
      case .distrust, .takeSnapshot: break
      }
    }
  }

  private mutating func ask(_ target: String?) {
    if let target, !open.contains(target) { open.append(target) }
  }

  /// What is announced at the end, as a source's lines in the order of names.
  var feed: String {
    var writer = JSONWriter()
    for event in announced { event.write(source: tracker.source, to: &writer) }
    return String(decoding: writer.bytes, as: UTF8.self)
  }
}
