import TestSupport

@testable import Storage

/// Ends an agent between two steps: its commits, what it sends to the kernel, what it reads from there. What it does
/// afterwards has no effect, as if it had not been there any more.
final class Reaper {
  struct Dead: Error {}

  /// How many steps it still makes; `nil`: it lives.
  var steps: Int?
  private(set) var isDead = false
  /// What the next commits fail with; `nil`: nothing.
  var storeFaults: [Int32?] = []
  private(set) var deaths: [String: Int] = [:]

  /// The agent's next life.
  func revive() { (isDead, steps, storeFaults) = (false, nil, []) }

  func passes(_ step: String) -> Bool {
    if isDead { return true }
    guard let left = steps else { return false }
    steps = left - 1
    isDead = left == 0
    if isDead { deaths[step, default: 0] += 1 }
    return isDead
  }

  /// SIGKILL between two rounds, with the replies of the last one unread.
  func kill() {
    isDead = true
    deaths["replies lost", default: 0] += 1
  }

  /// What a commit of the agent meets.
  func commits() throws {
    if passes("before a commit") { throw Dead() }
    if !storeFaults.isEmpty, let code = storeFaults.removeFirst() { throw SQLiteError(code: code) }
  }
}
