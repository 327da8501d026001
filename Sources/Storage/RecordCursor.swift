import PortMaps

/// A container with everything the store keeps about it.
package struct ContainerRecord: Sendable, Equatable {
  /// Never given to another container; 0 = not stored yet.
  package var row: Int64
  package var container: Container
  /// Resolved from the container and its networks.
  package var bindings: [Binding]
  package var warnings: [Warning]

  package init(row: Int64 = 0, container: Container, bindings: [Binding] = [], warnings: [Warning] = []) {
    (self.row, self.container, self.bindings, self.warnings) = (row, container, bindings, warnings)
  }
}

/// The statements that read some containers with all that belongs to them. Made once: an event has no time to put text
/// together.
struct Selection {
  let containers, endpoints, publish, expose, bindings, warnings: String

  /// `condition`: on the row number, in place of `%`.
  init(_ condition: String) {
    func select(_ columns: String, from table: String, key: String = "container", order: String) -> String {
      let condition = condition.split(separator: "%", omittingEmptySubsequences: false).joined(separator: key)
      return "SELECT \(columns) FROM \(table) WHERE \(condition) ORDER BY \(order)"
    }
    func children(_ columns: String, of table: String) -> String {
      select("container, \(columns)", from: table, order: "container, position")
    }
    containers = select(
      "row, source, id, name, generation, publish_all", from: "container", key: "row", order: "row")
    endpoints = children("network, ipv4, ipv6, gateway_priority", of: "endpoint")
    publish = children(
      "host_address, host_first, host_last, container_first, container_last, protocol, allow_from", of: "publish")
    expose = children("first, last, protocol", of: "expose")
    bindings = children(
      "network, mode, protocol, host_address, host_first, host_last, container_address, container_first, "
        + "container_last, request, allow_from", of: "binding")
    warnings = children("code, message", of: "warning")
  }

  static let all = Selection("% > 0")
  static let row = Selection("% = ?")
}

/// Reads containers in row order: one query for each table, all in that order, merged as they advance. So the number of
/// statements does not depend on the number of containers, and only one container is in memory.
struct RecordCursor {
  private let containers: Rows
  private var bindings: ChildCursor<Binding>
  /// `nil` where only bindings are wanted.
  private var rest: Rest?

  private struct Rest {
    var endpoints: ChildCursor<Endpoint>
    var publish: ChildCursor<PublishRequest>
    var expose: ChildCursor<ExposedPorts>
    var warnings: ChildCursor<Warning>
  }

  /// `open` makes a cursor from SQL.
  init(_ selection: Selection, _ part: Store.RecordPart = .all, open: (String) throws -> Rows) throws {
    func children<T>(_ sql: String, _ decode: @escaping (Row) throws -> T) throws -> ChildCursor<T> {
      ChildCursor(rows: try open(sql), decode: decode)
    }
    containers = try open(selection.containers)
    bindings = try children(selection.bindings, Binding.init(row:))
    guard part == .all else { return }
    rest = Rest(
      endpoints: try children(selection.endpoints, Endpoint.init(row:)),
      publish: try children(selection.publish, PublishRequest.init(row:)),
      expose: try children(selection.expose) { row in ExposedPorts(try row.ports(1), try row.transport(3)) },
      warnings: try children(selection.warnings) { row in
        Warning(try row.get(1, Warning.Code.init(rawValue:)), try row.get(2))
      })
  }

  mutating func next() throws -> ContainerRecord? {
    guard let head = try containers.next() else { return nil }
    let row: Int64 = try head.get(0)
    var record = ContainerRecord(
      row: row,
      container: Container(
        source: try head.get(1), id: try head.get(2), name: try head.get(3),
        generation: try head.optional(4), endpoints: [], publishAll: try head.get(5)))
    record.bindings = try bindings.take(row)
    guard rest != nil else { return record }
    record.container.endpoints = try rest?.endpoints.take(row) ?? []
    record.container.publish = try rest?.publish.take(row) ?? []
    record.container.expose = try rest?.expose.take(row) ?? []
    record.warnings = try rest?.warnings.take(row) ?? []
    return record
  }
}

/// The rows of one child table, handed out container by container. Column 0 is the container's row number.
private struct ChildCursor<Element> {
  private let rows: Rows
  private let decode: (Row) throws -> Element
  private var head: (container: Int64, element: Element)?
  private var started = false

  init(rows: Rows, decode: @escaping (Row) throws -> Element) {
    (self.rows, self.decode) = (rows, decode)
  }

  /// To be called with growing numbers.
  mutating func take(_ container: Int64) throws -> [Element] {
    if !started {
      started = true
      try advance()
    }
    var elements: [Element] = []
    while let head, head.container <= container {
      if head.container == container { elements.append(head.element) }
      try advance()
    }
    return elements
  }

  private mutating func advance() throws {
    head = try rows.next().map { (try $0.get(0), try decode($0)) }
  }
}

extension Endpoint {
  fileprivate init(row: Row) throws {
    self.init(
      network: try row.get(1), ipv4: try row.optionalAddress(2), ipv6: try row.optionalAddress(3),
      gatewayPriority: try row.get(4))
  }
}

extension PublishRequest {
  fileprivate init(row: Row) throws {
    try self.init(
      hostAddress: try row.optionalAddress(1), hostPorts: try row.optionalPorts(2), containerPorts: try row.ports(4),
      transport: try row.transport(6), allowFrom: try row.prefixes(7))
  }
}

extension Binding {
  fileprivate init(row: Row) throws {
    self.init(
      network: try row.get(1), mode: try row.get(2, GatewayMode.init(rawValue:)), transport: try row.transport(3),
      hostAddress: try row.address(4), hostPorts: try row.optionalPorts(5), containerAddress: try row.address(7),
      containerPorts: try row.ports(8), request: try row.optional(10), allowFrom: try row.prefixes(11)
    )
  }
}
