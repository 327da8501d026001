import Feed
import Logging
import PortMaps
import Storage

// What watchers are told: of each mapping, which is one container port of one family, what of it is on the wire.
extension PortMapper {
  /// What a round did to mappings. What has gone comes before what is new: another container may have its host port now.
  func changes(of scope: Scope) -> [(Change, Mapping)] {
    var networksBefore = networks
    for (id, change) in scope.networks { networksBefore.set(change.before, id: id) }
    var (removed, changed, added): ([Mapping], [Mapping], [Mapping]) = ([], [], [])
    for change in scope.containers.values.sorted(by: { $0.row < $1.row }) {
      let old = change.before.map { mappings($0.bindings, of: $0, networksBefore) } ?? []
      let new = change.after.map { mappings($0.bindings, of: $0, networks) } ?? []
      guard !old.isEmpty, !new.isEmpty else {
        removed += old
        added += new
        continue
      }
      let (oldPorts, newPorts) = (Set(old.flatMap(\.identities)), Set(new.flatMap(\.identities)))
      removed += old.flatMap(\.ports).filter { !newPorts.contains($0.identity) }
      added += new.flatMap(\.ports).filter { !oldPorts.contains($0.identity) }
      if let after = change.after, scope.confirmed.contains(after.row) {
        changed += new.flatMap(\.ports).filter { oldPorts.contains($0.identity) }
      }
    }
    return removed.map { (.removed, $0) } + changed.map { (.changed, $0) } + added.map { (.added, $0) }
  }

  private func mappings(
    _ bindings: [Binding], of record: ContainerRecord, _ networks: Networks
  ) -> [Mapping] {
    bindings.flatMap { states($0, of: record) }.map { mapping($0.binding, of: record, networks, state: $0.state) }
  }

  /// Tells the log and the watchers of mappings whose state changed without an event: those of `ports`, and all that are
  /// published on one of `addresses`.
  func report(_ ports: [HostPort], on addresses: Set<IPAddress> = []) {
    for run in ports.inRuns {
      log.notice("state of held ports changed", metadata: ["ports": "\(run)"])
    }
    guard !watchers.isEmpty else { return }
    do {
      let records = try store.containers(
        inRows: Set(ports.compactMap { table.owner(of: $0) }), orPublishingOn: addresses)
      let ports = Set(ports)
      var changed: [Mapping] = []
      for record in records {
        for binding in record.bindings {
          let parts =
            addresses.contains(binding.hostAddress)
            ? [binding]
            : binding.allHostPorts.enumerated().filter { ports.contains($0.element) }
              .map { binding.part(from: $0.offset, count: 1) }
          changed += mappings(parts, of: record, networks)
        }
      }
      if !changed.isEmpty { tellWatchers(Array(watchers), changed.map { (.changed, $0) }) }
    } catch {
      log.error("could not read whose state has changed", metadata: ["error": "\(error)"])
    }
  }
}

extension Scope.Change<ContainerRecord> {
  fileprivate var row: Int64 { (before ?? after)?.row ?? 0 }
}

extension Mapping {
  /// Its ports, each by itself.
  fileprivate var ports: [Mapping] {
    (0..<binding.containerPorts.count).map { offset in
      var port = self
      port.binding = binding.part(from: offset, count: 1)
      return port
    }
  }

  /// What makes a mapping another one for those who are told of it: not its state, nor what is not on the wire.
  fileprivate var identity: Mapping {
    var identity = self
    (identity.state, identity.binding.request, identity.binding.allowFrom) = (.live, nil, [])
    return identity
  }

  fileprivate var identities: [Mapping] { identity.ports }
}

extension [HostPort] {
  /// As text, consecutive ones together.
  fileprivate var inRuns: [String] {
    sorted { ($0.transport, $0.address, $0.port) < ($1.transport, $1.address, $1.port) }
      .chunked { $0.address == $1.address && $0.transport == $1.transport && $0.port + 1 == $1.port }
      .compactMap { run in run.first.flatMap { first in run.last.map { first.description(through: $0.port) } } }
  }
}
