// What a runtime is known to have, and what follows from what it says. No I/O: a recorded stream drives it as a daemon does.
//
// Events are hints. Order and completeness of a runtime's stream cannot be relied on (Docker forgets events of a slow
// reader, repeats others after `since`, says nothing about what happened while it was away), so an event makes us *look at*
// the container, and what it is now is announced. Only a death is believed as it is, for speed and for order: the port of a
// container that died may be another's a moment later. It must be later than the start we know of, else we look.
//
// A snapshot looks at everything. Whatever is refused or cannot be read leads to another snapshot, later.

import Feed
import PortMaps

struct Tracker {
  /// What to ask the daemon about.
  enum Subject: Hashable, Sendable {
    case container(String)
    /// Id or name.
    case network(String)
  }

  enum Action: Equatable, Sendable {
    case look(Subject)
    case announce(Event)
    /// Look at everything again, after a while that grows until a snapshot meets no fault.
    case takeSnapshot
  }

  /// What looking showed.
  enum Finding: Equatable, Sendable {
    case container(RuntimeContainer)
    case network(RuntimeNetwork)
    case gone
    /// The daemon did not answer, or not as it should.
    case unreadable
  }

  private struct Running {
    var startedAt: Int64
    /// It has an endpoint of its own on a network that concerns the agent.
    var isAnnounced: Bool
  }

  let source: String
  /// By id, announced.
  private var networks: [String: Network] = [:]
  /// Name to id, of all networks that are known.
  private var ids: [String: String] = [:]
  /// Ids and names of networks the agent has nothing to do with, or has refused.
  private var foreign: Set<String> = []
  private var containers: [String: Running] = [:]
  private var snapshot = Snapshot.none
  /// Since the snapshot began.
  private(set) var refused = 0

  private enum Snapshot {
    case none
    /// The daemon has been asked for its lists.
    case listing
    /// These have not been looked at yet. An incomplete one must not end: what could not be looked at is not gone.
    case looking(Set<String>, isIncomplete: Bool)
  }

  init(source: String) { self.source = source }

  // MARK: Snapshots

  var isTakingSnapshot: Bool { if case .none = snapshot { false } else { true } }

  /// To be called before the daemon is asked for its lists: what is announced from here on belongs to the snapshot, whether
  /// the lists have it already or not.
  mutating func beginSnapshot() -> [Action] {
    (snapshot, networks, ids, foreign, refused) = (.listing, [:], [:], [], 0)
    return [.announce(.snapshotBegin)]
  }

  /// `running`: ids of the containers the daemon has listed.
  mutating func listed(_ all: [RuntimeNetwork], running: [String]) -> [Action] {
    let gone = containers.keys.filter { !running.contains($0) }.sorted()
    let unseen = running + gone
    snapshot = .looking(Set(unseen), isIncomplete: false)
    return all.flatMap { learn($0) } + unseen.map { .look(.container($0)) } + endSnapshotIfSeen()
  }

  private mutating func endSnapshotIfSeen() -> [Action] {
    guard case .looking(let unseen, let isIncomplete) = snapshot, unseen.isEmpty else { return [] }
    snapshot = .none
    return isIncomplete ? [.takeSnapshot] : [.announce(.snapshotEnd)]
  }

  private mutating func seen(_ id: String, isReadable: Bool = true) -> [Action] {
    guard case .looking(var unseen, let isIncomplete) = snapshot else { return isReadable ? [] : [.takeSnapshot] }
    let isPart = unseen.remove(id) != nil
    snapshot = .looking(unseen, isIncomplete: isIncomplete || !isReadable)
    return isPart || !isReadable ? endSnapshotIfSeen() : []
  }

  // MARK: Events

  mutating func receive(_ event: RuntimeEvent) -> [Action] {
    switch event.kind {
    case .containerStarted(let id): return [.look(.container(id))]
    case .containerDied(let id):
      guard let known = containers[id] else { return [] }
      if event.time <= known.startedAt { return [.look(.container(id))] }
      return forget(id)
    case .containerChanged(let id), .containerReattached(let id):
      // One that does not run has nothing to change; one that starts says so next.
      return containers[id] == nil ? [] : [.look(.container(id))]
    case .networkCreated(let id): return [.look(.network(id))]
    case .networkRemoved(let id):
      guard let network = networks.removeValue(forKey: id) else { return [] }
      ids[network.name] = nil
      return [.announce(.networkRemove(id))]
    case .irrelevant: return []
    }
  }

  private mutating func forget(_ id: String) -> [Action] {
    guard let known = containers.removeValue(forKey: id), known.isAnnounced else { return [] }
    return [.announce(.containerStop(id: id, generation: nil, reset: false))]
  }

  // MARK: Findings

  mutating func found(_ finding: Finding, lookingAt subject: Subject) -> [Action] {
    switch (subject, finding) {
    case (.container(let id), .container(let container)):
      if let actions = lookForNetworks(of: container) { return actions }
      return update(id, container) + seen(id)
    case (.container(let id), .unreadable): return seen(id, isReadable: false)
    case (.container(let id), _): return forget(id) + seen(id)
    case (.network, .network(let network)): return learn(network)
    case (.network(let reference), _):
      foreign.insert(reference)
      return [.takeSnapshot]
    }
  }

  private mutating func learn(_ found: RuntimeNetwork) -> [Action] {
    ids[found.name] = found.id
    guard let network = found.network else {
      foreign.formUnion([found.id, found.name])
      return []
    }
    networks[network.id] = network
    return [.announce(.networkCreate(network))]
  }

  /// Podman 4 says nothing of networks that come; `nil` when all are known.
  private func lookForNetworks(of container: RuntimeContainer) -> [Action]? {
    let unknown = container.attachments.map(\.network).filter {
      networks[$0] == nil && ids[$0] == nil && !foreign.contains($0)
    }
    if unknown.isEmpty { return nil }
    return unknown.map { .look(.network($0)) } + [.look(.container(container.id))]
  }

  private mutating func update(_ id: String, _ container: RuntimeContainer) -> [Action] {
    guard container.isRunning else { return forget(id) }
    let endpoints = container.attachments.compactMap { attachment -> Endpoint? in
      guard let network = networks[attachment.network] ?? ids[attachment.network].flatMap({ networks[$0] }) else {
        return nil
      }
      var endpoint = attachment
      endpoint.network = network.id
      return endpoint
    }
    let left = endpoints.isEmpty ? forget(id) : []
    containers[id] = Running(startedAt: container.startedAt, isAnnounced: !endpoints.isEmpty)
    if endpoints.isEmpty { return left }
    return [
      .announce(
        .containerStart(
          Container(
            source: source, id: id, name: container.name, endpoints: endpoints, publish: container.publish,
            expose: container.expose)))
    ]
  }

  // MARK: Replies

  /// The agent has refused `event`.
  mutating func refused(_ event: Event, _ error: Refusal) -> [Action] {
    refused += 1
    guard case .networkCreate(let network) = event else { return [.takeSnapshot] }
    // Networks of all sources share their names; a second runtime may well have a "web" too.
    let qualified = "\(source)/\(network.name)"
    if error.code == ErrorCode.duplicateName.rawValue, error.field == "name", qualified.utf8.count <= 128,
      !network.name.hasPrefix("\(source)/")
    {
      refused -= 1
      var renamed = network
      renamed.name = qualified
      networks[network.id] = renamed
      return [.announce(.networkCreate(renamed))]
    }
    networks[network.id] = nil
    foreign.formUnion([network.id, network.name])
    return [.takeSnapshot]
  }
}

/// An error reply of the agent.
struct Refusal: Sendable, Equatable {
  var code: String
  var message: String
  var field: String?
}
