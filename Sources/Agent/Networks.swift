import PortMaps

/// The networks there are, by id, name and bridge.
struct Networks {
  private(set) var byID: [String: ResolvedNetwork] = [:]
  private var idsByName: [String: String] = [:]
  private var idsByBridge: [String: String] = [:]

  /// By id, else by name.
  subscript(reference: String) -> ResolvedNetwork? {
    byID[reference] ?? idsByName[reference].flatMap { byID[$0] }
  }

  subscript(bridge name: String) -> ResolvedNetwork? { idsByBridge[name].flatMap { byID[$0] } }

  /// By name, as listings show them.
  var all: [ResolvedNetwork] { byID.values.sorted { $0.network.name < $1.network.name } }

  mutating func set(_ network: ResolvedNetwork?, id: String) {
    if let old = byID.removeValue(forKey: id)?.network {
      idsByName[old.name] = nil
      if let bridge = old.bridge { idsByBridge[bridge] = nil }
    }
    guard let network else { return }
    byID[id] = network
    idsByName[network.network.name] = id
    if let bridge = network.network.bridge { idsByBridge[bridge] = id }
  }

  /// Another network that has the name or the bridge of `network`.
  func rival(of network: Network) -> (network: Network, field: String, value: String)? {
    if let other = idsByName[network.name].flatMap({ byID[$0] })?.network, other.id != network.id {
      return (other, "name", network.name)
    }
    // A reference is an id or a name: what is one network's id cannot be another's name.
    if let other = byID[network.name]?.network, other.id != network.id { return (other, "name", network.name) }
    if let other = idsByName[network.id].flatMap({ byID[$0] })?.network, other.id != network.id {
      return (other, "id", network.id)
    }
    if let bridge = network.bridge, let other = self[bridge: bridge]?.network, other.id != network.id {
      return (other, "bridge", bridge)
    }
    return nil
  }

  /// Subnets from which no container can be reached: those of another bridge, and the host's own loopback addresses.
  func warnings(about network: Network) -> [Warning] {
    guard network.driver == .bridge else { return [] }
    let others = all.map(\.network).filter { $0.driver == .bridge && $0.id != network.id }
    return network.subnets.flatMap { subnet -> [Warning] in
      var owners = others.flatMap { other in
        other.subnets.filter(subnet.overlaps).map { "\($0) of network \(other.name)" }
      }
      owners += [Skeleton.loopback4, Skeleton.loopback6].filter(subnet.overlaps).map { "\($0), the host's own" }
      return owners.map {
        Warning(.subnetOverlaps, "subnet \(subnet) overlaps \($0): the host reaches one of them only")
      }
    }
  }
}
