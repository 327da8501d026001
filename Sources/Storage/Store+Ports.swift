import PortMaps

extension Store {
  /// The container that owns a host port, if any: `0.0.0.0` and `::` meet every address of their family, any other
  /// address meets itself and those. The same condition as in the triggers on table `binding`.
  package func owner(of port: HostPort) throws(StoreError) -> (name: String, id: String, source: String)? {
    let address = port.address
    return try perform("find owner of \(port)") { db in
      let rows =
        try address.isAny
        ? db.rows(
          """
          SELECT container.name, container.id, container.source FROM reach_class AS class CROSS JOIN binding AS other
          JOIN container ON container.row = other.container
          WHERE other.family = ?1 AND other.protocol = ?2 AND other.reach = class.reach
            AND other.host_first BETWEEN ?3 - class.reach + 1 AND ?3 AND other.host_last >= ?3
          LIMIT 1
          """, address.family.rawValue, port.transport.rawValue, port.port)
        : db.rows(
          """
          SELECT container.name, container.id, container.source FROM reach_class AS class CROSS JOIN binding AS other
          JOIN container ON container.row = other.container
          WHERE other.family = ?1 AND other.protocol = ?2 AND other.reach = class.reach
            AND other.host_address IN (?4, ?5)
            AND other.host_first BETWEEN ?3 - class.reach + 1 AND ?3 AND other.host_last >= ?3
          LIMIT 1
          """, address.family.rawValue, port.transport.rawValue, port.port, address,
          IPAddress.any(address.family))
      guard let row = try rows.next() else { return nil }
      return (try row.get(0), try row.get(1), try row.get(2))
    }
  }

  /// Mappings are counted port by port. Reads one index of each table from end to end: for a status, not for an event.
  package func counts() throws(StoreError) -> (networks: Int, containers: Int, mappings: Int) {
    try perform("count") { db in
      let rows = try db.rows(
        """
        SELECT (SELECT count(*) FROM network), (SELECT count(*) FROM container),
          (SELECT ifnull(sum(container_last - container_first + 1), 0) FROM binding)
        """)
      guard let row = try rows.next() else { return (0, 0, 0) }
      return (try row.get(0), try row.get(1), try row.get(2))
    }
  }
}
