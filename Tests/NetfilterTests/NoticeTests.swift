import Glibc
import Netfilter
import PortMaps
import TestSupport
import Testing

@Suite("notices of transactions")
struct NoticeTests {
  /// An agent that took its own changes for foreign ones would read the whole table after each event, and find nothing wrong.
  @Test("a change of our own is no foreign one")
  func ours() throws {
    let bench = try Bench()
    let socket = try Descriptor(
      bench.namespace.run { () throws(KernelError) in try RulesetNotices.openSocket() }, "listen to nf_tables")
    var notices = RulesetNotices()
    try bench.kernel.apply(RulesetChange(additions: samples), skeleton: .keep)
    #expect(foreignChanges(in: &notices, socket, own: bench.kernel.portID) == 0)
    try bench.namespace.open().apply(RulesetChange(removals: [samples[0]]), skeleton: .keep)
    #expect(foreignChanges(in: &notices, socket, own: bench.kernel.portID) == 1)
  }

  /// All there is to read: a transaction is told before it is answered.
  private func foreignChanges(in notices: inout RulesetNotices, _ socket: Descriptor, own portID: UInt32) -> Int {
    var (count, buffer) = (0, [UInt8](repeating: 0, count: 64 << 10))
    while case let length = recv(socket.number, &buffer, buffer.count, 0), length > 0 {
      buffer[..<length].withUnsafeBytes { notices.add($0, own: portID) { _ in count += 1 } }
    }
    return count
  }
}
