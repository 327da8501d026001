/// The `ports` of a reply: a container's ports in Docker's form and order.
package struct PortListing: Sendable {
  package struct Row: Sendable {
    package var port: ContainerPort
    /// `nil` for a port that is exposed but not published; a binding without host port belongs to a routed family.
    package var bindings: [(address: IPAddress, hostPort: UInt16?)]?

    package init(port: ContainerPort, bindings: [(address: IPAddress, hostPort: UInt16?)]?) {
      (self.port, self.bindings) = (port, bindings)
    }
  }

  package var rows: [Row]

  package init(rows: [Row]) { self.rows = rows }
}
