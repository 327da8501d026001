import PortMaps

extension Mapping {
  /// Appends one line for each port of the run, ended by LF.
  package func write(_ change: Change, to writer: inout JSONWriter) {
    write(change: change.rawValue, id: nil, to: &writer)
  }

  func write(change: String, id: RequestID?, to writer: inout JSONWriter) {
    forEachPort { port in
      writer.beginObject()
      writer.field("id", id)
      writer.field("change", change)
      port.writeFields(to: &writer)
      writer.endObject()
      writer.endLine()
    }
  }

  /// Appends one object for each port of the run.
  func write(to writer: inout JSONWriter) {
    forEachPort { port in
      writer.beginObject()
      port.writeFields(to: &writer)
      writer.endObject()
    }
  }

  private func forEachPort(_ body: (MappedPort) -> Void) {
    for index in 0..<binding.containerPorts.count { body(MappedPort(mapping: self, index: index)) }
  }
}

/// One port of a mapping.
private struct MappedPort {
  let mapping: Mapping
  let index: Int

  func writeFields(to writer: inout JSONWriter) {
    let binding = mapping.binding
    writer.field("container", mapping.container)
    writer.field("name", mapping.name)
    writer.field("network", mapping.network)
    writer.field("family", binding.family.name)
    writer.field("protocol", binding.transport.description)
    writer.field("mode", binding.mode.rawValue)
    writer.field("host_ip", binding.hostAddress)
    writer.key("host_port")
    if let ports = binding.hostPorts { writer.value(Int(ports.first) + index) } else { writer.null() }
    writer.field("container_ip", binding.containerAddress)
    writer.field("container_port", Int(binding.containerPorts.first) + index)
    switch mapping.state {
    case .live:
      writer.field("state", "live")
    case .pending(let reason):
      writer.field("state", "pending")
      writer.field("reason", reason)
    case .degraded(let reason):
      writer.field("state", "degraded")
      writer.field("reason", reason)
    }
  }
}

extension NetworkDescription {
  func write(to writer: inout JSONWriter) {
    writer.beginObject()
    network.writeFields(to: &writer)
    writer.field("source", network.source)
    writer.field("gateway_mode_ipv4", orNull: gatewayModeIPv4?.rawValue)
    writer.field("gateway_mode_ipv6", orNull: gatewayModeIPv6?.rawValue)
    writer.field("default_bind", orNull: defaultBind?.description)
    writer.field("containers", containers)
    writer.endObject()
  }
}

extension Network {
  /// As a request may spell it.
  func write(to writer: inout JSONWriter) {
    writer.beginObject()
    writeFields(to: &writer)
    writer.endObject()
  }

  fileprivate func writeFields(to writer: inout JSONWriter) {
    writer.field("id", id)
    writer.field("name", name)
    writer.field("driver", driver.rawValue)
    if let bridge { writer.field("bridge", bridge) }
    writer.key("internal")
    writer.value(isInternal)
    writer.field("subnets", subnets.map(\.description))
    writer.key("options")
    writer.beginObject()
    for (key, value) in options.sorted(by: { $0.key < $1.key }) {
      writer.key(of: key)
      writer.value(value)
    }
    writer.endObject()
  }
}

extension Container {
  /// As a request may spell it, with every field that has a value.
  func write(to writer: inout JSONWriter) {
    writer.beginObject()
    writer.field("id", id)
    writer.field("name", name)
    if let generation { writer.field("generation", generation) }
    writer.key("networks")
    writer.beginArray()
    for endpoint in endpoints { endpoint.write(to: &writer) }
    writer.endArray()
    writer.key("publish")
    writer.beginArray()
    for request in publish { request.write(to: &writer) }
    writer.endArray()
    writer.field("expose", expose.map(\.description))
    writer.key("publish_all")
    writer.value(publishAll)
    writer.endObject()
  }
}

extension Endpoint {
  func write(to writer: inout JSONWriter) {
    writer.beginObject()
    writer.field("network", network)
    if let ipv4 { writer.field("ipv4", ipv4) }
    if let ipv6 { writer.field("ipv6", ipv6) }
    writer.field("gateway_priority", gatewayPriority)
    writer.endObject()
  }
}

extension PublishRequest {
  /// Docker's short form, which has no place for `allow_from`: the object form then.
  func write(to writer: inout JSONWriter) {
    if allowFrom.isEmpty { return writer.value(description) }
    writer.beginObject()
    writer.field("container_port", containerPorts.description)
    if let hostAddress { writer.field("host_ip", hostAddress) }
    if let hostPorts { writer.field("host_port", hostPorts.description) }
    writer.field("protocol", transport.description)
    writer.field("allow_from", allowFrom.map(\.description))
    writer.endObject()
  }
}

extension JSONWriter {
  fileprivate mutating func field(_ key: StaticString, orNull text: String?) {
    self.key(key)
    if let text { value(text) } else { null() }
  }

  fileprivate mutating func field(_ key: StaticString, _ texts: [String]) {
    self.key(key)
    beginArray()
    for text in texts { value(text) }
    endArray()
  }
}
