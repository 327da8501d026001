import PortMaps

extension Reply {
  /// Appends the reply's line, or lines for `watching`, each ended by LF.
  package func write(id: RequestID?, to writer: inout JSONWriter) {
    if case .watching(let mappings) = self {
      for mapping in mappings { mapping.write(change: "present", id: id, to: &writer) }
      writer.beginObject()
      writer.field("id", id)
      writer.field("change", "ready")
    } else {
      writer.beginObject()
      writer.field("id", id)
      writeFields(to: &writer)
    }
    writer.endObject()
    writer.endLine()
  }

  private func writeFields(to writer: inout JSONWriter) {
    if case .failed(let error) = self {
      writer.key("ok")
      writer.value(false)
      writer.key("error")
      return error.write(to: &writer)
    }
    writer.key("ok")
    writer.value(true)
    switch self {
    case .changed(let revision, let ports, let warnings):
      writer.field("revision", revision)
      if let ports { writer.field("ports", ports) }
      if !warnings.isEmpty { writer.field("warnings", warnings) }
    case .hello(let hello): hello.writeFields(to: &writer)
    case .mappings(let mappings):
      writer.key("mappings")
      writer.beginArray()
      for mapping in mappings { mapping.write(to: &writer) }
      writer.endArray()
    case .networks(let networks):
      writer.key("networks")
      writer.beginArray()
      for network in networks { network.write(to: &writer) }
      writer.endArray()
    case .inspect(let inspection): inspection.writeFields(to: &writer)
    case .status(let status): status.writeFields(to: &writer)
    case .watching, .failed: break
    }
  }
}

extension RequestError {
  fileprivate func write(to writer: inout JSONWriter) {
    writer.beginObject()
    writer.field("code", code.rawValue)
    writer.field("message", message)
    if let field { writer.field("field", field) }
    writer.endObject()
  }
}

extension Hello {
  fileprivate func writeFields(to writer: inout JSONWriter) {
    writer.field("agent", agent)
    writer.field("version", version)
    writer.field("protocol", Self.protocolVersion)
    writer.field("revision", revision)
    writer.field("boot_id", bootID)
  }
}

extension Inspection {
  fileprivate func writeFields(to writer: inout JSONWriter) {
    writer.field("source", container.source)
    writer.key("container")
    container.write(to: &writer)
    writer.field("ports", ports)
    writer.field("warnings", warnings)
  }
}

extension Status {
  fileprivate func writeFields(to writer: inout JSONWriter) {
    writer.key("in_sync")
    writer.value(inSync)
    writer.field("mappings", mappings)
    writer.field("containers", containers)
    writer.field("networks", networks)
    writer.field("revision", revision)
    writer.key("generation")
    if let generation { writer.value(generation) } else { writer.null() }
    writer.key("degraded")
    writer.beginArray()
    for degradation in degraded {
      writer.beginObject()
      writer.field("code", degradation.code)
      writer.field("message", degradation.message)
      writer.endObject()
    }
    writer.endArray()
    for (key, value) in extra {
      writer.key(of: key)
      writer.value(value)
    }
  }
}

// MARK: Fields

extension JSONWriter {
  mutating func field(_ key: StaticString, _ text: String) {
    self.key(key)
    value(text)
  }

  mutating func field(_ key: StaticString, _ address: IPAddress) {
    self.key(key)
    value(address)
  }

  mutating func field(_ key: StaticString, _ number: Int) {
    self.key(key)
    value(number)
  }

  /// Nothing for a request without an id.
  mutating func field(_ key: StaticString, _ id: RequestID?) {
    switch id {
    case nil: return
    case .string(let text): field(key, text)
    case .integer(let number): field(key, Int(number))
    }
  }

  mutating func field(_ key: StaticString, _ warnings: [Warning]) {
    self.key(key)
    beginArray()
    for warning in warnings {
      beginObject()
      field("code", warning.code.rawValue)
      field("message", warning.message)
      endObject()
    }
    endArray()
  }

  /// `{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}],"9000/tcp":null}`, as in Docker's `NetworkSettings.Ports`.
  mutating func field(_ key: StaticString, _ listing: PortListing) {
    self.key(key)
    beginObject()
    for row in listing.rows {
      self.key(of: row.port.description)
      guard let bindings = row.bindings else {
        null()
        continue
      }
      beginArray()
      for binding in bindings {
        beginObject()
        field("HostIp", binding.address)
        field("HostPort", binding.hostPort.map { String($0) } ?? "")
        endObject()
      }
      endArray()
    }
    endObject()
  }
}
