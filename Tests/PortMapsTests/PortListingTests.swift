import PortMaps
import TestSupport
import Testing

@Suite struct PortListingTests {
  private func text(_ listing: PortListing) -> [String] {
    listing.rows.map { row in
      let bindings = row.bindings?.map { "\($0.address.bracketed):\($0.hostPort.map(String.init) ?? "")" }
      return "\(row.port) = \(bindings?.joined(separator: " ") ?? "null")"
    }
  }

  private func listing(_ requests: [PublishRequest], expose: [ExposedPorts] = [], mode6: String = "nat") throws
    -> [String]
  {
    let network = Network("net", options: ["gateway_mode_ipv6": mode6])
    return text(PortListing(bindings: try Start(network, requests).resolve().bindings, expose: expose))
  }

  @Test func keysAreInTheOrderOfTheirText() throws {
    let requests: [PublishRequest] = ["0.0.0.0:9:9", "0.0.0.0:80:80", "0.0.0.0:80:80/udp", "0.0.0.0:443:443"]
    #expect(
      try listing(requests, expose: [ExposedPorts(PortRange(8), .sctp), ExposedPorts(PortRange(8000, 8001), .tcp)]) == [
        "443/tcp = 0.0.0.0:443", "8/sctp = null", "80/tcp = 0.0.0.0:80", "80/udp = 0.0.0.0:80", "8000/tcp = null",
        "8001/tcp = null", "9/tcp = 0.0.0.0:9",
      ])
  }

  @Test func bindingsAreInTheOrderOfFamilyPortAndAddress() throws {
    let requests: [PublishRequest] = ["[::1]:7000:80", "192.0.2.10:8080:80", "127.0.0.1:8080:80", "8000:80"]
    #expect(
      try listing(requests) == ["80/tcp = 0.0.0.0:8000 127.0.0.1:8080 192.0.2.10:8080 [::1]:7000 [::]:8000"])
  }

  @Test func aRoutedFamilyHasNoPort() throws {
    #expect(try listing(["8080:80"], mode6: "routed") == ["80/tcp = 0.0.0.0:8080 [::]:"])
  }

  @Test func runsAreListedPortByPort() throws {
    #expect(
      try listing(["0.0.0.0:8000-8002:80-82"]) == [
        "80/tcp = 0.0.0.0:8000", "81/tcp = 0.0.0.0:8001", "82/tcp = 0.0.0.0:8002",
      ])
  }

  @Test func aPublishedPortIsNotListedAsExposed() throws {
    let exposed = [ExposedPorts(PortRange(80, 81), .tcp), ExposedPorts(PortRange(81), .tcp)]
    #expect(try listing(["0.0.0.0:8080:80"], expose: exposed) == ["80/tcp = 0.0.0.0:8080", "81/tcp = null"])
  }
}
