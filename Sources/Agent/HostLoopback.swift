import Logging
import Netfilter
import PortMaps

/// What the host's own ::1 needs to reach published ports, or why it does not.
struct HostLoopback {
  private enum Path {
    /// Nothing is installed (`firewall = false`).
    case none
    case works(LoopbackPath)
    case unsupported(String)
  }
  private let path: Path
  private let log: Logger

  static func none(_ log: Logger) -> HostLoopback { HostLoopback(path: .none, log: log) }

  /// Asks the running kernel, not its version.
  static func open(_ kernel: KernelRuleset, _ log: Logger) -> HostLoopback {
    if let value = Sysctl.loopbackIPv6Disabled.value {
      if value != "0" { return unsupported("net.ipv6.conf.lo.disable_ipv6 is \(value), so this host has no ::1", log) }
    } else {
      return unsupported("this kernel has no IPv6", log)
    }
    do {
      let path = LoopbackPath(on: kernel)
      try path.probe()
      return HostLoopback(path: .works(path), log: log)
    } catch {
      return unsupported("this kernel cannot lead ::1 to a container: \(error)", log)
    }
  }

  private static func unsupported(_ reason: String, _ log: Logger) -> HostLoopback {
    log.info("ports published on ::1 will reach nothing", metadata: ["reason": "\(reason)"])
    return HostLoopback(path: .unsupported(reason), log: log)
  }

  /// Why a port published on ::1 is not reached; `nil` when it is.
  var unsupported: String? {
    if case .unsupported(let reason) = path { reason } else { nil }
  }

  // MARK: The kernel's table

  /// Returns whether all of it is in place.
  func converge(after foreign: ForeignChange?) -> Bool {
    guard case .works(let path) = path else { return true }
    do {
      if try path.converge() { log.notice("kernel table for ::1 rebuilt", metadata: foreign.metadata) }
      return true
    } catch {
      log.error("::1 does not reach published ports", metadata: ["error": "\(error)"])
      return false
    }
  }

  func isInstalled() throws -> Bool {
    guard case .works(let path) = path else { return true }
    return try path.isInstalled()
  }

  // MARK: Warnings

  func warnings(about bindings: [Binding]) -> [Warning] {
    guard let unsupported, bindings.contains(where: { $0.family == .ipv6 && $0.hostAddress.isLoopback }) else {
      return []
    }
    return [Warning(.ipv6LoopbackUnsupported, "the ports published on ::1 reach nothing: \(unsupported)")]
  }
}

extension ResolvedNetwork {
  /// Whether ports published on ::1 lead to it.
  var isBehindLoopback: Bool {
    isFiltered && !network.isInternal && network.has(.ipv6) && options.mode(.ipv6).translates
  }
}
