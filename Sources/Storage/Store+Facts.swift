extension Store {
  /// Counts committed changes: 0 in a new database, never goes back.
  package var revision: Int {
    get throws(StoreError) {
      if let advancedRevision { return advancedRevision }
      return try perform("read revision") { db in
        try first(db.rows("SELECT value FROM revision")) ?? 0
      }
    }
  }

  /// Returns the new revision, which is valid once the transaction is committed. It is written then, once for all events of a
  /// round.
  package func advanceRevision() throws(StoreError) -> Int {
    let revision = try revision + 1
    if isInTransaction { advancedRevision = revision } else { try write(revision: revision) }
    return revision
  }

  func write(revision: Int) throws(StoreError) {
    try perform("advance revision") { db in try db.run("UPDATE revision SET value = ? WHERE one = 1", revision) }
  }

  /// The feeds that have a network or a container.
  package func sources() throws(StoreError) -> [String] {
    try perform("read sources") { db in
      let rows = try db.rows("SELECT source FROM network UNION SELECT source FROM container ORDER BY source")
      var sources: [String] = []
      while let row = try rows.next() { sources.append(try row.get(0)) }
      return sources
    }
  }

  /// A fact the agent wants to find again, `nil` when it was never set.
  package func setting(_ name: String) throws(StoreError) -> String? {
    try perform("read setting \(name)") { db in
      try first(db.rows("SELECT value FROM setting WHERE name = ?", name))
    }
  }

  package func setSetting(_ name: String, _ value: String) throws(StoreError) {
    try perform("record setting \(name)") { db in
      try db.run(
        "INSERT INTO setting (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        name, value)
    }
  }

  /// Notes that the agent is about to change a kernel setting. The first value noted stays until it is forgotten: it is
  /// the administrator's, later ones are ours.
  package func recordSysctl(name: String, previous: String) throws(StoreError) {
    try perform("record sysctl \(name)") { db in
      try db.run(
        "INSERT INTO sysctl (name, previous) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", name, previous)
    }
  }

  /// The kernel settings the agent changed, with the value found before, by name.
  package func sysctls() throws(StoreError) -> [(name: String, previous: String)] {
    try perform("read sysctls") { db in
      let rows = try db.rows("SELECT name, previous FROM sysctl ORDER BY name")
      var sysctls: [(name: String, previous: String)] = []
      while let row = try rows.next() { sysctls.append((try row.get(0), try row.get(1))) }
      return sysctls
    }
  }

  package func forgetSysctl(name: String) throws(StoreError) {
    try perform("forget sysctl \(name)") { db in
      try db.run("DELETE FROM sysctl WHERE name = ?", name)
    }
  }

  /// Column 0 of the first row; `nil` when there is none.
  func first<T: ColumnValue>(_ rows: Rows) throws -> T? {
    try rows.next().map { try $0.get(0) }
  }
}
