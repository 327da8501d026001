import Feed
import Logging
import PortMaps
import Runtimes
import Storage

/// What a source has announced since its `snapshot.begin` on one connection.
///
/// Every line in between takes effect at once, as its reply says; only the removal of what was *not* announced waits for
/// `snapshot.end`, so that a connection that breaks prunes nothing. One thing cannot wait: where an announced container
/// or network needs what a stale one of the same source still has (its host port, its name, its bridge), the stale one
/// goes first. The source's world cannot contain both.
///
/// A source has one snapshot at a time: a new `snapshot.begin`, on whatever connection, replaces the one before. What the
/// source announces meanwhile on another connection counts as announced.
struct Snapshot {
  struct Key: Hashable {
    var connection: ConnectionID
    var source: String
  }
  let connection: ConnectionID
  var networks: Set<String> = []
  var containers: Set<String> = []
}

extension PortMapper {
  func endSnapshot(_ key: Snapshot.Key, _ scope: inout Scope) throws -> Reply {
    guard let snapshot = open(key) else {
      throw RequestError(
        .badRequest, "snapshot.end without snapshot.begin of source \"\(key.source)\" on this connection",
        field: "event")
    }
    snapshots[key.source] = nil
    lastSnapshots[key.source] = WallClock.now()
    var pruned = 0
    for id in try store.containerIDs(source: key.source) where !snapshot.containers.contains(id) {
      guard let record = try store.container(source: key.source, id: id) else { continue }
      try drop(record, &scope)
      pruned += 1
    }
    for network in networks.all
    where network.network.source == key.source && !snapshot.networks.contains(network.network.id) {
      guard try store.containers(on: network.network.id).isEmpty else { continue }
      try drop(network, &scope)
      pruned += 1
    }
    scope.log(
      "snapshot complete",
      [
        "source": "\(key.source)", "containers": "\(snapshot.containers.count)",
        "networks": "\(snapshot.networks.count)", "pruned": "\(pruned)",
      ])
    return pruned == 0
      ? try unchanged() : .changed(revision: try store.advanceRevision(), ports: nil, warnings: [])
  }

  /// Removes a network of the snapshot's source, not announced yet, that has the name or bridge of `network`.
  func evictStale(rivalOf network: Network, _ key: Snapshot.Key, _ scope: inout Scope) throws {
    guard let snapshot = open(key) else { return }
    while let rival = networks.rival(of: network)?.network, rival.source == key.source,
      !snapshot.networks.contains(rival.id), let resolved = networks.byID[rival.id]
    {
      let attached = try store.containers(on: rival.id)
      guard attached.allSatisfy({ isStale($0, key, snapshot) }) else { return }
      for record in attached { try drop(record, &scope) }
      try drop(resolved, &scope)
    }
  }

  /// Removes the containers of the snapshot's source, not announced yet, that own a host port `container` asks for by
  /// number. Returns whether one was removed.
  func evictStale(
    ownersOfPortsOf container: Container, _ key: Snapshot.Key?, _ scope: inout Scope
  ) throws -> Bool {
    guard let key, let snapshot = open(key) else { return false }
    for request in container.publish {
      for port in request.hostPorts.map({ Array($0.ports) }) ?? [] {
        for address in request.hostAddress.map({ [$0] }) ?? [.any(.ipv4), .any(.ipv6)] {
          let port = HostPort(address, request.transport, port)
          guard table.owner(of: port) != nil, let owner = try store.owner(of: port), owner.source == key.source,
            let record = try store.container(source: owner.source, id: owner.id), isStale(record, key, snapshot)
          else { continue }
          try drop(record, &scope)
          return true
        }
      }
    }
    return false
  }

  /// Announced is announced, even when it is refused: what runs is not pruned for an error of ours or theirs.
  func noteAnnounced(by incoming: Incoming) {
    guard let announced = incoming.decoded.announcement else { return }
    switch announced.kind {
    case .network: snapshots[announced.source]?.networks.insert(announced.id)
    case .container: snapshots[announced.source]?.containers.insert(announced.id)
    }
  }

  private func open(_ key: Snapshot.Key) -> Snapshot? {
    snapshots[key.source].flatMap { $0.connection == key.connection ? $0 : nil }
  }

  private func isStale(_ record: ContainerRecord, _ key: Snapshot.Key, _ snapshot: Snapshot) -> Bool {
    record.container.source == key.source && !snapshot.containers.contains(record.container.id)
  }
}
