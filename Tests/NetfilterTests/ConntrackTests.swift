import Glibc
import Netfilter
import PortMaps
import TestSupport
import Testing

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

  @Test("where nothing is tracked there is nothing to end")
  func none() throws {
    let ended = try NetworkNamespace().run { () throws(KernelError) in
      try Conntrack.open().end([stale(.removed, .udp, "0.0.0.0", "172.18.0.2")]) { _ in true }
    }
    #expect(ended == 0)
  }
}
