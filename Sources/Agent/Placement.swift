import Feed
import Logging
import PortMaps
import Storage

// Where a container gets its networks, its ports and its place in the database.
extension PortMapper {
  /// Replaces network names by ids and checks each endpoint against its network.
  func attach(_ container: Container) throws -> Container {
    var attached = container
    for index in container.endpoints.indices {
      let field = "networks[\(index)]"
      guard let network = networks[container.endpoints[index].network]?.network else {
        throw unknownNetwork(container.endpoints[index].network, field: "\(field).network")
      }
      attached.endpoints[index].network = network.id
      if attached.endpoints[..<index].contains(where: { $0.network == network.id }) {
        throw RequestError(.badRequest, "network \(network.name) is named twice: one endpoint a network", field: field)
      }
      try check(container.endpoints[index], in: network, field: field)
    }
    return attached
  }

  private func check(_ endpoint: Endpoint, in network: Network, field: String) throws {
    guard network.driver == .bridge else { return }
    if endpoint.ipv4 == nil, endpoint.ipv6 == nil {
      throw RequestError(
        .badAddress, "the endpoint on network \(network.name) has no address: give ipv4, ipv6 or both", field: field)
    }
    for family in AddressFamily.allCases {
      guard let address = endpoint.address(family) else { continue }
      guard network.subnets.contains(where: { $0.contains(address) }) else {
        throw RequestError(
          .badAddress,
          "\(family.title) address \(address) is not inside a subnet of network \(network.name): "
            + network.subnets.map(\.description).joined(separator: ", "), field: "\(field).\(family.name)")
      }
    }
  }

  func unknownNetwork(_ reference: String, field: String) -> RequestError {
    RequestError(
      .unknownNetwork, "no network has the id or name \"\(reference)\": announce it with network.create first",
      field: field)
  }

  /// Resolves `container`, takes its ports and records it in place of `before`. Its unchanged ephemeral ports stay.
  func place(
    _ container: Container, replacing before: ContainerRecord?, in snapshot: Snapshot.Key? = nil,
    _ scope: inout Scope
  ) throws -> ContainerRecord {
    if let before { release(before) }
    do {
      var resolution = try resolve(container, replacing: before, in: snapshot, &scope)
      resolution.warnings += warningsAboutUnheldRanges(of: container, resolution.bindings)
      resolution.warnings += host.loopback.warnings(about: resolution.bindings)
      var record = ContainerRecord(
        row: before?.row ?? 0, container: container, bindings: resolution.bindings, warnings: resolution.warnings)
      record.row = try store.record(record, replacing: before)
      try recordStaleFlows(StaleFlows.of(from: before?.bindings ?? [], to: record.bindings), &scope)
      claim(record)
      scope.note(container: record.key, before: before, after: record)
      for warning in record.warnings { scope.log(warning, about: ["container": "\(container.name)"]) }
      return record
    } catch {
      if let before {
        claim(before)
        rehold(before)
      }
      throw error
    }
  }

  func recordStaleFlows(_ flows: [StaleFlows], _ scope: inout Scope) throws {
    // Without a kernel nothing was translated.
    if flows.isEmpty || kernel == nil { return }
    scope.note(firstStaleFlow: try store.recordStaleFlows(flows))
    hasStaleFlows = true
  }

  /// A large range is not held, so an outgoing connection of any program may be given one of its ports.
  private func warningsAboutUnheldRanges(of container: Container, _ bindings: [Binding]) -> [Warning] {
    let policy = configuration.holdPolicy(of: container.source)
    if policy == .none { return [] }
    return container.publish.enumerated().compactMap { index, request in
      guard let ports = request.hostPorts, !policy.holds(rangeOf: ports.count), !request.containerPorts.isSingle,
        bindings.contains(where: { $0.request == index && $0.hostPorts != nil })
      else { return nil }
      readEphemeralPorts()
      guard let first = ports.ports.first(where: ephemeral.contains) else { return nil }
      return Warning(
        .overlapsEphemeralRange,
        "host ports \(ports)/\(request.transport) are not held and overlap the ephemeral ports \(ephemeral.range) from "
          + "\(first) on: put them into net.ipv4.ip_local_reserved_ports, or set hold_ports = \"all\"")
    }
  }

  private func resolve(
    _ container: Container, replacing before: ContainerRecord?, in snapshot: Snapshot.Key?, _ scope: inout Scope
  ) throws -> Resolution {
    let attached = try container.endpoints.map { endpoint in
      guard let network = networks.byID[endpoint.network] else {
        throw unknownNetwork(endpoint.network, field: "networks")
      }
      return network
    }
    if container.mayNeedEphemeralPorts { readEphemeralPorts() }
    while true {
      do {
        return try PortMaps.resolve(
          container, on: attached, previous: before?.bindings ?? [], ephemeral: &ephemeral,
          hostPorts: hostPorts(for: container, &scope))
      } catch {
        guard [.portAlreadyAllocated, .portsExhausted].contains(error.code),
          try evictStale(ownersOfPortsOf: container, snapshot, &scope)
        else { throw error }
      }
    }
  }

  private func hostPorts(for container: Container, _ scope: inout Scope) -> HostPorts {
    let policy = configuration.holdPolicy(of: container.source)
    let (held, journal) = (self.held, scope.journal)
    var busy: Set<UInt16>?
    return HostPorts(
      owner: { [table, store] port in
        table.owner(of: port).map { row in { Self.name(ofRow: row, port, in: store) } }
      },
      hold: { [table] port, size in
        if policy == .none { return .taken(held.note(ifNotLocal: port)) }
        if held.isTaken(port) { return .taken(held.waiting[port]?.note) }
        let keeping = policy.holds(rangeOf: size)
        if !keeping, port.transport == .udp, held.note(ifNotLocal: port) == nil {
          // One look for a large range instead of a socket for each port of it.
          let ports = busy ?? PortHolder.udpPorts()
          busy = ports
          if !ports.contains(port.port) { return .taken(nil) }
        }
        var outcome = held.hold(port, keeping: keeping)
        if case .inUse = outcome {
          // A port that this round has freed keeps its socket until the kernel has the round, unless it is in the way.
          let freed = held.overlapping(port).filter { table.owner(of: $0) == nil && !journal.held.contains($0) }
          for port in freed { held.release(port) }
          if !freed.isEmpty { outcome = held.hold(port, keeping: keeping) }
        }
        if held.isTaken(port) { journal.held.append(port) }
        return outcome
      },
      release: { port in
        guard let index = journal.held.lastIndex(of: port) else { return }
        journal.held.remove(at: index)
        held.release(port)
      })
  }

  private static func name(ofRow row: Int64, _ port: HostPort, in store: Store) -> String {
    do {
      return try store.owner(of: port).map { "\"\($0.name)\" (id \($0.id), source \"\($0.source)\")" }
        ?? "number \(row)"
    } catch {
      return "number \(row) (its name could not be read: \(error))"
    }
  }
}

extension Container {
  var mayNeedEphemeralPorts: Bool { publishAll || publish.contains { $0.hostPorts == nil } }
}
