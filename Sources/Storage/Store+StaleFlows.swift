import PortMaps

extension Store {
  /// Records flows to be ended once the change that made them stale is in the kernel. Returns the number of the first.
  package func recordStaleFlows(_ flows: [StaleFlows]) throws(StoreError) -> Int64? {
    try perform("record stale flows") { db in
      var first: Int64?
      for flow in flows {
        try db.run(
          """
          INSERT INTO stale_flow
            (family, protocol, host_address, host_first, host_last, container_address, container_first, removed)
          VALUES (?, ?, ?, ?, ?, ?, ?, ?)
          """,
          flow.hostAddress.family.rawValue, flow.transport.rawValue, flow.hostAddress,
          flow.hostPorts.first, flow.hostPorts.last, flow.containerAddress, flow.firstContainerPort,
          flow.kind == .removed)
        first = first ?? db.lastInsertedRow
      }
      return first
    }
  }

  /// What is still to be ended, oldest first, with the number of the last of them.
  package func staleFlows() throws(StoreError) -> (flows: [StaleFlows], last: Int64) {
    try perform("read stale flows") { db in
      let rows = try db.rows(
        """
        SELECT id, removed, protocol, host_address, host_first, host_last, container_address, container_first
        FROM stale_flow ORDER BY id
        """)
      var (flows, last): ([StaleFlows], Int64) = ([], 0)
      while let row = try rows.next() {
        last = try row.get(0)
        flows.append(
          StaleFlows(
            try row.get(1) ? .removed : .added, transport: try row.transport(2), hostAddress: try row.address(3),
            hostPorts: try row.ports(4), containerAddress: try row.address(6), firstContainerPort: try row.get(7)))
      }
      return (flows, last)
    }
  }

  /// Those from number `first` on were recorded with a change that has been put back.
  package func dropStaleFlows(from first: Int64) throws(StoreError) {
    try perform("drop stale flows") { db in try db.run("DELETE FROM stale_flow WHERE id >= ?", first) }
  }

  /// Those up to number `last` have been ended.
  package func forgetStaleFlows(through last: Int64) throws(StoreError) {
    try perform("forget stale flows") { db in try db.run("DELETE FROM stale_flow WHERE id <= ?", last) }
  }
}
