import PortMaps

/// What a client calls its request; the reply repeats it.
package enum RequestID: Sendable, Hashable {
  case string(String)
  case integer(Int64)
}

/// One line of a client, understood. What needs the agent's state to be judged is not checked yet: whether networks and
/// containers exist, whether addresses lie in their subnets, what option values mean.
package struct Request: Sendable, Hashable {
  package var id: RequestID?
  package var body: Body

  package init(id: RequestID? = nil, _ body: Body) { (self.id, self.body) = (id, body) }

  package enum Body: Sendable, Hashable {
    /// `source` is the feed that speaks; it is also written into the network or container of the event.
    case event(Event, source: String)
    case query(Query)
  }
}

/// A request that changes something.
package enum Event: Sendable, Hashable {
  case networkCreate(Network)
  /// Id or name.
  case networkRemove(String)
  case containerStart(Container)
  case containerStop(id: String, generation: Int?, reset: Bool)
  case containerConnect(id: String, Endpoint)
  /// `network` is an id or a name.
  case containerDisconnect(id: String, network: String)
  case containerPublish(id: String, [PublishRequest])
  case containerUnpublish(id: String, [PublishRequest])
  case snapshotBegin
  case snapshotEnd
  case reconcile
  /// The connection's user may change the table until `maintenanceEnd`, or until the connection closes.
  case maintenanceBegin
  case maintenanceEnd
}

/// A request that reads.
package enum Query: Sendable, Hashable {
  case hello
  case list(MappingFilter)
  case networks
  /// Id or name.
  case inspect(container: String)
  case status
  case watch
}

/// Which mappings a `list` wants; `nil` = any.
package struct MappingFilter: Sendable, Hashable {
  /// Id or name.
  package var container: String?
  /// Id or name.
  package var network: String?
  package var hostPort: UInt16?
  package var transport: TransportProtocol?

  package init(
    container: String? = nil, network: String? = nil, hostPort: UInt16? = nil, transport: TransportProtocol? = nil
  ) {
    (self.container, self.network, self.hostPort, self.transport) = (container, network, hostPort, transport)
  }
}

/// A line as far as it could be understood.
package enum Decoded: Sendable, Equatable {
  case request(Request)
  /// `id` is there whenever it could be read, so that the error reply can repeat it; so is what the line announced.
  case failed(id: RequestID?, RequestError, announced: Announcement? = nil)
}

extension Decoded {
  package var id: RequestID? {
    switch self {
    case .request(let request): request.id
    case .failed(let id, _, _): id
    }
  }

  package var announcement: Announcement? {
    switch self {
    case .request(let request): request.body.announcement
    case .failed(_, _, let announced): announced
    }
  }
}

/// What a source says exists.
package struct Announcement: Sendable, Hashable {
  package enum Kind: Sendable { case network, container }
  package var kind: Kind
  package var source: String
  package var id: String

  package init(_ kind: Kind, id: String, source: String) { (self.kind, self.id, self.source) = (kind, id, source) }
}

extension Request.Body {
  /// `nil` where nothing is announced.
  package var announcement: Announcement? {
    switch self {
    case .event(.networkCreate(let network), let source): Announcement(.network, id: network.id, source: source)
    case .event(.containerStart(let container), let source): Announcement(.container, id: container.id, source: source)
    case .event, .query: nil
    }
  }
}
