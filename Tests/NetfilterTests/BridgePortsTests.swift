import Glibc
import TestSupport
import Testing

@testable import Netfilter

@Suite("bridge ports")
struct BridgePortsTests {
  @Test("an error says what was asked, and whom")
  func foreignAnswer() throws {
    let host = try NetworkNamespace()
    let ports = try host.run { () throws(KernelError) in try BridgePorts.open() }
    // RTM_GETLINK of interface 1, with a sequence number of which nothing else is sent.
    let request: [UInt8] = [
      32, 0, 0, 0, 18, 0, 1, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ]
    #expect(send(ports.socket.descriptor, request, request.count, 0) == request.count)
    let error = #expect(throws: KernelError.self) {
      try host.run { () throws(KernelError) in try ports.set(.init(isIsolated: true), ofPortsOf: "lo") }
    }
    #expect(
      error?.description
        == "read bridge ports: an answer of rtnetlink is cut short or belongs to another request: EIO (Input/output error)"
    )
  }
}
