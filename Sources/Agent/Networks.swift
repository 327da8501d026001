import PortMaps

/// The networks there are, by id and by name.
struct Networks {
  private(set) var byID: [String: ResolvedNetwork] = [:]
  private var idsByName: [String: String] = [:]

  /// By id, else by name.
  subscript(reference: String) -> ResolvedNetwork? {
    byID[reference] ?? idsByName[reference].flatMap { byID[$0] }
  }

  var all: [ResolvedNetwork] { byID.values.sorted { $0.network.name < $1.network.name } }

  mutating func set(_ network: ResolvedNetwork?, id: String) {
    if let old = byID.removeValue(forKey: id) { idsByName[old.network.name] = nil }
    guard let network else { return }
    byID[id] = network
    idsByName[network.network.name] = id
  }

  /// Another network that has the name or the bridge of `network`.
  func rival(of network: Network) -> (network: Network, field: String, value: String)? {
    for other in byID.values.map(\.network) where other.id != network.id {
      if other.name == network.name { return (other, "name", network.name) }
      if let bridge = network.bridge, other.bridge == bridge { return (other, "bridge", bridge) }
    }
    return nil
  }
}
