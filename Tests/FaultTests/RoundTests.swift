import Feed
import Glibc
import Logging
import Netfilter
import PortMaps
import TestSupport
import Testing

@testable import Agent
@testable import Storage

/// Events that come together, some of them refused: what is told of them, and what is put back.
@Suite struct RoundTests: MapperSuite {
  private let directory: TemporaryDirectory
  let store: Store
  private let kernel = FakeKernel()

  init() throws {
    directory = try TemporaryDirectory(in: "/dev/shm")
    store = try Store.open(at: directory.path + "/state.db", access: .readWrite)
  }

  private func stop(_ n: Int) -> String { #"{"event":"container.stop","container":"c\#(n)"}"# }

  /// Replies and what watchers are told, in their order.
  private func told(_ lines: [String], _ mapper: PortMapper) -> [String] {
    var told: [String] = []
    mapper.tellWatchers = { _, changes in
      told += changes.map { "\($0) \($1.container) \($1.binding.hostPorts?.description ?? "")" }
    }
    mapper.handle(lines.map(incoming)) { reply in
      switch reply {
      case .watching(let mappings): told.append("listing of \(mappings.count)")
      case .changed: told.append("ok")
      default: told.append("\(reply)")
      }
    }
    return told
  }

  @Test func aListingComesBeforeTheChangesAfterIt() throws {
    let mapper = try start(kernel.open())
    let watch = #"{"query":"watch"}"#
    #expect(told([network, web(1), watch, stop(1)], mapper) == ["ok", "ok", "listing of 1", "removed c1 8001", "ok"])
  }

  /// Many at once, so that no order is right by chance.
  @Test func whatHasGoneIsToldBeforeWhatHasItsPort() throws {
    let mapper = try start(kernel.open())
    _ = told([network, #"{"query":"watch"}"#] + (1...8).map { web($0) }, mapper)
    let changes = told((1...8).flatMap { [stop($0), web($0 + 10, port: 8000 + $0)] }, mapper).filter { $0 != "ok" }
    #expect(changes == (1...8).map { "removed c\($0) \(8000 + $0)" } + (1...8).map { "added c\($0 + 10) \(8000 + $0)" })
  }

  @Test func onlyWhatIsAnotherMappingIsToldAgain() throws {
    let mapper = try start(kernel.open())
    func container(_ publish: String, name: String = "web") -> String {
      web(1).replacing(#""id":"c1""#, with: #""id":"c1","name":"\#(name)""#).replacing(#""8001:80""#, with: publish)
    }
    _ = told([network, container(#""8001:80","9000-9002:90-92""#), #"{"query":"watch"}"#], mapper)
    func changes(_ line: String) -> [String] { told([line], mapper).filter { $0 != "ok" } }
    #expect(changes(container(#""9000-9002:90-92","8001:80""#)) == [], "in another order")
    #expect(changes(container(#""9000-9003:90-93","8001:80""#)) == ["added c1 9003"])
    #expect(changes(container(#""9000-9003:90-93""#)) == ["removed c1 8001"])
    let restricted = #"{"container_port":"90-93","host_port":"9000-9003","allow_from":["192.0.2.0/24"]}"#
    #expect(changes(container(restricted)) == [], "is not on the wire")
    let ports = 9000...9003
    let all = ports.map { "removed c1 \($0)" } + ports.map { "added c1 \($0)" }
    #expect(changes(container(restricted, name: "www")) == all)
    let renamed = network.replacing(#""id":"n""#, with: #""id":"n","name":"net""#)
    #expect(changes(renamed) == all)
  }

  // MARK: Snapshots

  /// By one that cannot be read, and by the kernel.
  @Test func whatWasRefusedIsNotPruned() throws {
    let mapper = try start(kernel.open())
    let other = network.replacing(#""n""#, with: #""m""#).replacing("br-n", with: "br-m").replacing(
      "172.18", with: "172.19")
    for line in [network, other, web(1), web(2), web(3)] { #expect(isOK(send(line, mapper))) }
    #expect(isOK(send(#"{"event":"snapshot.begin"}"#, mapper)))
    for line in [network, other.replacing("subnets", with: "nets")] { _ = send(line, mapper) }
    guard case .failed(let unreadable) = send(web(1).replacing(":80", with: ":80x"), mapper) else {
      Issue.record("was read")
      return
    }
    #expect(unreadable.code == .badPublish)
    kernel.faults = [.refused(ENOMEM), .refused(ENOMEM)]
    guard case .failed(let refused) = send(web(2, port: 8102), mapper) else {
      Issue.record("was carried out")
      return
    }
    #expect(refused.code == .kernelRefused)
    #expect(isOK(send(#"{"event":"snapshot.end"}"#, mapper)))
    #expect(try store.containerIDs(source: "default") == ["c1", "c2"])
    #expect(try store.networks().map(\.id).sorted() == ["m", "n"])
  }

  // MARK: Undo

  @Test func networksThatExchangedTheirNamesAreSoAgain() throws {
    func network(_ id: String, _ name: String, _ number: Int) -> String {
      #"{"event":"network.create","network":{"id":"\#(id)","name":"\#(name)","bridge":"br-\#(id)","#
        + #""subnets":["172.\#(number).0.0/16"]}}"#
    }
    let mapper = try start(kernel.open())
    let names = (0..<6).map { "x\($0)" }
    for (index, name) in names.enumerated() { #expect(isOK(send(network("n\(index)", name, 20 + index), mapper))) }
    kernel.faults = [.refused(ENOMEM), .refused(ENOMEM)]
    // Each takes the name of the one before it, which has another by then.
    let round = [network("n0", "free", 20)] + (1..<6).map { network("n\($0)", names[$0 - 1], 20 + $0) }
    // Refused together, then carried out one by one.
    #expect(mapper.replies(to: round.map(incoming)).map(isOK) == round.map { _ in true })
    #expect(mapper.failure == nil)
    #expect(try store.networks().sorted { $0.id < $1.id }.map(\.name) == ["free"] + names.dropLast())
  }

  @Test func aRefusedNetworkLeavesNoIntentToForward() throws {
    let (refused, before, carriedOut, after) = try NetworkNamespace().run { () throws in
      let mapper = try start(kernel.open(), ipForward: .enable)
      kernel.faults = [.refused(ENOMEM), .refused(ENOMEM)]
      let (refused, before) = (send(network, mapper), try store.sysctls().map(\.name))
      return (refused, before, send(network, mapper), try store.sysctls().map(\.name))
    }
    #expect(!isOK(refused) && before.isEmpty)
    #expect(isOK(carriedOut) && after.contains("net/ipv4/ip_forward"))
  }

  // MARK: Elsewhere

  /// Nobody would ever end them.
  @Test func withoutAKernelNoFlowsAreStale() throws {
    let mapper = try PortMapper.start(
      Agent.Configuration(), store, kernel: nil, lock: nil, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    )
    for line in [network, web(1).replacing(":80", with: ":80/udp"), stop(1)] { #expect(isOK(send(line, mapper))) }
    #expect(try store.staleFlows().0.isEmpty)
    #expect(!mapper.hasStaleFlows)
  }
}
