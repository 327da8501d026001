import Feed
import Logging
import PortMaps
import Storage

// `restore = "confirm"`: after a boot nobody knows which of the stored containers run again. Their ports stay theirs, but
// nothing of them is installed before their source has announced them; what it does not announce goes at `snapshot.end`.
extension PortMapper {
  /// Decides which stored containers wait. At the first start after a boot those of each source that is to confirm, later
  /// those that still do.
  func holdBackUnconfirmed() throws {
    awaiting = try store.awaiting()
    if awaiting.isEmpty, try host.isOfThisBoot() { return }
    try store.verify()
    // In one transaction: a crash in between would make the next start the second one of this boot.
    try store.transaction {
      let isFirstStartSinceBoot = try host.forgetEarlierBoot()
      for source in try store.sources() {
        switch configuration.restorePolicy(of: source) {
        case .apply: try store.confirm(source: source)
        case .confirm where isFirstStartSinceBoot: try store.holdBack(source: source)
        case .confirm: break
        }
      }
    }
    awaiting = try store.awaiting()
    if !awaiting.isEmpty {
      log.notice("mappings wait for their source", metadata: ["containers": "\(awaiting.count)"])
    }
  }

  /// Its source speaks of this container, so it runs. Returns whether it had been waiting.
  @discardableResult
  func confirm(_ record: ContainerRecord, _ scope: inout Scope) throws -> Bool {
    guard awaiting.remove(record.row) != nil else { return false }
    scope.note(confirmed: record.row)
    try store.confirm(row: record.row)
    return true
  }

  /// What the kernel has or is to have of `records`.
  func elements(of records: some Sequence<ContainerRecord>, except waiting: Set<Int64>) -> [Element] {
    (waiting.isEmpty ? Array(records) : records.filter { !waiting.contains($0.row) }).elements
  }

  func awaitingReasons() throws -> [Status.Degradation] {
    if awaiting.isEmpty { return [] }
    var counts: [String: Int] = [:]
    try store.forEachContainer(.bindings) { record in
      if awaiting.contains(record.row) { counts[record.container.source, default: 0] += 1 }
    }
    return counts.sorted { $0.key < $1.key }.map { source, count in
      Status.Degradation(
        code: "awaiting-source",
        message: "\(count) container(s) of source \"\(source)\" wait until it announces them (restore = \"confirm\")")
    }
  }
}
