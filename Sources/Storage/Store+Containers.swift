import CSQLite
import PortMaps

// MARK: - Reading

extension Store {
  /// Prefix candidates that say enough of a reference that is ambiguous.
  package static let candidateLimit = 16

  package func container(source: String, id: String) throws(StoreError) -> ContainerRecord? {
    // Most starts are of a container that is not there: then one statement is all.
    try read("read container \(id)") { db in
      try db.rows("SELECT row FROM container WHERE id = ? AND source = ?", id, source)
    }.first
  }

  /// The containers attached to a network, in row order.
  package func containers(on networkID: String) throws(StoreError) -> [ContainerRecord] {
    try read("read containers of network \(networkID)") { db in
      try db.rows("SELECT container FROM endpoint WHERE network = ? ORDER BY container", networkID)
    }
  }

  package func containerCount(on networkID: String) throws(StoreError) -> Int {
    try perform("count containers on \(networkID)") { db in
      try first(db.rows("SELECT count(*) FROM endpoint WHERE network = ?", networkID)) ?? 0
    }
  }

  /// The containers, other than those in `rows`, whose bindings lead to one of the container addresses, in row order.
  package func containers(
    at addresses: [IPAddress], otherThan rows: Set<Int64>
  ) throws(StoreError) -> [ContainerRecord] {
    func operation() -> String { "read containers at \(addresses)" }
    var found: Set<Int64> = []
    try perform(operation()) { db in
      // IN would put them into a temporary table.
      for address in addresses {
        found.formUnion(try numbers(db.rows("SELECT container FROM binding WHERE container_address = ?", address)))
      }
    }
    // Usually nobody.
    return try read(operation(), found.subtracting(rows).sorted())
  }

  /// The containers in `rows` and those with a host port on one of `addresses`, in row order.
  package func containers(
    inRows rows: Set<Int64>, orPublishingOn addresses: Set<IPAddress>
  ) throws(StoreError) -> [ContainerRecord] {
    func operation() -> String { "read containers on \(addresses)" }
    var found = rows
    try perform(operation()) { db in
      for address in addresses {
        for transport in TransportProtocol.allCases {
          found.formUnion(
            try numbers(
              db.rows(
                """
                SELECT container FROM binding
                WHERE family = ? AND protocol = ? AND host_address = ? AND host_first IS NOT NULL
                """, address.family.rawValue, transport.rawValue, address)))
        }
      }
    }
    return try read(operation(), found.sorted())
  }

  /// What a person may mean by `reference`, as Docker understands it: the containers with that id, else those with that
  /// name, else those whose id or name starts with it, `limit` at most. `source/id` is that one. Empty for the empty string.
  package func containers(named reference: String, limit: Int? = nil) throws(StoreError) -> [ContainerRecord] {
    guard !reference.isEmpty else { return [] }
    let operation = "read container \(reference)"
    // Neither a source nor an id has a slash.
    if let slash = reference.firstIndex(of: "/"),
      let exact = try container(
        source: String(reference[..<slash]), id: String(reference[reference.index(after: slash)...]))
    {
      return [exact]
    }
    let byID = try read(operation) { db in
      try db.rows("SELECT row FROM container WHERE id = ? ORDER BY row", reference)
    }
    guard byID.isEmpty else { return byID }
    let byName = try read(operation) { db in
      try db.rows("SELECT row FROM container WHERE name = ? ORDER BY row", reference)
    }
    guard byName.isEmpty else { return byName }
    // U+10FFFF sorts after every continuation: text is compared by its UTF-8 bytes. LIKE and GLOB cannot use the index
    // with a bound pattern.
    let last = reference + "\u{10FFFF}"
    return try read(operation) { db in
      try db.rows(
        """
        SELECT row FROM container WHERE id BETWEEN ? AND ? UNION
        SELECT row FROM container WHERE name BETWEEN ? AND ? ORDER BY row LIMIT ?
        """, reference, last, reference, last, limit ?? -1)
    }
  }

  /// Ids of all containers of a source, in order.
  package func containerIDs(source: String) throws(StoreError) -> [String] {
    try perform("read containers of source \(source)") { db in
      let rows = try db.rows("SELECT id FROM container WHERE source = ? ORDER BY id", source)
      var ids: [String] = []
      while let row = try rows.next() { ids.append(try row.get(0)) }
      return ids
    }
  }

  package enum RecordPart: Sendable {
    case all
    /// Without endpoints, publish requests, exposed ports and warnings, which are empty.
    case bindings
  }

  /// Every container in row order, in linear time, with one in memory at a time. All of one moment: SQLite keeps one
  /// snapshot while a statement runs. `body` may read the store and must not write to it; its errors pass unchanged.
  package func forEachContainer(_ part: RecordPart = .all, _ body: (ContainerRecord) throws -> Void) throws {
    let operation = "read containers"
    var cursor = try perform(operation) { db in try RecordCursor(1...Int64.max, part, in: db) }
    while let record = try perform(operation, { _ in try cursor.next() }) { try body(record) }
  }

  /// The containers whose row numbers `rows` selects, in that order.
  private func read(
    _ operation: @autoclosure () -> String, _ rows: (Database) throws -> Rows
  ) throws(StoreError) -> [ContainerRecord] {
    try read(operation(), try perform(operation()) { db in try numbers(rows(db)) })
  }

  private func read(_ operation: @autoclosure () -> String, _ rows: [Int64]) throws(StoreError) -> [ContainerRecord] {
    if rows.isEmpty { return [] }
    return try perform(operation()) { db in
      try rows.compactMap { row in
        var cursor = try RecordCursor(row...row, in: db)
        return try cursor.next()
      }
    }
  }

  private func numbers(_ rows: Rows) throws -> [Int64] {
    var numbers: [Int64] = []
    while let row = try rows.next() { numbers.append(try row.get(0)) }
    return numbers
  }
}

// MARK: - Writing

extension Store {
  /// Stores the container with all that belongs to it and returns its row. What `before` has, as it was read, is replaced and
  /// keeps its row; without it the container is new. Only what differs is written.
  ///
  /// Fails with reason `constraint`, among others when (source, id) is stored under another row or a host port has an
  /// owner. Inside `transaction` only leaving it with an error undoes what a failed call has written.
  package func record(
    _ record: ContainerRecord, replacing before: ContainerRecord? = nil
  ) throws(StoreError) -> Int64 {
    try perform("record container \(record.container.name)") { db in
      if db.isInTransaction { return try write(record, replacing: before, db) }
      return try transaction { try write(record, replacing: before, db) }
    }
  }

  /// Removes a container, as it was read. Unknown is no error.
  package func remove(_ record: ContainerRecord) throws(StoreError) {
    try perform("remove container \(record.container.name)") { db in
      if db.isInTransaction { return try delete(record, db) }
      try transaction { try delete(record, db) }
    }
  }

  private func delete(_ record: ContainerRecord, _ db: Database) throws {
    try deleteParts(of: record, from: Kept(), db)
    try db.run("DELETE FROM container WHERE row = ?", record.row)
  }

  /// How many rows of each part stay, from the first on, when a container is replaced.
  private struct Kept {
    var (endpoints, publish, expose, warnings, bindings) = (0, 0, 0, 0, 0)

    init() {}

    init(of old: ContainerRecord, in new: ContainerRecord) {
      func common<T: Equatable>(_ old: [T], _ new: [T], where stays: (T) -> Bool = { _ in true }) -> Int {
        zip(old, new).prefix { $0 == $1 && stays($0) }.count
      }
      endpoints = common(old.container.endpoints, new.container.endpoints)
      publish = common(old.container.publish, new.container.publish)
      expose = common(old.container.expose, new.container.expose)
      warnings = common(old.warnings, new.warnings)
      // What a binding refers to must stay, too.
      let networks = new.container.endpoints.prefix(endpoints).map(\.network)
      bindings = common(old.bindings, new.bindings) { [publish] binding in
        (binding.request ?? -1) < publish && networks.contains(binding.network)
      }
    }
  }

  /// Row by row: SQLite would put those of one DELETE into a temporary table first, for the sake of the foreign keys.
  private func deleteParts(of record: ContainerRecord, from kept: Kept, _ db: Database) throws {
    func delete(_ sql: StaticString, _ positions: Range<Int>) throws {
      for position in positions { try db.run(sql, record.row, position) }
    }
    let container = record.container
    // Bindings refer to endpoints and publish requests.
    try delete(
      "DELETE FROM binding WHERE container = ? AND position = ?", kept.bindings..<record.bindings.count)
    try delete(
      "DELETE FROM warning WHERE container = ? AND position = ?", kept.warnings..<record.warnings.count)
    try delete("DELETE FROM expose WHERE container = ? AND position = ?", kept.expose..<container.expose.count)
    try delete("DELETE FROM publish WHERE container = ? AND position = ?", kept.publish..<container.publish.count)
    try delete("DELETE FROM endpoint WHERE container = ? AND position = ?", kept.endpoints..<container.endpoints.count)
  }

  private func write(_ record: ContainerRecord, replacing before: ContainerRecord?, _ db: Database) throws -> Int64 {
    let container = record.container
    let (row, kept): (Int64, Kept)
    if let before {
      (row, kept) = (before.row, Kept(of: before, in: record))
      try db.run(
        "UPDATE container SET source = ?, id = ?, name = ?, generation = ?, publish_all = ? WHERE row = ?",
        container.source, container.id, container.name, container.generation, container.publishAll, row)
      guard db.changes == 1 else {
        throw SQLiteError(code: SQLITE_CONSTRAINT, message: "no container has row \(row)")
      }
      try deleteParts(of: before, from: kept, db)
    } else {
      try db.run(
        "INSERT INTO container (source, id, name, generation, publish_all) VALUES (?, ?, ?, ?, ?)",
        container.source, container.id, container.name, container.generation, container.publishAll)
      (row, kept) = (db.lastInsertedRow, Kept())
    }
    try write(container, row, from: kept, db)
    try write(record.bindings, row, from: kept.bindings, db)
    for (position, warning) in record.warnings.enumerated().dropFirst(kept.warnings) {
      try db.run(
        "INSERT INTO warning (container, position, code, message) VALUES (?, ?, ?, ?)",
        row, position, warning.code.rawValue, warning.message)
    }
    return row
  }

  private func write(_ container: Container, _ row: Int64, from kept: Kept, _ db: Database) throws {
    for (position, endpoint) in container.endpoints.enumerated().dropFirst(kept.endpoints) {
      try db.run(
        "INSERT INTO endpoint (container, position, network, ipv4, ipv6, gateway_priority) VALUES (?, ?, ?, ?, ?, ?)",
        row, position, endpoint.network, endpoint.ipv4, endpoint.ipv6,
        endpoint.gatewayPriority)
    }
    for (position, request) in container.publish.enumerated().dropFirst(kept.publish) {
      try db.run(
        """
        INSERT INTO publish (container, position, host_address, host_first, host_last, container_first,
          container_last, protocol, allow_from) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        row, position, request.hostAddress, request.hostPorts?.first, request.hostPorts?.last,
        request.containerPorts.first, request.containerPorts.last, request.transport.rawValue,
        JSON.text(request.allowFrom))
    }
    for (position, ports) in container.expose.enumerated().dropFirst(kept.expose) {
      try db.run(
        "INSERT INTO expose (container, position, first, last, protocol) VALUES (?, ?, ?, ?, ?)",
        row, position, ports.ports.first, ports.ports.last, ports.transport.rawValue)
    }
  }

  private func write(_ bindings: [Binding], _ row: Int64, from kept: Int, _ db: Database) throws {
    for (position, binding) in bindings.enumerated().dropFirst(kept) {
      try db.run(
        """
        INSERT INTO binding (container, position, network, mode, family, protocol, host_address, host_first, host_last,
          container_address, container_first, container_last, request, allow_from)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        row, position, binding.network, binding.mode.rawValue, binding.family.rawValue, binding.transport.rawValue,
        binding.hostAddress, binding.hostPorts?.first, binding.hostPorts?.last,
        binding.containerAddress, binding.containerPorts.first, binding.containerPorts.last,
        binding.request, JSON.text(binding.allowFrom))
    }
  }
}
