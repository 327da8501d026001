import Feed
import Logging
import Netfilter
import PortMaps

// Who may change the table, and what happens when somebody else did.
//
// Where the kernel lets us own it, nobody can, not even while this process is away: the socket that owns it is also kept by
// the service manager, or the table stays behind without an owner until the next start adopts it. Where it does not, or with
// `owner = false`, the agent listens to nf_tables and repairs what others change.
extension PortMapper {
  /// Under which the service manager keeps the owning socket.
  static let tableSocketName = "table"

  static func openKernel(_ configuration: Configuration, _ inherited: CInt?, _ log: Logger) throws -> KernelRuleset {
    if let inherited {
      do {
        return try open(configuration, inherited, log)
      } catch {
        log.warning("the table's socket that was kept is of no use", metadata: ["error": "\(error)"])
        ServiceManager.forget(tableSocketName)
      }
    }
    return try open(configuration, nil, log)
  }

  private static func open(_ configuration: Configuration, _ socket: CInt?, _ log: Logger) throws -> KernelRuleset {
    let kernel = try KernelRuleset.open(owner: configuration.owner, on: socket)
    switch kernel.ownership {
    case .owned, .released: break
    case .plain where configuration.owner:
      log.notice(
        "this kernel does not know tables that are owned and persist (Linux 6.9): foreign changes are repaired")
    case .plain: ServiceManager.forget(tableSocketName)
    }
    return kernel
  }

  /// Gives the service manager the socket that owns the table, so that the table stays owned while no agent runs.
  func keepTableSocket() {
    guard let kernel, kernel.ownership == .owned, let socket = kernel.descriptor else { return }
    ServiceManager.store(socket, as: Self.tableSocketName)
  }

  // MARK: Foreign changes

  func tableChanged(by foreign: ForeignChange) {
    guard administrators.isEmpty else { return }
    repair(after: foreign)
  }

  /// Somebody may have changed it unseen: reads it when there was any transaction since it was last known to be right.
  func tableMayHaveChanged() {
    guard let kernel, administrators.isEmpty else { return }
    do {
      if try kernel.generation() != verifiedGeneration { repair(after: nil) }
    } catch {
      log.error("could not read the kernel's generation", metadata: ["error": "\(error)"])
    }
  }

  private func repair(after foreign: ForeignChange?) {
    do {
      try convergeEverything(after: foreign)
    } catch {
      log.error(
        "the kernel's table was changed and could not be repaired: run pmagent reconcile",
        metadata: foreign.metadata.merging(["error": "\(error)"]) { $1 })
    }
  }

  // MARK: Maintenance

  /// Leaves the table to an administrator until the connection says so or closes. Events go on; one that the kernel refuses
  /// ends the administrator's changes, because the table is then repaired.
  func beginMaintenance(_ connection: ConnectionID) -> Reply {
    do {
      if administrators.isEmpty, let kernel, kernel.ownership == .owned {
        ServiceManager.forget(Self.tableSocketName)
        try kernel.release()
      }
      if administrators.insert(connection).inserted { log.notice("maintenance: the table is left to an administrator") }
      return try unchanged()
    } catch {
      return .failed(refusal(of: error, "give up the table"))
    }
  }

  /// The table becomes what is stored, and ours.
  func endMaintenance(_ connection: ConnectionID) -> Reply {
    guard administrators.remove(connection) != nil else {
      return .failed(
        RequestError(.badRequest, "maintenance.end without maintenance.begin on this connection", field: "event"))
    }
    guard administrators.isEmpty else { return reconcile() }
    kernel?.takeBack()
    let reply = reconcile()
    keepTableSocket()
    log.notice("maintenance ended")
    return reply
  }
}

extension ForeignChange? {
  var metadata: Logger.Metadata {
    guard let self else { return [:] }
    return ["by": "\(self.command == "" ? "an unknown program" : self.command)", "pid": "\(self.pid)"]
  }
}

extension RulesetChange {
  /// What a table that had to be changed like this was like.
  var metadata: Logger.Metadata {
    let (present, expected) = (Set(removals.map(\.identity)), Set(additions.map(\.identity)))
    return [
      "extra": Self.list(removals.filter { !expected.contains($0.identity) }),
      "missing": Self.list(additions.filter { !present.contains($0.identity) }),
      "different": Self.list(additions.filter { present.contains($0.identity) }),
    ].compactMapValues { $0 }
  }

  /// The first few; a flushed table misses thousands.
  private static func list(_ elements: [Element]) -> Logger.MetadataValue? {
    if elements.isEmpty { return nil }
    let names = elements.prefix(3).map { element in
      "\(element.set.rawValue) { \(NftText.key(element.key)) }\(element.comment == "" ? "" : " of \(element.comment)")"
    }
    let more = elements.count > 3 ? " and \(elements.count - 3) more" : ""
    return "\(names.joined(separator: ", "))\(more)"
  }
}
