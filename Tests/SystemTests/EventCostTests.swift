import Feed
import Logging
import Netfilter
import PortMaps
import Storage
import TestSupport
import Testing

@testable import Agent

/// An event costs what it touches, however much there is. Counted, not timed.
@Suite(.timeLimit(.minutes(5))) struct EventCostTests {
  struct Cost: Equatable {
    var transactions: Int
    var messages: Int
    var elements: Int
    var statements: Int
  }

  @Test func aStartAndAStopCostTheSameBesideTenThousandMappings() throws {
    let namespace = try NetworkNamespace()
    let directory = try TemporaryDirectory()
    let (few, many) = try namespace.run { () throws -> ([Cost], [Cost]) in
      var configuration = Agent.Configuration()
      configuration.database = directory.path + "/state.db"
      // A descriptor for each would need a limit that not every machine has.
      configuration.sources["bulk"] = .init(holdPorts: HoldPolicy.none)
      let store = try Store.open(at: configuration.database, access: .readWrite)
      let mapper = try PortMapper.start(
        configuration, store, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
      try handle(
        [#"{"event":"network.create","network":{"id":"net","bridge":"br-test","subnets":["10.0.0.0/8","fd00::/64"]}}"#],
        mapper)
      try handle((0..<10).map(bulk), mapper)
      let few = try costs(mapper)
      try handle((10..<10_000).map(bulk), mapper)
      #expect(try store.counts().containers == 10_000)
      return (few, try costs(mapper))
    }
    #expect(few == many)
    #expect(few.allSatisfy { $0.transactions == 1 && $0.statements > 0 })
    // IPv4 and IPv6: each a translation, and a published container port.
    #expect(few.allSatisfy { $0.elements == 4 && $0.messages == 4 }, "\(few)")
  }

  /// Container `index` of a busy host, one mapping each; a source of its own does not hold its ports.
  private func bulk(_ index: Int) -> String {
    let address = "10.1.\(index / 250).\(index % 250 + 2)"
    return #"{"event":"container.start","source":"bulk","container":{"id":"c\#(index)","#
      + #""networks":[{"network":"net","ipv4":"\#(address)"}],"publish":["\#(10_000 + index):80"]}}"#
  }

  /// Of a start and of the stop of the same container.
  private func costs(_ mapper: PortMapper) throws -> [Cost] {
    let start =
      #"{"event":"container.start","container":{"id":"web","networks":[{"network":"net","ipv4":"10.0.0.2","#
      + #""ipv6":"fd00::2"}],"publish":["8080:80"]}}"#
    return try [start, #"{"event":"container.stop","container":"web"}"#].map { line in
      let kernel = try #require(mapper.kernel as? KernelRuleset)
      let before = count(kernel, mapper.store)
      try handle([line], mapper)
      let after = count(kernel, mapper.store)
      return Cost(
        transactions: after.transactions - before.transactions, messages: after.messages - before.messages,
        elements: after.elements - before.elements, statements: after.statements - before.statements)
    }
  }

  private func count(_ kernel: KernelRuleset, _ store: Store) -> Cost {
    Cost(
      transactions: kernel.transactions, messages: kernel.messagesSent, elements: kernel.elementsSent,
      statements: store.statementCount)
  }

  private func handle(_ lines: [String], _ mapper: PortMapper) throws {
    let round = lines.map { line in
      PortMapper.Incoming(connection: ConnectionID(number: 1), decoded: Request.decode(line: Array(line.utf8)))
    }
    var replies: [Reply] = []
    mapper.handle(round) { replies.append($0) }
    for reply in replies {
      guard case .changed = reply else { throw NetworkNamespace.Failure(description: "answered \(reply)") }
    }
  }
}
