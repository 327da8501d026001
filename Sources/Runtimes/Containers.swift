import Feed
import PortMaps

extension Dialect {
  /// Understands the answer to `container`.
  func container(_ part: Part) throws(UnexpectedAnswer) -> RuntimeContainer {
    let (state, settings) = (part["State"], part["NetworkSettings"])
    let (id, name) = (try part["Id"].string(), try part["Name"].string())
    let (started, isRestarting) = (try state["StartedAt"].string(), try state["Restarting"].bool())
    var container = RuntimeContainer(
      id: id, name: name.hasPrefix("/") ? String(name.dropFirst()) : name,
      // A Docker container that waits for its restart is said to be running, and has no network.
      isRunning: isRestarting ? false : try state["Running"].bool(),
      startedAt: nanoseconds(rfc3339: started) ?? 0)
    if container.name.isEmpty || container.name.utf8.count > 128 { container.name = id }
    // It has nothing of its own: what is published belongs to the container whose network it shares.
    let mode = try part["HostConfig"]["NetworkMode"].string()
    if !container.isRunning || mode.hasPrefix("container:") { return container }
    for (name, part) in try settings["Networks"].members() {
      if let attachment = try attachment(name, part) { container.attachments.append(attachment) }
    }
    let ports = engine == .docker ? settings["Ports"] : part["HostConfig"]["PortBindings"]
    container.publish = try publishedPorts(ports)
    container.expose = try exposedPorts(settings["Ports"])
    return container
  }

  private func attachment(_ name: String, _ part: Part) throws(UnexpectedAnswer) -> RuntimeContainer.Attachment? {
    let (ipv4, ipv6) = (try part["IPAddress"].address(), try part["GlobalIPv6Address"].address())
    if ipv4 == nil, ipv6 == nil { return nil }
    let id = try part["NetworkID"].string()
    // Docker's choice of the gateway: its gw-priority, then a network with both families, then by name.
    let wished = Int(try part["GwPriority"].integer().clamped(to: -1_000_000...1_000_000))
    let isDual = ipv4 != nil && ipv6 != nil
    return Endpoint(
      network: id.isEmpty ? name : id, ipv4: ipv4, ipv6: ipv6, gatewayPriority: 2 * wished + (isDual ? 1 : 0))
  }

  private func exposedPorts(_ ports: Part) throws(UnexpectedAnswer) -> [ExposedPorts] {
    var exposed: [ExposedPorts] = []
    for (key, bindings) in try ports.members() where bindings.isNull {
      let port = try containerPort(key, bindings)
      exposed.append(ExposedPorts(PortRange(port.port), port.transport))
    }
    return exposed
  }

  private func containerPort(_ text: String, _ part: Part) throws(UnexpectedAnswer) -> ContainerPort {
    let parts = text.split(separator: "/", maxSplits: 1)
    guard parts.count == 2, let port = UInt16(parts[0]), port > 0,
      let transport = TransportProtocol(parsing: parts[1])
    else { throw UnexpectedAnswer(description: "\(part.path): \"\(text)\" is not a port like 80/tcp") }
    return ContainerPort(port, transport)
  }

  // MARK: Published ports

  /// Understands a table of published ports, in which every port of a range has a row of its own: neighbours become one
  /// request again.
  private func publishedPorts(_ ports: Part) throws(UnexpectedAnswer) -> [PublishRequest] {
    var rows: [PublishedPort] = []
    for (key, bindings) in try ports.members() {
      let port = try containerPort(key, bindings)
      for binding in try bindings.elements() {
        rows.append(
          PublishedPort(
            address: try hostAddress(binding["HostIp"]), port: port, hostPort: try hostPort(binding["HostPort"])))
      }
    }
    // Where a family is routed, newer Docker lists a row without a host port beside those of other networks, whose
    // requests reach the routed network too.
    let bound = Set(rows.filter { $0.hostPort != nil }.map { PublishedPort.Target(port: $0.port, family: $0.family) })
    rows.removeAll { $0.hostPort == nil && bound.contains(.init(port: $0.port, family: $0.family)) }
    return PublishedPort.requests(Set(rows))
  }

  /// "" is any address. So is Podman's 0.0.0.0 from version 5 on, which writes it for none.
  private func hostAddress(_ part: Part) throws(UnexpectedAnswer) -> IPAddress? {
    let address = try part.address()
    if engine == .podman, address == .any(.ipv4), !version.hasPrefix("4.") { return nil }
    return address
  }

  private func hostPort(_ part: Part) throws(UnexpectedAnswer) -> UInt16? {
    let text = try part.string()
    if text.isEmpty || text == "0" { return nil }
    guard let port = UInt16(text) else { throw part.unexpected("a port") }
    return port
  }
}

/// A row of a runtime's table of published ports.
private struct PublishedPort: Hashable {
  struct Target: Hashable {
    var port: ContainerPort
    var family: AddressFamily?
  }

  var address: IPAddress?
  var port: ContainerPort
  /// `nil` for a routed family.
  var hostPort: UInt16?

  var family: AddressFamily? { address?.family }
  /// Rows of one range have the same.
  private var offset: Int? { hostPort.map { Int($0) - Int(port.port) } }

  private static func precedes(_ a: Self, _ b: Self) -> Bool {
    let (left, right) = (a.address ?? .any(.ipv4), b.address ?? .any(.ipv4))
    if a.port.transport != b.port.transport { return a.port.transport < b.port.transport }
    if left != right { return left < right }
    if a.offset != b.offset { return a.offset ?? .min < b.offset ?? .min }
    return a.port.port < b.port.port
  }

  private func isContinued(by next: Self) -> Bool {
    address == next.address && port.transport == next.port.transport && offset == next.offset
      && Int(next.port.port) == Int(port.port) + 1
  }

  static func requests(_ rows: Set<Self>) -> [PublishRequest] {
    let rows = rows.sorted(by: precedes)
    var requests: [PublishRequest] = []
    var start = rows.startIndex
    for end in rows.indices where end + 1 == rows.endIndex || !rows[end].isContinued(by: rows[end + 1]) {
      let (first, last) = (rows[start], rows[end])
      let hostPorts = first.hostPort.flatMap { low in last.hostPort.map { PortRange(low, $0) } }
      do throws(RequestError) {
        requests.append(
          try PublishRequest(
            hostAddress: first.address, hostPorts: hostPorts,
            containerPorts: PortRange(first.port.port, last.port.port),
            transport: first.port.transport))
      } catch {
        preconditionFailure("ranges of one size always pair up: \(error)")
      }
      start = end + 1
    }
    return requests
  }
}

extension Comparable {
  fileprivate func clamped(to range: ClosedRange<Self>) -> Self {
    min(max(self, range.lowerBound), range.upperBound)
  }
}
