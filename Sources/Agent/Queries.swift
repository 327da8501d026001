import Feed
import Logging
import Netfilter
import PortMaps
import Runtimes
import Storage

extension PortMapper {
  func answer(_ query: Query, of connection: ConnectionID) -> Reply {
    do {
      switch query {
      case .hello:
        return .hello(
          Hello(agent: "pmagent", version: Version.current, revision: try store.revision, bootID: Version.bootID))
      case .list(let filter): return .mappings(try store.mappings(filter, networks, states: states))
      case .watch:
        let mappings = try store.mappings(MappingFilter(), networks, states: states)
        watchers.insert(connection)
        return .watching(mappings)
      case .networks: return .networks(try store.describe(networks))
      case .inspect(let reference): return .inspect(try store.inspect(reference))
      case .status: return .status(try status())
      }
    } catch let error as RequestError {
      return .failed(error)
    } catch {
      log.error("could not read the database", metadata: ["error": "\(error)"])
      return .failed(RequestError(.storageFailed, "the database could not be read: \(error)"))
    }
  }

  /// The binding in parts that have one state each.
  func states(_ binding: Binding, of record: ContainerRecord) -> [(binding: Binding, state: Mapping.State)] {
    awaiting.contains(record.row) ? [(binding, record.awaitingState)] : held.states(of: binding)
  }

  private func status() throws -> Status {
    let counts = try store.counts()
    var degraded: [Status.Degradation] = []
    var inSync = true
    var generation: UInt32?
    do {
      inSync = try kernelAgrees()
      generation = try kernel?.generation()
      if !inSync {
        degraded.append(
          .init(code: "not-in-sync", message: "the kernel's table is not what is stored: run pmagent reconcile"))
      }
    } catch {
      inSync = false
      degraded.append(.init(code: "kernel-unreadable", message: "the kernel's table could not be read: \(error)"))
    }
    if !administrators.isEmpty {
      degraded.append(
        .init(code: "maintenance", message: "the table is left to an administrator; pmagent maintenance is running"))
    }
    degraded += try awaitingReasons()
    if let reason = host.loopback.unsupported, networks.all.contains(where: \.isBehindLoopback) {
      degraded.append(
        .init(
          code: Warning.Code.ipv6LoopbackUnsupported.rawValue,
          message: "ports published on ::1 reach nothing: \(reason)"))
    }
    degraded += try missingBridgeReasons()
    if kernel != nil { degraded += host.closedForwarding(for: networks.all, configuration) }
    degraded += held.degradations
    return Status(
      inSync: inSync, mappings: counts.mappings, containers: counts.containers, networks: counts.networks,
      revision: try store.revision, generation: generation, degraded: degraded,
      extra: [
        ("held_ports", .integer(Int64(held.count))),
        ("descriptor_limit", .integer(Int64(descriptorLimit()))),
        ("firewall", .bool(kernel != nil)),
        ("owner", .bool(kernel?.ownership == .owned)),
        ("sources", .array(try sources())),
      ])
  }

  /// Every feed that has something stored, has sent a snapshot, or is a runtime that is followed. Ages and durations are
  /// integers in the unit their names end in.
  private func sources() throws -> [JSON] {
    let now = WallClock.now()
    let names = Set(try store.sources()).union(lastSnapshots.keys).union(runtimes.map(\.socket.name))
    return names.sorted().map { name in
      var fields: [(key: String, value: JSON)] = [
        ("name", .string(name)),
        ("snapshot_age_ms", lastSnapshots[name].map { .integer((now - $0) / 1_000_000) } ?? .null),
      ]
      if let runtime = runtimes.first(where: { $0.socket.name == name }) { fields += runtime.fields(now) }
      return .object(fields)
    }
  }
}

extension ContainerRecord {
  /// Of all its mappings, while it waits to be announced.
  var awaitingState: Mapping.State {
    .pending(reason: "source \"\(container.source)\" has not announced the container since the host booted")
  }
}

func mapping(
  _ binding: Binding, of record: ContainerRecord, _ networks: Networks, state: Mapping.State
) -> Mapping {
  Mapping(
    container: record.container.id, name: record.container.name,
    network: networks.byID[binding.network]?.network.name ?? binding.network, binding: binding, state: state)
}

// What can be answered from the database alone, so that the commands work while the agent is down.
extension Store {
  func mappings(
    _ filter: MappingFilter, _ networks: Networks,
    states: (Binding, ContainerRecord) -> [(binding: Binding, state: Mapping.State)]
  ) throws -> [Mapping] {
    var mappings: [Mapping] = []
    func add(_ record: ContainerRecord) {
      for binding in record.bindings {
        guard let part = binding.part(matching: filter, networks) else { continue }
        for (part, state) in states(part, record) {
          mappings.append(mapping(part, of: record, networks, state: state))
        }
      }
    }
    if let reference = filter.container {
      for record in try containers(named: reference) { add(record) }
    } else {
      try forEachContainer(.bindings, add)
    }
    return mappings
  }

  func describe(_ networks: Networks) throws -> [NetworkDescription] {
    try networks.all.map { resolved in
      let network = resolved.network
      let isPublished = resolved.isFiltered && !network.isInternal
      func mode(_ family: AddressFamily) -> GatewayMode? {
        let mode = resolved.options.mode(family)
        return network.has(family) && (isPublished || mode == .isolated) ? mode : nil
      }
      return NetworkDescription(
        network: network, gatewayModeIPv4: mode(.ipv4), gatewayModeIPv6: mode(.ipv6),
        defaultBind: isPublished ? resolved.options.defaultBind : nil,
        containers: try containerCount(on: network.id))
    }
  }

  func inspect(_ reference: String) throws -> Inspection {
    let record = try container(matching: reference)
    return Inspection(
      container: record.container,
      ports: PortListing(bindings: record.bindings, expose: record.container.expose), warnings: record.warnings)
  }

  /// By id, by name, or by a prefix that only one container has. Fails with `unknown-container`.
  func container(matching reference: String) throws -> ContainerRecord {
    let found = try containers(named: reference, limit: Store.candidateLimit)
    guard let record = found.first else {
      throw RequestError(
        .unknownContainer, "no container has the id, name or prefix \"\(reference)\"", field: "container")
    }
    guard found.count == 1 else {
      let names = found.prefix(5).map { "\($0.container.source)/\($0.container.id) (\($0.container.name))" }
      throw RequestError(
        .unknownContainer,
        "\"\(reference)\" could be \(found.count) containers: \(names.joined(separator: ", "))"
          + "\(found.count > 5 ? ", …" : ""): write more of it, or one of these with its source",
        field: "container")
    }
    return record
  }
}

extension Binding {
  /// The part of the run that `filter` asks for, `nil` when there is none.
  fileprivate func part(matching filter: MappingFilter, _ networks: Networks) -> Binding? {
    if let transport = filter.transport, transport != self.transport { return nil }
    if let reference = filter.network, networks[reference]?.network.id != network { return nil }
    guard let port = filter.hostPort else { return self }
    guard let hostPorts, hostPorts.ports.contains(port) else { return nil }
    return part(from: Int(port - hostPorts.first), count: 1)
  }
}

extension RuntimeHealth {
  fileprivate func fields(_ now: Int64) -> [(key: String, value: JSON)] {
    let state = current
    return [
      ("follows", .string("unix://\(socket.path)")), ("runtime", state.runtime.map { .string($0) } ?? .null),
      ("connected", .bool(state.isConnected)), ("since_ms", .integer((now - state.since) / 1_000_000)),
      ("events", .integer(Int64(state.events))), ("lag_us", state.lag.map { .integer($0 / 1000) } ?? .null),
      ("start_to_live_us", state.startToLive.map { .integer($0 / 1000) } ?? .null),
      ("problem", state.problem.map { .string($0) } ?? .null),
    ]
  }
}
