import Feed
import PortMaps
import TestSupport
import Testing

@testable import Runtimes

/// What follows from what a runtime says.
@Suite struct TrackerTests {
  private typealias Action = Tracker.Action

  private static let network = Network(
    source: "docker", id: "n1", name: "net", bridge: "br0", subnets: ["192.0.2.0/24"])
  private static let known = RuntimeNetwork(id: "n1", name: "net", network: network)

  private static func container(
    _ id: String = "c1", on networks: [String] = ["n1"], startedAt: Int64 = 100, isRunning: Bool = true
  ) -> RuntimeContainer {
    RuntimeContainer(
      id: id, name: id, isRunning: isRunning, startedAt: startedAt,
      attachments: networks.map { Endpoint(network: $0, ipv4: "192.0.2.2") })
  }

  private static func announcement(_ id: String = "c1", on networks: [String] = ["n1"]) -> Action {
    .announce(
      .containerStart(
        Container(
          source: "docker", id: id, name: id, endpoints: networks.map { Endpoint(network: $0, ipv4: "192.0.2.2") })))
  }

  private static func event(_ kind: RuntimeEvent.Kind, at time: Int64 = 200) throws -> RuntimeEvent {
    var event = try RuntimeEvent(parsing: Array("{}".utf8))
    (event.kind, event.time) = (kind, time)
    return event
  }

  private static let stop = Action.announce(.containerStop(id: "c1", generation: nil, reset: false))
  private static let look = Action.look(.container("c1"))

  /// Knows the network and, running since 100, the container.
  private static func following() -> Tracker {
    var tracker = Tracker(source: "docker")
    _ = tracker.beginSnapshot()
    _ = tracker.listed([known], running: ["c1"])
    #expect(
      tracker.found(.container(container()), lookingAt: .container("c1"))
        == [announcement(), .announce(.snapshotEnd)])
    return tracker
  }

  @Test func aSnapshotEndsWhenEverythingWasSeen() {
    var tracker = Tracker(source: "docker")
    #expect(tracker.beginSnapshot() == [.announce(.snapshotBegin)])
    #expect(
      tracker.listed([Self.known], running: ["c1", "c2"])
        == [.announce(.networkCreate(Self.network)), Self.look, .look(.container("c2"))])
    #expect(tracker.found(.container(Self.container()), lookingAt: .container("c1")) == [Self.announcement()])
    #expect(tracker.isTakingSnapshot)
    #expect(tracker.found(.gone, lookingAt: .container("c2")) == [.announce(.snapshotEnd)])
    #expect(!tracker.isTakingSnapshot)
  }

  @Test func anEmptyWorldIsASnapshotToo() {
    var tracker = Tracker(source: "docker")
    _ = tracker.beginSnapshot()
    #expect(tracker.listed([], running: []) == [.announce(.snapshotEnd)])
  }

  /// What could not be looked at must not be taken for gone.
  @Test(arguments: [true, false]) func anIncompleteSnapshotDoesNotEnd(_ isListComplete: Bool) {
    var tracker = Tracker(source: "docker")
    _ = tracker.beginSnapshot()
    _ = tracker.listed([Self.known], running: ["c1"], isComplete: isListComplete)
    let finding: Tracker.Finding = isListComplete ? .unreadable : .container(Self.container())
    let actions = tracker.found(finding, lookingAt: .container("c1"))
    #expect(actions.contains(.takeSnapshot))
    #expect(!actions.contains(.announce(.snapshotEnd)))
    #expect(!tracker.isTakingSnapshot)
  }

  /// It was in no list and not looked at again: it ended between two snapshots, or during one.
  @Test func whatIsInNoListIsLookedAt() {
    var tracker = Self.following()
    _ = tracker.beginSnapshot()
    #expect(tracker.listed([Self.known], running: []) == [.announce(.networkCreate(Self.network)), Self.look])
    #expect(tracker.found(.gone, lookingAt: .container("c1")) == [Self.stop, .announce(.snapshotEnd)])
  }

  @Test func aDeathLaterThanTheStartIsBelieved() throws {
    var tracker = Self.following()
    #expect(try tracker.receive(Self.event(.containerDied("c1"), at: 101)) == [Self.stop])
    #expect(try tracker.receive(Self.event(.containerDied("c1"), at: 102)) == [.distrust(.container("c1"))])
  }

  /// A repeated or overtaken event: the container has been started again since.
  @Test func anOlderDeathIsNot() throws {
    var tracker = Self.following()
    #expect(try tracker.receive(Self.event(.containerDied("c1"), at: 100)) == [Self.look])
    #expect(tracker.found(.container(Self.container()), lookingAt: .container("c1")) == [Self.announcement()])
  }

  @Test func whatRunsNoMoreIsStopped() {
    for finding in [
      Tracker.Finding.gone, .container(Self.container(isRunning: false)), .container(Self.container(on: [])),
    ] {
      var tracker = Self.following()
      #expect(tracker.found(finding, lookingAt: .container("c1")) == [Self.stop])
      #expect(tracker.found(finding, lookingAt: .container("c1")) == [])
    }
  }

  @Test func changesConcernOnlyWhatRuns() throws {
    var tracker = Self.following()
    for kind in [RuntimeEvent.Kind.containerChanged("c1"), .containerReattached("c1"), .containerStarted("c1")] {
      #expect(try tracker.receive(Self.event(kind)) == [Self.look])
    }
    // Docker reattaches a container before it starts; asking then would wait for the start.
    #expect(try tracker.receive(Self.event(.containerReattached("c2"))) == [.distrust(.container("c2"))])
    #expect(try tracker.receive(Self.event(.containerStarted("c2"))) == [.look(.container("c2"))])
    #expect(try tracker.receive(Self.event(.irrelevant)) == [])
  }

  @Test func anUnknownNetworkIsLookedAtFirst() {
    var tracker = Tracker(source: "docker")
    #expect(
      tracker.found(.container(Self.container(on: ["net"])), lookingAt: .container("c1"))
        == [.look(.network("net")), Self.look])
    #expect(
      tracker.found(.network(Self.known), lookingAt: .network("net")) == [.announce(.networkCreate(Self.network))])
    // The runtime calls it by its name, the feed by its id.
    #expect(
      tracker.found(.container(Self.container(on: ["net"])), lookingAt: .container("c1")) == [Self.announcement()])
  }

  @Test func foreignNetworksAreLeftOut() {
    var tracker = Self.following()
    #expect(
      tracker.found(
        .network(RuntimeNetwork(id: "n2", name: "overlay", network: nil)), lookingAt: .network("n2")) == [])
    #expect(
      tracker.found(.container(Self.container(on: ["n1", "n2"])), lookingAt: .container("c1")) == [Self.announcement()])
    #expect(tracker.found(.container(Self.container(on: ["n2"])), lookingAt: .container("c1")) == [Self.stop])
    // It still runs: when it joins a network of ours, that is looked at.
    #expect(tracker.found(.container(Self.container()), lookingAt: .container("c1")) == [Self.announcement()])
  }

  @Test func networksComeAndGo() throws {
    var tracker = Self.following()
    #expect(try tracker.receive(Self.event(.networkCreated("n2"))) == [.look(.network("n2"))])
    #expect(try tracker.receive(Self.event(.networkRemoved("n1"))) == [.announce(.networkRemove("n1"))])
    #expect(try tracker.receive(Self.event(.networkRemoved("n1"))) == [.distrust(.network("n1"))])
    _ = tracker.beginSnapshot()
    // The list that the daemon is making may still have it.
    #expect(try tracker.receive(Self.event(.networkRemoved("n9"))) == [.takeSnapshot])
  }

  @Test func aNameThatAnotherSourceHasIsQualified() {
    var tracker = Self.following()
    let taken = Refusal(code: "duplicate-name", message: "", field: "name")
    // It may be one of our own that has gone, which a snapshot removes.
    #expect(tracker.refused(.networkCreate(Self.network), taken) == [.takeSnapshot])
    _ = tracker.beginSnapshot()
    _ = tracker.listed([Self.known], running: ["c1"])
    var renamed = Self.network
    renamed.name = "docker/net"
    #expect(tracker.refused(.networkCreate(Self.network), taken) == [.announce(.networkCreate(renamed))])
    #expect(tracker.refused == 0)
    #expect(tracker.refused(.networkCreate(renamed), taken) == [.takeSnapshot])
    #expect(tracker.refused == 1)
  }

  @Test func whatIsRefusedIsTriedAgainLater() {
    var tracker = Self.following()
    let refusal = Refusal(code: "bad-option", message: "")
    #expect(tracker.refused(.containerStop(id: "c1", generation: nil, reset: false), refusal) == [.takeSnapshot])
    #expect(tracker.refused(.networkCreate(Self.network), refusal) == [.takeSnapshot])
    // A network that was refused is as good as foreign until then.
    #expect(tracker.found(.container(Self.container()), lookingAt: .container("c1")) == [Self.stop])
    #expect(tracker.refused == 2)
    _ = tracker.beginSnapshot()
    #expect(tracker.refused == 0)
  }
}
