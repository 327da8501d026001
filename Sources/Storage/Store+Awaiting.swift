// Containers that wait until their source announces them again.
extension Store {
  /// Their rows.
  package func awaiting() throws(StoreError) -> Set<Int64> {
    try perform("read containers that wait for their source") { db in
      let rows = try db.rows("SELECT container FROM awaiting")
      var awaiting: Set<Int64> = []
      while let row = try rows.next() { awaiting.insert(try row.get(0)) }
      return awaiting
    }
  }

  /// All containers of a source wait from now on.
  package func holdBack(source: String) throws(StoreError) {
    try perform("hold back source \(source)") { db in
      try db.run("INSERT OR IGNORE INTO awaiting SELECT row FROM container WHERE source = ?", source)
    }
  }

  package func holdBack(row: Int64) throws(StoreError) {
    try perform("hold back a container") { db in
      try db.run("INSERT INTO awaiting (container) VALUES (?)", row)
    }
  }

  /// No container of a source waits any more.
  package func confirm(source: String) throws(StoreError) {
    try perform("confirm source \(source)") { db in
      try db.run(
        """
        DELETE FROM awaiting WHERE EXISTS (SELECT 1 FROM container WHERE row = awaiting.container AND source = ?)
        """, source)
    }
  }

  package func confirm(row: Int64) throws(StoreError) {
    try perform("confirm a container") { db in
      try db.run("DELETE FROM awaiting WHERE container = ?", row)
    }
  }
}
