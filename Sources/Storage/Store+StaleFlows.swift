import GRDB
import PortMaps

extension Store {
  /// Records flows to be ended once the change that made them stale is in the kernel.
  package func recordStaleFlows(_ flows: [StaleFlows]) throws(StoreError) {
    try perform("record stale flows") { db in
      for flow in flows {
        try execute(
          db,
          """
          INSERT INTO stale_flow
            (family, protocol, host_address, host_first, host_last, container_address, container_first, removed)
          VALUES (?, ?, ?, ?, ?, ?, ?, ?)
          """,
          [
            flow.hostAddress.family.rawValue, flow.transport.rawValue, flow.hostAddress.description,
            flow.hostPorts.first, flow.hostPorts.last, flow.containerAddress.description, flow.firstContainerPort,
            flow.kind == .removed,
          ])
      }
    }
  }

  /// What is still to be ended, oldest first, with the number of the last of them.
  package func staleFlows() throws(StoreError) -> (flows: [StaleFlows], last: Int64) {
    try perform("read stale flows") { db in
      let rows = try rows(
        db,
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

  /// The number of the last one recorded; 0 when there is none.
  package func lastStaleFlow() throws(StoreError) -> Int64 {
    try perform("read the last stale flow") { db in try fact(rows(db, "SELECT ifnull(max(id), 0) FROM stale_flow")) ?? 0
    }
  }

  /// Those after number `last` were recorded with a change that has been put back.
  package func dropStaleFlows(after last: Int64) throws(StoreError) {
    try perform("drop stale flows") { db in try execute(db, "DELETE FROM stale_flow WHERE id > ?", [last]) }
  }

  /// Those up to number `last` have been ended.
  package func forgetStaleFlows(through last: Int64) throws(StoreError) {
    try perform("forget stale flows") { db in try execute(db, "DELETE FROM stale_flow WHERE id <= ?", [last]) }
  }
}
