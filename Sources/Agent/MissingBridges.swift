import Feed
import Glibc
import Logging
import PortMaps
import Storage

// A bridge that has gone, or is not there yet: the mappings stay, and lead nowhere. Whose bridge it is makes it again, and the
// agent then sets what it needs (`hostChanged`); until then `status` says so, and the log when it begins and ends.
extension PortMapper {
  func missingBridgeReasons() throws -> [Status.Degradation] {
    try networks.all.compactMap(absence).map { Status.Degradation(code: "bridge-missing", message: $0) }
  }

  /// Tells the log of those that have gone or are back since it was last told.
  func lookForBridges(of networks: [ResolvedNetwork]) {
    for network in networks {
      guard let bridge = network.network.bridge else { continue }
      do {
        if let reason = try absence(network) {
          if missingBridges.insert(bridge).inserted {
            log.notice("a bridge is missing", metadata: ["reason": "\(reason)"])
          }
        } else if missingBridges.remove(bridge) != nil {
          log.notice("a bridge is back", metadata: ["bridge": "\(bridge)"])
        }
      } catch {
        log.error("could not count the containers of a network", metadata: ["error": "\(error)"])
      }
    }
  }

  /// `nil` when the bridge is there, or when nobody misses it: Podman makes one with the first container and removes it with
  /// the last.
  private func absence(_ network: ResolvedNetwork) throws -> String? {
    guard kernel != nil, network.isFiltered, let bridge = network.network.bridge,
      if_nametoindex(bridge) == 0, errno == ENODEV
    else { return nil }
    let containers = try store.containerCount(on: network.network.id)
    return containers == 0
      ? nil
      : "network \(network.network.name): this host has no bridge \(bridge), so nothing reaches its \(containers) "
        + "container(s) until their runtime has made it again"
  }
}
