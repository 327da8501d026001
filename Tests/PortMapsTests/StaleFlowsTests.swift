import TestSupport
import Testing

@testable import PortMaps

/// Which flows a change of bindings ends: those whose way has changed, and no others.
@Suite struct StaleFlowsTests {
  private func binding(
    _ host: PortRange?, _ container: PortRange, _ transport: TransportProtocol = .udp, request: Int? = 0,
    mode: GatewayMode = .nat, on address: IPAddress = "0.0.0.0", allowFrom: [IPPrefix] = []
  ) -> Binding {
    Binding(
      network: "n", mode: host == nil ? .routed : mode, transport: transport, hostAddress: address, hostPorts: host,
      containerAddress: "172.18.0.2", containerPorts: container, request: request, allowFrom: allowFrom)
  }

  /// As `removed 0.0.0.0:53 80`.
  private func stale(_ before: [Binding], _ after: [Binding], endsTCP: Bool = false) -> [String] {
    StaleFlows.of(from: before, to: after, endsTCP: endsTCP).map {
      "\($0.kind) \($0.hostAddress):\($0.hostPorts) \($0.firstContainerPort)"
    }
  }

  @Test func whatHasNothingToDoWithAFlowDoesNotEndIt() {
    let one = binding(PortRange(8053), PortRange(53))
    #expect(stale([one], [binding(PortRange(8053), PortRange(53), request: 3)]) == [])
    #expect(stale([one], [binding(PortRange(8053), PortRange(53), mode: .natUnprotected)]) == [])
    // A range that is another run of ports now.
    let (short, long) = (PortRange(9000, 9001), PortRange(9000, 9003))
    #expect(stale([binding(short, short)], [binding(long, long)]) == ["added 0.0.0.0:9002-9003 9002"])
    #expect(
      stale([binding(long, long)], [binding(short, short)])
        == ["removed 0.0.0.0:9002-9003 9002", "removed 172.18.0.2:9002-9003 9002"])
  }

  @Test func flowsStraightToAPortEndWithTheLastOfItsWays() {
    let (one, other) = (binding(PortRange(8053), PortRange(53)), binding(PortRange(8054), PortRange(53), request: 1))
    #expect(stale([one, other], [other]) == ["removed 0.0.0.0:8053 53"])
    #expect(stale([other], []) == ["removed 0.0.0.0:8054 53", "removed 172.18.0.2:53 53"])
    #expect(stale([binding(nil, PortRange(53))], []) == ["removed 172.18.0.2:53 53"])
    // On 127.0.0.1 it is for the host itself.
    let local = binding(PortRange(8053), PortRange(53), on: "127.0.0.1")
    #expect(stale([local], []) == ["removed 127.0.0.1:8053 53"])
    #expect(stale([local, other], [local]) == ["removed 0.0.0.0:8054 53", "removed 172.18.0.2:53 53"])
  }

  @Test func whoMayUseAPortDecidesToo() {
    let everyone = binding(nil, PortRange(53))
    let few = binding(nil, PortRange(53), allowFrom: [IPPrefix("192.0.2.0")])
    #expect(stale([everyone], [few]) == ["removed 172.18.0.2:53 53"])
  }

  @Test func tcpEndsOnlyWhenItIsReset() {
    let tcp = binding(PortRange(80), PortRange(80), .tcp)
    #expect(stale([tcp], []) == [])
    #expect(stale([tcp], [], endsTCP: true) == ["removed 0.0.0.0:80 80", "removed 172.18.0.2:80 80"])
    #expect(stale([], [tcp]) == [])
  }
}
