import Feed
import Logging
import PortMaps
import Storage

// What each event means. All of it runs inside the round's transaction. A `RequestError` refuses the event and leaves
// nothing of it; thrown before anything is written, as nearly all are, it does not disturb the others of the round.
extension PortMapper {
  func apply(
    _ event: Event, from source: String, on connection: ConnectionID, _ scope: inout Scope
  ) throws -> Reply {
    let snapshot = Snapshot.Key(connection: connection, source: source)
    switch event {
    case .networkCreate(let network):
      return try createNetwork(network, in: snapshot, &scope)
    case .networkRemove(let reference):
      return try removeNetwork(reference, from: source, &scope)
    case .containerStart(let container):
      return try startContainer(container, in: snapshot, &scope)
    case .containerStop(let id, let generation, let reset):
      return try stopContainer(Scope.Key(source: source, id: id), generation, reset: reset, &scope)
    case .containerConnect(let id, let endpoint):
      return try connect(Scope.Key(source: source, id: id), endpoint, &scope)
    case .containerDisconnect(let id, let reference):
      return try change(Scope.Key(source: source, id: id), &scope) { try self.disconnect(&$0, reference) }
    case .containerPublish(let id, let requests):
      return try publish(Scope.Key(source: source, id: id), requests, &scope)
    case .containerUnpublish(let id, let requests):
      return try change(Scope.Key(source: source, id: id), &scope) { container in
        container.publish.removeAll { requests.contains($0) }
      }
    case .snapshotBegin:
      snapshots[source] = Snapshot(connection: connection)
      return try unchanged()
    case .snapshotEnd:
      return try endSnapshot(snapshot, &scope)
    case .reconcile, .maintenanceBegin, .maintenanceEnd: preconditionFailure("never part of a round")
    }
  }

  // MARK: Networks

  private func createNetwork(_ network: Network, in snapshot: Snapshot.Key, _ scope: inout Scope) throws -> Reply {
    if let bridge = network.bridge, ["all", "default", "lo"].contains(bridge) {
      throw RequestError(
        .badRequest, "\"\(bridge)\" is no bridge: net.ipv4.conf.all and .default would change every interface",
        field: "bridge")
    }
    let resolved = try ResolvedNetwork(network, defaultBind: configuration.ip)
    let warnings =
      resolved.options.warnings + networks.warnings(about: network) + host.warnings(about: resolved, configuration)
    let before = networks.byID[network.id]
    if let before {
      // The database compares bytes.
      guard before.network.id.utf8.elementsEqual(network.id.utf8) else {
        throw RequestError(
          .duplicateName,
          "id \"\(network.id)\" has the characters of network \(before.network.name)'s, in another Unicode form: use its id",
          field: "id")
      }
      var same = network
      same.source = before.network.source
      if before.network == same { return try unchanged(warnings: warnings) }
      guard before.network.source == network.source else {
        throw RequestError(
          .notPermitted,
          "network \(network.name) belongs to source \"\(before.network.source)\": source \"\(network.source)\" may attach "
            + "to it but not change it", field: "id")
      }
    }
    try evictStale(rivalOf: network, snapshot, &scope)
    if let rival = networks.rival(of: network) {
      throw RequestError(
        .duplicateName,
        "\(rival.field) \"\(rival.value)\" belongs to network \(rival.network.name) (id \(rival.network.id)) of source "
          + "\"\(rival.network.source)\": remove that network or use another \(rival.field)", field: rival.field)
    }
    try store.record(network)
    networks.set(resolved, id: network.id)
    scope.note(network: network.id, before: before, after: resolved)
    if before != nil {
      for record in try store.containers(on: network.id) { try replace(record, on: network, &scope) }
    }
    try intendForwarding(for: [resolved], &scope)
    for warning in warnings { scope.log(warning, about: ["network": "\(network.name)"]) }
    scope.log(before == nil ? "network created" : "network changed", ["network": "\(network.name)"])
    return .changed(revision: try store.advanceRevision(), ports: nil, warnings: warnings)
  }

  /// Places a running container anew on a network that has changed under it.
  private func replace(_ record: ContainerRecord, on network: Network, _ scope: inout Scope) throws {
    do {
      _ = try place(try attach(record.container), replacing: record, &scope)
    } catch let error as RequestError {
      throw RequestError(
        error.code,
        "network \(network.name) cannot change like this while container \(record.container.name) runs on it: "
          + error.message)
    }
  }

  private func removeNetwork(_ reference: String, from source: String, _ scope: inout Scope) throws -> Reply {
    guard let before = networks[reference] else { return try unchanged() }
    guard before.network.source == source else {
      throw RequestError(
        .notPermitted,
        "network \(before.network.name) belongs to source \"\(before.network.source)\": only that source "
          + "may remove it, not \"\(source)\"", field: "network")
    }
    let attached = try store.containers(on: before.network.id)
    guard attached.isEmpty else {
      let names = attached.prefix(3).map(\.container.name).joined(separator: ", ")
      throw RequestError(
        .networkInUse,
        "network \(before.network.name) is used by \(attached.count) container(s), \(names)"
          + "\(attached.count > 3 ? ", …" : ""): stop or disconnect them first", field: "network")
    }
    try drop(before, &scope)
    return .changed(revision: try store.advanceRevision(), ports: nil, warnings: [])
  }

  /// Precondition: no container is attached.
  func drop(_ network: ResolvedNetwork, _ scope: inout Scope) throws {
    try store.removeNetwork(id: network.network.id)
    networks.set(nil, id: network.network.id)
    scope.note(network: network.network.id, before: network, after: nil)
    scope.log("network removed", ["network": "\(network.network.name)"])
  }

  // MARK: Containers

  private func startContainer(
    _ announced: Container, in snapshot: Snapshot.Key, _ scope: inout Scope
  ) throws -> Reply {
    let container = try attach(announced)
    let before = try store.container(source: container.source, id: container.id)
    if let before {
      // A start that was overtaken by a later one of the same container must not undo it.
      let isStale = container.generation.map { $0 < before.container.generation ?? 0 } ?? false
      if isStale { return try unchanged(before) }
      let isConfirmed = try confirm(before, &scope)
      if before.container == container {
        guard isConfirmed else { return try unchanged(before) }
        scope.note(container: before.key, before: before, after: before)
        return try changed(before)
      }
    }
    let after = try place(container, replacing: before, in: snapshot, &scope)
    scope.log(
      before == nil ? "container started" : "container changed",
      ["container": "\(container.name)", "mappings": "\(after.bindings.count)"])
    return try changed(after)
  }

  private func stopContainer(
    _ key: Scope.Key, _ generation: Int?, reset: Bool, _ scope: inout Scope
  ) throws -> Reply {
    guard let before = try store.container(source: key.source, id: key.id) else { return try unchanged() }
    if let generation, let current = before.container.generation, generation < current { return try unchanged() }
    try drop(before, endsTCP: reset, &scope)
    return .changed(revision: try store.advanceRevision(), ports: nil, warnings: [])
  }

  func drop(_ record: ContainerRecord, endsTCP: Bool = false, _ scope: inout Scope) throws {
    try confirm(record, &scope)
    try store.remove(record)
    try recordStaleFlows(StaleFlows.of(from: record.bindings, to: [], endsTCP: endsTCP), &scope)
    release(record)
    scope.note(container: record.key, before: record, after: nil)
    scope.log("container stopped", ["container": "\(record.container.name)"])
  }

  /// Changes a running container as `body` says.
  private func change(
    _ key: Scope.Key, _ scope: inout Scope, _ body: (inout Container) throws -> Void
  ) throws -> Reply {
    guard let before = try store.container(source: key.source, id: key.id) else {
      throw RequestError(
        .unknownContainer,
        "no container \"\(key.id)\" of source \"\(key.source)\" is running: announce it with "
          + "container.start first", field: "container")
    }
    try confirm(before, &scope)
    var container = before.container
    try body(&container)
    container = try attach(container)
    if container == before.container, scope.confirmed.isEmpty { return try unchanged(before) }
    let after = try place(container, replacing: before, &scope)
    scope.log("container changed", ["container": "\(container.name)", "mappings": "\(after.bindings.count)"])
    return try changed(after)
  }

  private func connect(_ key: Scope.Key, _ endpoint: Endpoint, _ scope: inout Scope) throws -> Reply {
    do {
      return try change(key, &scope) { container in
        let id = networks[endpoint.network]?.network.id ?? endpoint.network
        container.endpoints.removeAll { $0.network == id }
        container.endpoints.append(endpoint)
      }
    } catch let error as RequestError {
      throw error.naming("networks") { _ in "endpoint" }
    }
  }

  private func publish(_ key: Scope.Key, _ requests: [PublishRequest], _ scope: inout Scope) throws -> Reply {
    // Where in `requests` each of the container's has come from.
    var origins: [Int?] = []
    do {
      return try change(key, &scope) { container in
        let new = requests.enumerated().filter { !container.publish.contains($0.element) }
        origins = container.publish.map { _ in nil } + new.map(\.offset)
        container.publish += new.map(\.element)
      }
    } catch let error as RequestError {
      throw error.naming("publish") { index in origins[index].map { "publish[\($0)]" } ?? "publish" }
    }
  }

  private func disconnect(_ container: inout Container, _ reference: String) throws {
    guard let network = networks[reference] else { throw unknownNetwork(reference, field: "network") }
    container.endpoints.removeAll { $0.network == network.network.id }
  }

  // MARK: Replies

  func changed(_ record: ContainerRecord) throws -> Reply {
    .changed(
      revision: try store.advanceRevision(),
      ports: PortListing(bindings: record.bindings, expose: record.container.expose), warnings: record.warnings)
  }

  /// A no-op repeats the current revision.
  func unchanged(_ record: ContainerRecord? = nil, warnings: [Warning] = []) throws -> Reply {
    .changed(
      revision: try store.revision,
      ports: record.map { PortListing(bindings: $0.bindings, expose: $0.container.expose) },
      warnings: record?.warnings ?? warnings)
  }
}

extension Event {
  /// The id or name of what it is about.
  var subject: String? {
    switch self {
    case .networkCreate(let network): network.id
    case .networkRemove(let reference): reference
    case .containerStart(let container): container.id
    case .containerStop(let id, _, _), .containerConnect(let id, _), .containerDisconnect(let id, _),
      .containerPublish(let id, _), .containerUnpublish(let id, _):
      id
    case .snapshotBegin, .snapshotEnd, .reconcile, .maintenanceBegin, .maintenanceEnd: nil
    }
  }

  /// Needs no more space in the database than there is, so that it succeeds on a full disk.
  var removes: Bool {
    switch self {
    case .networkRemove, .containerStop, .containerDisconnect, .containerUnpublish, .snapshotEnd: true
    default: false
    }
  }
}

extension RequestError {
  /// The same fault, where `list[i]` of the container is what the event calls `field(i)`.
  fileprivate func naming(_ list: String, _ field: (Int) -> String) -> RequestError {
    guard let path = self.field, path.hasPrefix("\(list)["), let end = path.firstIndex(of: "]"),
      let index = Int(path[path.index(path.startIndex, offsetBy: list.count + 1)..<end])
    else { return self }
    var error = self
    error.field = field(index) + path[path.index(after: end)...]
    return error
  }
}
