import PortMaps

extension Event {
  /// Appends the request's line, ended by LF: what `Request.decode` understands as this event of `source`.
  package func write(source: String, to writer: inout JSONWriter) {
    writer.beginObject()
    writer.field("event", kind.rawValue)
    writer.field("source", source)
    writeFields(to: &writer)
    writer.endObject()
    writer.endLine()
  }

  /// As the wire calls it.
  package var name: String { kind.rawValue }

  private var kind: EventKind {
    switch self {
    case .networkCreate: .networkCreate
    case .networkRemove: .networkRemove
    case .containerStart: .containerStart
    case .containerStop: .containerStop
    case .containerConnect: .containerConnect
    case .containerDisconnect: .containerDisconnect
    case .containerPublish: .containerPublish
    case .containerUnpublish: .containerUnpublish
    case .snapshotBegin: .snapshotBegin
    case .snapshotEnd: .snapshotEnd
    case .reconcile: .reconcile
    case .maintenanceBegin: .maintenanceBegin
    case .maintenanceEnd: .maintenanceEnd
    }
  }

  private func writeFields(to writer: inout JSONWriter) {
    switch self {
    case .networkCreate(let network):
      writer.key("network")
      network.write(to: &writer)
    case .networkRemove(let reference): writer.field("network", reference)
    case .containerStart(let container):
      writer.key("container")
      container.write(to: &writer)
    case .containerStop(let id, let generation, let reset):
      writer.field("container", id)
      if let generation { writer.field("generation", generation) }
      if reset { writer.field("reset", reset) }
    case .containerConnect(let id, let endpoint):
      writer.field("container", id)
      writer.key("endpoint")
      endpoint.write(to: &writer)
    case .containerDisconnect(let id, let network):
      writer.field("container", id)
      writer.field("network", network)
    case .containerPublish(let id, let requests), .containerUnpublish(let id, let requests):
      writer.field("container", id)
      writer.key("publish")
      writer.beginArray()
      for request in requests { request.write(to: &writer) }
      writer.endArray()
    case .snapshotBegin, .snapshotEnd, .reconcile, .maintenanceBegin, .maintenanceEnd: break
    }
  }
}

extension JSONWriter {
  fileprivate mutating func field(_ key: StaticString, _ bool: Bool) {
    self.key(key)
    value(bool)
  }
}
