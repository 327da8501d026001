import PortMaps

extension Request {
  /// Understands one line without its LF.
  package static func decode(line: [UInt8]) -> Decoded {
    var id: RequestID?
    var announced: Announcement?
    do throws(RequestError) {
      let value = try JSON(parsing: line)
      announced = Announcement(in: value)
      guard case .object = value else { throw .mismatch(value, expected: "a request: an object with event or query") }
      id = try value["id"].map { (value) throws(RequestError) in
        try at("id") { () throws(RequestError) in try RequestID(wire: value) }
      }
      return .request(Request(id: id, try Body(wire: value)))
    } catch {
      return .failed(id: id, error, announced: announced)
    }
  }
}

extension Announcement {
  /// Of an event that may not be understood otherwise.
  fileprivate init?(in value: JSON) {
    func text(_ value: JSON?) -> String? { if case .string(let text)? = value { text } else { nil } }
    let (kind, subject): (Kind, JSON?)
    switch text(value["event"]) {
    case EventKind.networkCreate.rawValue: (kind, subject) = (.network, value["network"])
    case EventKind.containerStart.rawValue: (kind, subject) = (.container, value["container"])
    default: return nil
    }
    guard let id = text(subject?["id"]) else { return nil }
    self.init(kind, id: id, source: text(value["source"]) ?? Identifier.defaultSource.text)
  }
}

extension RequestID: WireDecodable {
  init(wire value: JSON) throws(RequestError) {
    switch value {
    case .string: self = .string(try String(wire: value))
    case .integer(let number): self = .integer(number)
    default: throw .mismatch(value, expected: "a string or an integer that 64 bits hold")
    }
  }
}

extension Request.Body: WireDecodable {
  init(wire value: JSON) throws(RequestError) {
    switch (value["event"], value["query"]) {
    case (let name?, nil):
      let kind = try at("event") { () throws(RequestError) in try EventKind(wire: name) }
      let fields = try Fields(value, of: "\(kind.rawValue)", ["id", "event", "source"] + kind.fields)
      let source: Identifier = try fields.optional("source") ?? .defaultSource
      self = .event(try Event(kind, fields, source: source.text), source: source.text)
    case (nil, let name?):
      let kind = try at("query") { () throws(RequestError) in try QueryKind(wire: name) }
      self = .query(try Query(kind, Fields(value, of: "\(kind.rawValue)", ["id", "query"] + kind.fields)))
    case (nil, nil):
      throw RequestError(.badRequest, "neither event nor query is there; a request has one of them")
    case (_?, _?):
      throw RequestError(.badRequest, "event and query are both there; a request has one of them")
    }
  }
}

// MARK: Events

enum EventKind: String, CaseIterable, WireDecodable {
  case networkCreate = "network.create"
  case networkRemove = "network.remove"
  case containerStart = "container.start"
  case containerStop = "container.stop"
  case containerConnect = "container.connect"
  case containerDisconnect = "container.disconnect"
  case containerPublish = "container.publish"
  case containerUnpublish = "container.unpublish"
  case snapshotBegin = "snapshot.begin"
  case snapshotEnd = "snapshot.end"
  case reconcile
  case maintenanceBegin = "maintenance.begin"
  case maintenanceEnd = "maintenance.end"

  init(wire value: JSON) throws(RequestError) {
    guard let kind = Self(rawValue: try String(wire: value)) else {
      throw unknown(value, .unknownEvent, "an event", of: Self.allCases.map(\.rawValue))
    }
    self = kind
  }

  /// Fields beside `id`, `event` and `source`.
  var fields: [String] {
    switch self {
    case .networkCreate, .networkRemove: ["network"]
    case .containerStart: ["container"]
    case .containerStop: ["container", "generation", "reset"]
    case .containerConnect: ["container", "endpoint"]
    case .containerDisconnect: ["container", "network"]
    case .containerPublish, .containerUnpublish: ["container", "publish"]
    case .snapshotBegin, .snapshotEnd, .reconcile, .maintenanceBegin, .maintenanceEnd: []
    }
  }
}

private func unknown(_ value: JSON, _ code: ErrorCode, _ what: String, of names: [String]) -> RequestError {
  RequestError(code, "\(value.quoted) is not \(what); there are \(names.joined(separator: ", "))")
}

extension Event {
  init(_ kind: EventKind, _ fields: Fields, source: String) throws(RequestError) {
    func container() throws(RequestError) -> String { (try fields.required("container") as Identifier).text }
    func network() throws(RequestError) -> String { (try fields.required("network") as Label).text }

    switch kind {
    case .networkCreate:
      var network: Network = try fields.subject("network")
      network.source = source
      self = .networkCreate(network)
    case .networkRemove:
      self = .networkRemove(try network())
    case .containerStart:
      var container: Container = try fields.subject("container")
      container.source = source
      self = .containerStart(container)
    case .containerStop:
      let generation: Generation? = try fields.optional("generation")
      self = .containerStop(
        id: try container(), generation: generation?.number, reset: try fields.optional("reset") ?? false)
    case .containerConnect:
      self = .containerConnect(id: try container(), try fields.required("endpoint"))
    case .containerDisconnect:
      self = .containerDisconnect(id: try container(), network: try network())
    case .containerPublish:
      self = .containerPublish(id: try container(), try fields.publish())
    case .containerUnpublish:
      self = .containerUnpublish(id: try container(), try fields.publish())
    case .snapshotBegin: self = .snapshotBegin
    case .snapshotEnd: self = .snapshotEnd
    case .reconcile: self = .reconcile
    case .maintenanceBegin: self = .maintenanceBegin
    case .maintenanceEnd: self = .maintenanceEnd
    }
  }
}

extension Fields {
  fileprivate func publish() throws(RequestError) -> [PublishRequest] {
    let requests: [PublishRequest] = try required("publish")
    try at("publish") { () throws(RequestError) in try limitPorts(of: requests) }
    return requests
  }
}

// MARK: Queries

enum QueryKind: String, CaseIterable, WireDecodable {
  case hello, list, networks, inspect, status, watch

  init(wire value: JSON) throws(RequestError) {
    guard let kind = Self(rawValue: try String(wire: value)) else {
      throw unknown(value, .unknownQuery, "a query", of: Self.allCases.map(\.rawValue))
    }
    self = kind
  }

  /// Fields beside `id` and `query`.
  var fields: [String] {
    switch self {
    case .list: ["container", "network", "host_port", "protocol"]
    case .inspect: ["container"]
    case .hello, .networks, .status, .watch: []
    }
  }
}

extension Query {
  init(_ kind: QueryKind, _ fields: Fields) throws(RequestError) {
    switch kind {
    case .hello: self = .hello
    case .list: self = .list(try MappingFilter(fields))
    case .networks: self = .networks
    case .inspect: self = .inspect(container: (try fields.required("container") as Label).text)
    case .status: self = .status
    case .watch: self = .watch
    }
  }
}

extension MappingFilter {
  fileprivate init(_ fields: Fields) throws(RequestError) {
    let container: Label? = try fields.optional("container")
    let network: Label? = try fields.optional("network")
    let hostPort: Int? = try fields.optional("host_port")
    let transport: String? = try fields.optional("protocol")
    if let hostPort, !(1...65_535).contains(hostPort) {
      throw RequestError(.badRequest, "host port \(hostPort) is not in 1-65535", field: "host_port")
    }
    if let transport, TransportProtocol(parsing: transport) == nil {
      throw RequestError(
        .badRequest, "protocol \(JSON.string(transport).quoted) is not one of tcp, udp, sctp", field: "protocol")
    }
    self.init(
      container: container?.text, network: network?.text, hostPort: hostPort.map { UInt16($0) },
      transport: transport.flatMap { TransportProtocol(parsing: $0) })
  }
}
