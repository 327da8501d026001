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

  init(_ rows: ClosedRange<Int64>, _ part: Store.RecordPart = .all, in db: Database) throws {
    func children<T>(_ sql: StaticString, _ decode: @escaping (Row) throws -> T) throws -> ChildCursor<T> {
      ChildCursor(rows: try db.rows(sql, rows.lowerBound, rows.upperBound), decode: decode)
    }
    containers = try db.rows(
      "SELECT row, source, id, name, generation, publish_all FROM container WHERE row BETWEEN ? AND ? ORDER BY row",
      rows.lowerBound, rows.upperBound)
    bindings = try children(
      """
      SELECT container, network, mode, protocol, host_address, host_first, host_last, container_address, container_first,
        container_last, request, allow_from
      FROM binding WHERE container BETWEEN ? AND ? ORDER BY container, position
      """, Binding.init(row:))
    guard part == .all else { return }
    rest = Rest(
      endpoints: try children(
        """
        SELECT container, network, ipv4, ipv6, gateway_priority
        FROM endpoint WHERE container BETWEEN ? AND ? ORDER BY container, position
        """, Endpoint.init(row:)),
      publish: try children(
        """
        SELECT container, host_address, host_first, host_last, container_first, container_last, protocol, allow_from
        FROM publish WHERE container BETWEEN ? AND ? ORDER BY container, position
        """, PublishRequest.init(row:)),
      expose: try children(
        """
        SELECT container, first, last, protocol FROM expose WHERE container BETWEEN ? AND ? ORDER BY container, position
        """
      ) { row in ExposedPorts(try row.ports(1), try row.transport(3)) },
      warnings: try children(
        "SELECT container, code, message FROM warning WHERE container BETWEEN ? AND ? ORDER BY container, position"
      ) { row in Warning(try row.get(1, Warning.Code.init(rawValue:)), try row.get(2)) })
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
  /// The row that comes next, and its container. `nil` after the last, and before the first.
  private var head: (container: Int64, row: Row)?
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
      if head.container == container { elements.append(try decode(head.row)) }
      try advance()
    }
    return elements
  }

  private mutating func advance() throws {
    head = try rows.next().map { (try $0.get(0), $0) }
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
