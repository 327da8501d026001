import Feed
import PortMaps

@testable import Agent

/// What the agent has promised: every change it acknowledged, and nothing else.
struct Model {
  struct Announced {
    var connection: ConnectionID
    var networks: Set<String> = []
    var containers: Set<String> = []
  }

  var networks: [String: Network] = [:]
  var containers: [Scope.Key: Container] = [:]
  var revision = 0
  private(set) var snapshots: [String: Announced] = [:]
  /// By source, of the snapshots that were open since the last check, what they had announced by then: anything else may
  /// have gone.
  private var evicting: [String: Announced] = [:]

  /// What else a container may be since the last check: no reply tells of an eviction before any of the events about it, nor of
  /// one that gave a network's name to another.
  private var otherwise: [Scope.Key: [Container?]] = [:]
  /// The same of networks: one that a snapshot has evicted is free for another source.
  private var otherNetworks: [String: [Network]] = [:]

  mutating func connectionsClosed() { (snapshots, evicting) = ([:], [:]) }
  mutating func checked() { (evicting, otherwise, otherNetworks) = (snapshots, [:], [:]) }

  /// Takes `container` for what is promised, if it can be.
  mutating func accepts(_ container: Container, _ key: Scope.Key) -> Bool {
    if containers[key] == container { return true }
    guard otherwise[key, default: []].contains(container) else { return false }
    containers[key] = container
    return true
  }

  mutating func accepts(_ network: Network) -> Bool {
    if networks[network.id] == network { return true }
    guard otherNetworks[network.id, default: []].contains(network) else { return false }
    networks[network.id] = network
    return true
  }

  func mayBeEvicted(_ key: Scope.Key) -> Bool { evicting[key.source].map { !$0.containers.contains(key.id) } ?? false }
  func mayBeEvicted(_ network: Network) -> Bool {
    ([network] + otherNetworks[network.id, default: []]).contains { network in
      evicting[network.source].map { !$0.networks.contains(network.id) } ?? false
    }
  }

  /// More than one where a network that may have been evicted has the name, too.
  private func networkIDs(_ reference: String) -> [String] {
    if networks[reference] != nil { return [reference] }
    let named = Set(
      (Array(networks.values) + otherNetworks.values.joined()).filter { $0.name == reference }.map(\.id))
    return named.isEmpty ? [reference] : named.sorted()
  }

  // MARK: What was answered

  mutating func take(_ event: Event, _ source: String, _ connection: ConnectionID, _ reply: Reply) {
    switch reply {
    case .changed(let revision, _, _):
      self.revision = max(self.revision, revision)
      let wasEvicted = event.container(source).map(mayBeEvicted) ?? false
      announce(event, source)
      acknowledged(event, source, connection, wasEvicted: wasEvicted)
    case .failed: announce(event, source)
    default: break
    }
  }

  /// Announced is announced, though it be refused.
  private mutating func announce(_ event: Event, _ source: String) {
    switch event {
    case .networkCreate(let network): snapshots[source]?.networks.insert(network.id)
    case .containerStart(let container): snapshots[source]?.containers.insert(container.id)
    default: break
    }
  }

  private mutating func acknowledged(
    _ event: Event, _ source: String, _ connection: ConnectionID, wasEvicted: Bool
  ) {
    switch event {
    case .networkCreate(let network):
      let before = networks[network.id]
      let gone: [Network?] = before.map(mayBeEvicted) ?? false ? [nil] : []
      let states = ([before] + otherNetworks[network.id, default: []] + gone)
        .compactMap { network.acknowledged(over: $0) }
      networks[network.id] = states.first ?? network
      otherNetworks[network.id] = Array(states.dropFirst())
    case .networkRemove(let reference):
      let id = networkIDs(reference)[0]
      (networks[id], otherNetworks[id]) = (nil, nil)
    case .snapshotBegin:
      snapshots[source] = Announced(connection: connection)
      evicting[source] = Announced(connection: connection)
    case .snapshotEnd: prune(source)
    case .reconcile: break
    default:
      guard let key = event.container(source) else { return }
      let states = event.states(after: containers[key], networkIDs)
      containers[key] = states[0]
      let others = (otherwise[key] ?? []) + (wasEvicted ? [nil] : [])
      let all = states.dropFirst() + others.flatMap { event.states(after: $0, networkIDs) }
      otherwise[key] = Array(Set(all))
    }
  }

  private mutating func prune(_ source: String) {
    guard let announced = snapshots.removeValue(forKey: source) else { return }
    containers = containers.filter { $0.key.source != source || announced.containers.contains($0.key.id) }
    let used = Set(containers.values.flatMap(\.networks))
    let perhapsUsed = Set(otherwise.values.joined().compactMap(\.self).flatMap(\.networks))
    for (id, network) in networks
    where network.source == source && !announced.networks.contains(id) && !used.contains(id) {
      networks[id] = nil
      if perhapsUsed.contains(id) { otherNetworks[id, default: []].append(network) }
    }
  }
}

extension Container {
  fileprivate var networks: [String] { endpoints.map(\.network) }
}

extension Network {
  /// What is stored once it was acknowledged where there was `before`; `nil` where it would have been refused.
  fileprivate func acknowledged(over before: Network?) -> Network? {
    guard let before, before.source != source else { return self }
    // Another source may attach to it and not change it.
    var same = self
    same.source = before.source
    return same == before ? before : nil
  }
}

extension Event {
  /// The container it is about.
  func container(_ source: String) -> Scope.Key? {
    switch self {
    case .containerStart(let container): Scope.Key(source: source, id: container.id)
    case .containerStop(let id, _, _), .containerConnect(let id, _), .containerDisconnect(let id, _),
      .containerPublish(let id, _), .containerUnpublish(let id, _):
      Scope.Key(source: source, id: id)
    default: nil
    }
  }

  /// What it may make of a container, carried out: one state, or more where `ids` cannot tell which network is meant.
  func states(after state: Container?, _ ids: (String) -> [String]) -> [Container?] {
    switch self {
    case .containerStart(let new):
      if let old = state?.generation ?? (state == nil ? nil : 0), let generation = new.generation, generation < old {
        return [state]
      }
      var states = [new]
      for (index, endpoint) in new.endpoints.enumerated() {
        states = states.flatMap { state in
          ids(endpoint.network).map { id in
            var attached = state
            attached.endpoints[index].network = id
            return attached
          }
        }
      }
      return states
    case .containerStop(_, let generation, _):
      if let generation, let current = state?.generation, generation < current { return [state] }
      return [nil]
    case .containerConnect(_, let endpoint):
      return ids(endpoint.network).map { id in
        var changed = state
        changed?.endpoints.removeAll { $0.network == id }
        changed?.endpoints.append(
          Endpoint(network: id, ipv4: endpoint.ipv4, ipv6: endpoint.ipv6, gatewayPriority: endpoint.gatewayPriority))
        return changed
      }
    case .containerDisconnect(_, let reference):
      return ids(reference).map { id in
        var changed = state
        changed?.endpoints.removeAll { $0.network == id }
        return changed
      }
    case .containerPublish(_, let requests):
      var changed = state
      if let before = state { changed?.publish += requests.filter { !before.publish.contains($0) } }
      return [changed]
    case .containerUnpublish(_, let requests):
      var changed = state
      changed?.publish.removeAll { requests.contains($0) }
      return [changed]
    default: return [state]
    }
  }
}
