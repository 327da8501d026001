/// What the operator should know of a host port. Said once of consecutive ports.
package struct PortNote: Sendable, Hashable {
  package var code: Warning.Code
  /// What follows "host port 0.0.0.0:8080/tcp: ".
  package var text: String
  package init(_ code: Warning.Code, _ text: String) { (self.code, self.text) = (code, text) }

}

/// Answer to taking a host port.
package enum HoldOutcome {
  /// Ours, or deliberately not held.
  case taken(PortNote?)
  /// Another program has it; the text says who, as far as can be told. Asked for only where it is wanted: finding out means
  /// looking at the machine's processes.
  case inUse(by: () -> String)
  /// It can never be had.
  case impossible(RequestError)
}

/// What port choice asks about the world. Closures, because the world is sockets for the agent and a table for a test.
package struct HostPorts {
  /// The container of ours that owns a port, whose name a refusal asks for; `nil` when none does.
  package var owner: (HostPort) -> (() -> String)?
  /// Takes a port. The second argument is the size of the request's range: large ones may be checked only.
  package var hold: (HostPort, Int) -> HoldOutcome
  /// Gives back a port that `hold` took, because another of its group could not be had.
  package var release: (HostPort) -> Void

  package init(
    owner: @escaping (HostPort) -> (() -> String)?, hold: @escaping (HostPort, Int) -> HoldOutcome,
    release: @escaping (HostPort) -> Void
  ) {
    (self.owner, self.hold, self.release) = (owner, hold, release)
  }
}

/// Where ephemeral ports come from: the kernel's settings, and after which port to go on.
package struct EphemeralPorts: Sendable, Equatable {
  /// net.ipv4.ip_local_port_range; for IPv6 too (Documentation/networking/ip-sysctl.rst).
  package var range: PortRange
  /// net.ipv4.ip_local_reserved_ports.
  package var reserved: [PortRange]
  /// The last port given, per protocol.
  package var last: [TransportProtocol: UInt16] = [:]

  package init(range: PortRange = PortRange(32768, 60999), reserved: [PortRange] = []) {
    (self.range, self.reserved) = (range, reserved)
  }

  package func contains(_ port: UInt16) -> Bool {
    range.ports.contains(port) && !reserved.contains { $0.ports.contains(port) }
  }

  func candidates(_ transport: TransportProtocol) -> Candidates {
    Candidates(range: range, after: last[transport], reserved: reserved)
  }
}

/// Every usable port of a range, lazily: those after the last one given, then the rest.
struct Candidates: Sequence, IteratorProtocol {
  private let range: PortRange
  private let reserved: [PortRange]
  private var upcoming: UInt16
  private var remaining: Int

  init(range: PortRange, after last: UInt16? = nil, reserved: [PortRange] = []) {
    (self.range, self.reserved, remaining) = (range, reserved, range.count)
    upcoming = last.map { $0 >= range.first && $0 < range.last ? $0 + 1 : range.first } ?? range.first
  }

  mutating func next() -> UInt16? {
    while remaining > 0 {
      remaining -= 1
      let port = upcoming
      upcoming = port == range.last ? range.first : port + 1
      if !reserved.contains(where: { $0.ports.contains(port) }) { return port }
    }
    return nil
  }
}

/// Resolves a container's requests on its networks: `networks[i]` is the network of `container.endpoints[i]`.
///
/// `previous`: the container's bindings until now; its ephemeral ports are kept where the request is still there.
/// On an error every port that was taken has been released, and `ephemeral` is unchanged.
/// Fails with `bad-publish`, `port-already-allocated`, `host-port-in-use`, `ports-exhausted`, `address-not-available`.
package func resolve(
  _ container: Container, on networks: [ResolvedNetwork], previous: [Binding] = [], ephemeral: inout EphemeralPorts,
  hostPorts: HostPorts
) throws(RequestError) -> Resolution {
  let demands = try Demands(of: container, on: networks)
  var choice = PortChoice(container: container, hostPorts: hostPorts, ephemeral: ephemeral, previous: previous)
  do {
    let groups = demands.sorted.chunked { $0.group == $1.group }
    var ports: [UInt16?] = Array(repeating: nil, count: groups.count)
    // Exact ports come first; then who has a port keeps it, before anyone new chooses.
    for turn in [PortChoice.Turn.exact, .kept, .new] {
      for (index, group) in groups.enumerated() where choice.turn(of: group) == turn {
        ports[index] = try choice.port(for: group)
      }
    }
    var bindings = BindingRuns()
    for (group, port) in zip(groups, ports) {
      for demand in group { bindings.append(demand.binding(hostPort: port), isOfRange: demand.isOfRange) }
    }
    ephemeral = choice.ephemeral
    return Resolution(bindings: bindings.runs, warnings: demands.warnings + choice.notes.warnings)
  } catch {
    choice.releaseAll()
    throw error
  }
}

/// Chooses one host port for each group of a start, in order.
private struct PortChoice {
  let container: Container
  let hostPorts: HostPorts
  var ephemeral: EphemeralPorts
  fileprivate private(set) var notes = PortNotes()
  private var taken: [HostPort] = []
  /// What this start has claimed already, by request.
  private var claims = PortClaims<Int?>()
  /// The host ports that a container port had at an address until now, in the order they were chosen.
  private var previousPorts: [Wish: [UInt16]] = [:]

  private struct Wish: Hashable {
    var address: IPAddress
    var containerPort: ContainerPort
  }

  init(container: Container, hostPorts: HostPorts, ephemeral: EphemeralPorts, previous: [Binding]) {
    (self.container, self.hostPorts, self.ephemeral) = (container, hostPorts, ephemeral)
    for binding in previous {
      guard let ports = binding.hostPorts else { continue }
      for (host, inner) in zip(ports.ports, binding.containerPorts.ports) {
        let wish = Wish(address: binding.hostAddress, containerPort: ContainerPort(inner, binding.transport))
        previousPorts[wish, default: []].append(host)
      }
    }
  }

  enum Turn { case exact, kept, new }

  /// `nil` for a routed group, which has no host port.
  func turn(of group: ArraySlice<Demand>) -> Turn? {
    let kind = group[group.startIndex].group
    if kind.isRouted { return nil }
    if kind.isExact { return .exact }
    return keptPorts(for: group).isEmpty ? .new : .kept
  }

  mutating func port(for group: ArraySlice<Demand>) throws(RequestError) -> UInt16 {
    let first = group[group.startIndex]
    try refuseOverlap(in: group)
    if first.group.isExact, let ports = first.group.hostPorts {
      if let conflict = try take(ports.first, for: group) { throw refusal(conflict) }
      return ports.first
    }
    for port in keptPorts(for: group) where try take(port, for: group) == nil { return port }
    let transport = first.group.containerPort.transport
    for port in first.group.hostPorts.map({ Candidates(range: $0) }) ?? ephemeral.candidates(transport)
    where try take(port, for: group) == nil {
      if first.group.hostPorts == nil { ephemeral.last[transport] = port }
      return port
    }
    let (what, remedy) =
      first.group.hostPorts.map { ("host ports \($0)", "free one or publish a larger range") }
      ?? (
        "ephemeral ports (net.ipv4.ip_local_port_range) \(ephemeral.range)",
        "stop a container that has one, or widen the range"
      )
    throw error(
      .portsExhausted, first.request,
      "no port of the \(what) is free on \(Self.list(group.map(\.hostAddress))) for \(first.group.containerPort): "
        + remedy)
  }

  /// What the container has had on one of the group's addresses and the group may still take.
  private func keptPorts(for group: ArraySlice<Demand>) -> [UInt16] {
    if previousPorts.isEmpty { return [] }
    let range = group[group.startIndex].group.hostPorts
    return group.flatMap { demand in
      previousPorts[Wish(address: demand.hostAddress, containerPort: demand.group.containerPort), default: []]
    }.filter { range?.ports.contains($0) ?? ephemeral.contains($0) }
  }

  /// Two demands of one group can never share a port on overlapping addresses: `8080:80` twice.
  private func refuseOverlap(in group: ArraySlice<Demand>) throws(RequestError) {
    for (index, demand) in group.enumerated() {
      for other in group.dropFirst(index + 1) where demand.hostAddress.overlaps(other.hostAddress) {
        throw error(
          .portAlreadyAllocated, max(demand.request ?? 0, other.request ?? 0),
          "\(what(demand)) is published twice by this container, by \(request(demand.request)) and "
            + "\(request(other.request)): leave one out")
      }
    }
  }

  /// Why a port could not be had. Most are not told anybody: the next port is tried.
  private struct Conflict {
    enum Owner {
      case request(Int?)
      case container(name: () -> String)
      case program(name: () -> String)
    }
    var key: HostPort
    var request: Int?
    var owner: Owner
  }

  /// Takes `port` on all addresses of `group`, or none; returns why not.
  private mutating func take(_ port: UInt16, for group: ArraySlice<Demand>) throws(RequestError) -> Conflict? {
    for demand in group {
      let key = demand.hostPort(port)
      if let owner = owner(of: key) { return Conflict(key: key, request: demand.request, owner: owner) }
    }
    let start = taken.count
    var notes = notes
    for demand in group {
      let key = demand.hostPort(port)
      let size = demand.request.map { container.publish[$0].containerPorts.count } ?? 1
      switch hostPorts.hold(key, size) {
      case .taken(let note):
        taken.append(key)
        if let note { notes.add(note, about: key) }
      case .inUse(let holder):
        release(from: start)
        return Conflict(key: key, request: demand.request, owner: .program(name: holder))
      case .impossible(let refusal):
        throw RequestError(refusal.code, refusal.message, field: demand.request.map { "publish[\($0)]" })
      }
    }
    for demand in group { claims.claim(demand.hostPort(port), for: demand.request) }
    self.notes = notes
    return nil
  }

  private func owner(of key: HostPort) -> Conflict.Owner? {
    if let request = claims.owner(of: key) { return .request(request) }
    return hostPorts.owner(key).map(Conflict.Owner.container)
  }

  private func refusal(_ conflict: Conflict) -> RequestError {
    let (code, reason): (ErrorCode, String) =
      switch conflict.owner {
      case .request(let request):
        (
          .portAlreadyAllocated,
          "is already taken by \(self.request(request)) of this container: publish another port"
        )
      case .container(let name):
        (.portAlreadyAllocated, "is already allocated to container \(name()): stop it or publish another port")
      case .program(let name):
        (.hostPortInUse, "is in use by \(name()): stop that program or publish another port")
      }
    return error(code, conflict.request, "host port \(conflict.key) \(reason)")
  }

  private mutating func release(from start: Int) {
    for key in taken[start...] { hostPorts.release(key) }
    taken.removeSubrange(start...)
  }

  mutating func releaseAll() { release(from: 0) }

  private func request(_ index: Int?) -> String {
    index.map { "\"\(container.publish[$0])\" (publish[\($0)])" } ?? "publish_all"
  }
  private func what(_ demand: Demand) -> String {
    let ports = demand.group.hostPorts.map { "host port \($0)" } ?? "an ephemeral port"
    return "\(ports) for \(demand.group.containerPort) on \(demand.hostAddress)"
  }
  private func error(_ code: ErrorCode, _ request: Int?, _ message: String) -> RequestError {
    RequestError(code, message, field: request.map { "publish[\($0)]" })
  }
  private static func list(_ addresses: [IPAddress]) -> String {
    addresses.map(\.description).joined(separator: " and ")
  }
}

/// Notes about ports, those of consecutive ones together, in order of first appearance.
package struct PortNotes {
  private struct Run: Hashable {
    var note: PortNote
    var address: IPAddress
    var transport: TransportProtocol
  }

  private var runs: [(run: Run, ports: PortRange)] = []
  private var last: [Run: Int] = [:]

  package init() {}

  /// Joined with the port before it, where that has the same note and came earlier.
  package mutating func add(_ note: PortNote, about port: HostPort) {
    let run = Run(note: note, address: port.address, transport: port.transport)
    if let index = last[run], runs[index].ports.last < port.port, runs[index].ports.last + 1 == port.port {
      runs[index].ports = PortRange(runs[index].ports.first, port.port)
    } else {
      last[run] = runs.count
      runs.append((run, PortRange(port.port)))
    }
  }

  package var warnings: [Warning] {
    runs.map { run, ports in
      let first = HostPort(run.address, run.transport, ports.first)
      let what = ports.isSingle ? "host port" : "host ports"
      return Warning(run.note.code, "\(what) \(first.description(through: ports.last)): \(run.note.text)")
    }
  }
}

extension IPAddress {
  /// Whether two host addresses stand for a common one: equal, or one of them for all of the family.
  package func overlaps(_ other: IPAddress) -> Bool {
    family == other.family && (self == other || isAny || other.isAny)
  }
}

/// Joins bindings of consecutive ports of one request into runs, in order of first appearance.
struct BindingRuns {
  private struct Key: Hashable {
    var network: String
    var hostAddress: IPAddress
    var containerAddress: IPAddress
    var transport: TransportProtocol
    var request: Int?
  }

  private(set) var runs: [Binding] = []
  private var open: [Key: Int] = [:]

  mutating func append(_ binding: Binding, isOfRange: Bool) {
    guard isOfRange else { return runs.append(binding) }
    let key = Key(
      network: binding.network, hostAddress: binding.hostAddress, containerAddress: binding.containerAddress,
      transport: binding.transport, request: binding.request)
    if let index = open[key], let joined = runs[index].joined(with: binding) {
      runs[index] = joined
    } else {
      open[key] = runs.count
      runs.append(binding)
    }
  }
}

extension Binding {
  fileprivate func joined(with next: Binding) -> Binding? {
    guard containerPorts.last < next.containerPorts.first, containerPorts.last + 1 == next.containerPorts.first
    else { return nil }
    var joined = self
    switch (hostPorts, next.hostPorts) {
    case (nil, nil): break
    case (let mine?, let its?) where mine.last < its.first && mine.last + 1 == its.first:
      joined.hostPorts = PortRange(mine.first, its.last)
    default: return nil
    }
    joined.containerPorts = PortRange(containerPorts.first, next.containerPorts.last)
    return joined
  }
}

extension Array {
  /// Neighbours that belong together, in order.
  package func chunked(by belongTogether: (Element, Element) -> Bool) -> [ArraySlice<Element>] {
    var chunks: [ArraySlice<Element>] = []
    var start = startIndex
    for index in indices.dropFirst() where !belongTogether(self[index - 1], self[index]) {
      chunks.append(self[start..<index])
      start = index
    }
    if start < endIndex { chunks.append(self[start...]) }
    return chunks
  }
}
