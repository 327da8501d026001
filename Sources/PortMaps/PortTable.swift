/// Which host ports our containers own. One lookup per port and address, whatever the number of mappings.
///
/// `0.0.0.0` and `::` conflict with every address of their family; families and protocols are independent. It mirrors
/// the `binding` table of the database, where a trigger enforces the same.
package struct PortTable: Sendable {
  private struct Space: Hashable {
    var family: AddressFamily
    var transport: TransportProtocol
  }
  private struct Ports {
    /// Owner of a port on every address, indexed by port; empty until the first. 0 = nobody.
    var any: [Int64] = []
    /// How many specific addresses own a port, indexed by port.
    var specificCount: [UInt16] = []
  }

  private var spaces: [Space: Ports] = [:]
  private var specific: [HostPort: Int64] = [:]

  package init() {}

  /// Who owns `port`, counting overlaps of "any address" and specific ones; `nil` when it is free.
  package func owner(of port: HostPort) -> Int64? {
    guard let ports = spaces[Space(family: port.address.family, transport: port.transport)] else { return nil }
    let index = Int(port.port)
    if !ports.any.isEmpty, ports.any[index] != 0 { return ports.any[index] }
    guard !ports.specificCount.isEmpty, ports.specificCount[index] > 0 else { return nil }
    guard port.address.isAny else { return specific[port] }
    // Only reached to name the holder in a refusal.
    return specific.first {
      $0.key.port == port.port && $0.key.transport == port.transport && $0.key.address.family == port.address.family
    }?.value
  }

  /// Precondition: `owner` is not 0, and the ports are free.
  package mutating func claim(_ binding: Binding, for owner: Int64) { set(binding, to: owner) }
  package mutating func release(_ binding: Binding) { set(binding, to: 0) }

  private mutating func set(_ binding: Binding, to owner: Int64) {
    guard let range = binding.hostPorts else { return }
    let space = Space(family: binding.family, transport: binding.transport)
    if binding.hostAddress.isAny {
      if spaces[space, default: Ports()].any.isEmpty {
        spaces[space, default: Ports()].any = Array(repeating: 0, count: 65536)
      }
      for port in range.ports { spaces[space]?.any[Int(port)] = owner }
      return
    }
    if spaces[space, default: Ports()].specificCount.isEmpty {
      spaces[space, default: Ports()].specificCount = Array(repeating: 0, count: 65536)
    }
    for port in range.ports {
      let key = HostPort(binding.hostAddress, binding.transport, port)
      let previous = specific[key]
      specific[key] = owner == 0 ? nil : owner
      switch (previous, owner) {
      case (nil, 1...): spaces[space]?.specificCount[Int(port)] += 1
      case (.some, 0): spaces[space]?.specificCount[Int(port)] -= 1
      default: break
      }
    }
  }
}
