import CNetfilter
import Glibc
import PortMaps
import TestSupport
import Testing

@testable import Netfilter

@Suite("tracked flows")
struct ConntrackTests {
  /// As conntrack(8) takes them from a file: sent to `destination`:`port`, led to `container`:80.
  private func flow(
    _ transport: TransportProtocol, _ destination: String, port: Int, to container: String, from sourcePort: Int = 5000
  ) -> String {
    let isIPv6 = destination.contains(":")
    return "-I -p \(transport) -t 600 -s \(isIPv6 ? "2001:db8::9" : "198.51.100.9") "
      + "-d \(destination) -r \(container) -q \(isIPv6 ? "2001:db8::9" : "198.51.100.9") --sport \(sourcePort) "
      + "--dport \(port) --reply-port-src 80 --reply-port-dst \(sourcePort)"
      + (transport == .tcp ? " --state ESTABLISHED" : "")
  }

  private func stale(
    _ kind: StaleFlows.Kind, _ transport: TransportProtocol, _ host: IPAddress, _ container: IPAddress,
    port: UInt16 = 8080
  ) -> StaleFlows {
    StaleFlows(
      kind, transport: transport, hostAddress: host, hostPorts: PortRange(port, port), containerAddress: container,
      firstContainerPort: 80)
  }

  /// Few are read at once, of many the kernel filters some.
  @Test("those that are stale end, and no others", arguments: [0, 1500])
  func ended(others: Int) async throws {
    let host = try NetworkNamespace()
    let flows = [
      flow(.udp, "192.0.2.1", port: 8080, to: "172.18.0.2"),
      flow(.udp, "192.0.2.1", port: 8080, to: "172.18.0.2", from: 5001),
      flow(.udp, "2001:db8::1", port: 8080, to: "fd18::2"),
      // Of another container, port, protocol.
      flow(.udp, "192.0.2.1", port: 8080, to: "172.18.0.3", from: 5002),
      flow(.udp, "192.0.2.1", port: 8081, to: "172.18.0.2", from: 5003),
      flow(.tcp, "192.0.2.1", port: 8080, to: "172.18.0.2"), flow(.tcp, "2001:db8::1", port: 8080, to: "fd18::2"),
    ]
    let more = (0..<others).map { flow(.udp, "192.0.2.1", port: 9000, to: "172.18.0.2", from: 10_000 + $0) }
    try await host.command(["conntrack", "-R", "-"], input: (flows + more).joined(separator: "\n") + "\n")
    func end(_ stale: StaleFlows...) throws -> Int {
      try host.run { () throws(KernelError) in try Conntrack.open().end(stale) { $0 == "192.0.2.1" } }
    }
    #expect(try end(stale(.removed, .udp, "0.0.0.0", "172.18.0.2"), stale(.removed, .udp, "::", "fd18::2")) == 3)
    #expect(try end(stale(.removed, .udp, "0.0.0.0", "172.18.0.2")) == 0)
    #expect(try end(stale(.removed, .tcp, "::", "fd18::2")) == 1)
    // Whatever came before a container that has published the port now.
    #expect(try end(stale(.added, .udp, "0.0.0.0", "172.18.0.9")) == 1)
    let left = try await host.command("conntrack", "-C")
    #expect(left == "\(2 + others)\n")
  }

  @Test("another flow with the same tuple goes on")
  func sameTuple() async throws {
    let host = try NetworkNamespace()
    try await host.command(
      ["conntrack", "-R", "-"], input: flow(.udp, "192.0.2.1", port: 8080, to: "172.18.0.2") + "\n")
    let deleted = try host.run {
      let conntrack = try Conntrack.open()
      let flow = try #require(try conntrack.dump(nil) { _, _, _ in true }.first)
      let id = nfct_get_attr_u32(flow.pointer, ATTR_ID)
      return try [id ^ 1, id, id].map { id in
        nfct_set_attr_u32(flow.pointer, ATTR_ID, id)
        return try conntrack.delete(flow)
      }
    }
    #expect(deleted == [false, true, false])
  }

  @Test("a flow without a tuple does not mean all of them")
  func noTuple() async throws {
    let host = try NetworkNamespace()
    try await host.command(
      ["conntrack", "-R", "-"], input: flow(.udp, "192.0.2.1", port: 8080, to: "172.18.0.2") + "\n")
    let flow = try #require(Conntrack.Flow())
    #expect(throws: KernelError.self) {
      try host.run { () throws(KernelError) in try Conntrack.open().delete(flow) }
    }
    #expect(try await host.command("conntrack", "-C") == "1\n")
  }

  @Test("where nothing is tracked there is nothing to end")
  func none() throws {
    let ended = try NetworkNamespace().run { () throws(KernelError) in
      try Conntrack.open().end([stale(.removed, .udp, "0.0.0.0", "172.18.0.2")]) { _ in true }
    }
    #expect(ended == 0)
  }
}
