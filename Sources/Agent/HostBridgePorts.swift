import Logging
import Netfilter
import PortMaps

/// What the ports of managed bridges need that no packet filter can do.
///
/// Frames between two ports of a bridge are the bridge's own business, unless br_netfilter shows them to the packet filter:
///
///   without br_netfilter   inter-container communication off is isolation of the ports
///   with br_netfilter      the filter separates them, and isolation would also stop what it lets through: published ports.
///                          A container that asks for its own published port needs hairpin mode to hear its request
struct HostBridgePorts {
  /// `nil` with `firewall = false`, or where it could not be opened.
  private let ports: BridgePorts?
  private let log: Logger

  static func none(_ log: Logger) -> HostBridgePorts { HostBridgePorts(ports: nil, log: log) }

  static func open(_ log: Logger) -> HostBridgePorts {
    do {
      return HostBridgePorts(ports: try BridgePorts.open(), log: log)
    } catch {
      log.error("bridge ports cannot be set", metadata: ["error": "\(error)"])
      return none(log)
    }
  }

  /// All ports of the network's bridge. `old`: the network as it was before.
  func prepare(_ network: ResolvedNetwork?, insteadOf old: ResolvedNetwork? = nil) {
    if let bridge = old?.separatedBridge, bridge != network?.separatedBridge {
      set(BridgePorts.Settings(isIsolated: false), on: bridge)
    }
    if let network, let bridge = network.network.bridge { set(network.portSettings, on: bridge) }
  }

  /// One port, which has appeared or changed.
  func prepare(_ port: String, of network: ResolvedNetwork) {
    guard let bridge = network.network.bridge else { return }
    set(network.portSettings, on: bridge, port)
  }

  private func set(_ settings: BridgePorts.Settings, on bridge: String, _ port: String? = nil) {
    guard let ports, !settings.isEmpty else { return }
    do {
      if let port { try ports.set(settings, of: port, on: bridge) } else { try ports.set(settings, ofPortsOf: bridge) }
    } catch {
      log.error("could not set ports of a bridge", metadata: ["bridge": "\(bridge)", "error": "\(error)"])
    }
  }
}

extension ResolvedNetwork {
  /// The bridge whose ports are kept apart.
  var separatedBridge: String? {
    isFiltered && !options.allowsInterContainerCommunication ? network.bridge : nil
  }

  fileprivate var portSettings: BridgePorts.Settings {
    guard isFiltered else { return BridgePorts.Settings() }
    let isFilteredByIP = AddressFamily.allCases.contains { Sysctl.bridgeNetfilter($0).value == "1" }
    let translates = AddressFamily.allCases.contains { network.has($0) && options.mode($0).translates }
    // Who has set what we do not need keeps it.
    return BridgePorts.Settings(
      isIsolated: separatedBridge == nil ? nil : !isFilteredByIP,
      isHairpin: isFilteredByIP && translates && !network.isInternal ? true : nil)
  }
}
