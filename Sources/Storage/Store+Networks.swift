import PortMaps

extension Store {
  /// All networks, by id.
  package func networks() throws(StoreError) -> [Network] {
    try perform("read networks") { db in
      let rows = try db.rows(
        "SELECT source, id, name, driver, bridge, internal, subnets, options FROM network ORDER BY id")
      var networks: [Network] = []
      while let row = try rows.next() {
        networks.append(
          Network(
            source: try row.get(0), id: try row.get(1), name: try row.get(2),
            driver: try row.get(3, NetworkDriver.init(rawValue:)), bridge: try row.optional(4),
            isInternal: try row.get(5), subnets: try row.prefixes(6), options: try row.get(7, JSON.map)))
      }
      return networks
    }
  }

  /// Inserts the network, or replaces the one with its id.
  ///
  /// Fails with reason `constraint` when its name or bridge belongs to another network, or when `bridge` is given for a
  /// driver other than `bridge` or missing for that one.
  package func record(_ network: Network) throws(StoreError) {
    try perform("record network \(network.name)") { db in
      try db.run(
        """
        INSERT INTO network (source, id, name, driver, bridge, internal, subnets, options)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET source = excluded.source, name = excluded.name, driver = excluded.driver,
          bridge = excluded.bridge, internal = excluded.internal, subnets = excluded.subnets, options = excluded.options
        """,
        network.source, network.id, network.name, network.driver.rawValue, network.bridge, network.isInternal,
        JSON.text(network.subnets), try JSON.text(network.options))
    }
  }

  /// Unknown is no error. Fails with reason `constraint` while a container is attached.
  package func removeNetwork(id: String) throws(StoreError) {
    try perform("remove network \(id)") { db in
      try db.run("DELETE FROM network WHERE id = ?", id)
    }
  }
}
