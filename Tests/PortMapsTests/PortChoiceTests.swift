import TestSupport
import Testing

@testable import PortMaps

@Suite struct PortChoiceTests {
  private let web = Network("net", families: [.ipv4])

  // MARK: Candidates

  @Test(
    arguments: [
      ("from the start", nil, [], [10, 11, 12, 13]),
      ("after the last one", 11, [], [12, 13, 10, 11]),
      ("after the very last", 13, [], [10, 11, 12, 13]),
      ("last outside the range", 9, [], [10, 11, 12, 13]),
      ("last far behind the range", 99, [], [10, 11, 12, 13]),
      ("without reserved ports", 10, [PortRange(11, 12)], [13, 10]),
      ("all reserved", nil, [PortRange(1, 99)], []),
    ] as [(String, UInt16?, [PortRange], [UInt16])])
  func candidates(_ name: String, _ last: UInt16?, _ reserved: [PortRange], _ expected: [UInt16]) {
    #expect(Array(Candidates(range: PortRange(10, 13), after: last, reserved: reserved)) == expected)
  }

  @Test func theLastPortIsACandidate() {
    #expect(Array(Candidates(range: PortRange(65534, 65535), after: 65534)) == [65535, 65534])
  }

  // MARK: Ephemeral ports

  @Test func ephemeralPortsContinueAfterTheLastOfTheirProtocol() throws {
    let start = try Start(web, ["80", "81", "53/udp"])
    start.ephemeral.last = [.tcp: 40000]
    let bindings = try start.resolve().bindings
    #expect(bindings.map(\.hostPorts) == [PortRange(32768), PortRange(40001), PortRange(40002)])
    #expect(start.ephemeral.last == [.tcp: 40002, .udp: 32768])
  }

  @Test func exactPortsAndRangesLeaveTheCounterAlone() throws {
    let start = try Start(web, ["40000:80", "40001-40005:81"])
    _ = try start.resolve()
    #expect(start.ephemeral.last == [:])
  }

  // MARK: Ports kept from before

  @Test func aPortThatNoLongerFitsIsGivenUp() throws {
    let start = try Start(web, ["80", "8000-8010:81"])
    let previous = try start.resolve().bindings.map { binding in
      var binding = binding
      binding.hostPorts = PortRange(7000)
      return binding
    }
    start.ephemeral.last = [:]
    #expect(try start.resolve(previous: previous).bindings.map(\.hostPorts) == [PortRange(32768), PortRange(8000)])
  }

  @Test func aReservedOrBusyPortIsGivenUp() throws {
    let start = try Start(web, ["80"])
    let previous = try start.resolve().bindings
    let host = HostModel()
    host.programs = [.init(address: "0.0.0.0", transport: .tcp, ports: 32768...32768)]
    #expect(try start.resolve(previous: previous, on: host).bindings.map(\.hostPorts) == [PortRange(32769)])
    start.ephemeral.reserved = [PortRange(32768)]
    start.ephemeral.last = [:]
    #expect(try start.resolve(previous: previous).bindings.map(\.hostPorts) == [PortRange(32769)])
  }

  @Test func eachOfSeveralRequestsKeepsItsOwn() throws {
    let host = HostModel()
    host.programs = [.init(address: "0.0.0.0", transport: .tcp, ports: 8000...8000)]
    let start = try Start(web, ["8000-8001:80", "8000-8010:80", "80"])
    let first = try start.resolve(on: host)
    #expect(first.bindings.map(\.hostPorts) == [PortRange(32768), PortRange(8001), PortRange(8002)])
    #expect(try start.resolve(previous: first.bindings) == first)
  }

  /// A group that gains an address keeps its port, whichever of its addresses had it.
  @Test func aPortIsKeptOnANewAddressToo() throws {
    let start = try Start(web, ["192.0.2.10::80"])
    let previous = try start.resolve().bindings
    let wider = try Start(web, ["192.0.2.10::80", "127.0.0.1::80"])
    wider.ephemeral = start.ephemeral
    #expect(
      try wider.resolve(previous: previous).bindings.map(\.hostPorts) == [PortRange(32768), PortRange(32768)])
  }

  /// Who has a port keeps it before anyone new chooses.
  @Test func aNewRequestTakesNoPortFromAnOldOne() throws {
    let previous = try Start(web, ["8000-8005:81"]).resolve().bindings
    let both = try Start(web, ["8000-8005:80", "8000-8005:81"]).resolve(previous: previous).bindings
    #expect(both.map(\.hostPorts) == [PortRange(8001), PortRange(8000)])
    // An exact request still comes first.
    let exact = try Start(web, ["8000:80", "8000-8005:81"]).resolve(previous: previous).bindings
    #expect(exact.map(\.hostPorts) == [PortRange(8000), PortRange(8001)])
  }

  @Test func anotherAddressIsAnotherPort() throws {
    let start = try Start(web, ["127.0.0.1::80"])
    let previous = try start.resolve().bindings
    let other = try Start(web, ["80"])
    other.ephemeral.last = [.tcp: 40000]
    #expect(try other.resolve(previous: previous).bindings.map(\.hostPorts) == [PortRange(40001)])
  }

  // MARK: Holding

  @Test func aWarningGoesWithThePortItWasAbout() throws {
    let host = HostModel()
    host.note = { _ in PortNote(.portNotHeld, "not held") }
    host.programs = [.init(address: "::", transport: .tcp, ports: 8000...8000)]
    let resolution = try Start(Network("net"), ["8000-8001:80"]).resolve(on: host)
    #expect(
      resolution.warnings.map(\.message) == [
        "host port 0.0.0.0:8001/tcp: not held", "host port [::]:8001/tcp: not held",
      ])
  }

  @Test func consecutivePortsAreWarnedOfOnce() throws {
    let host = HostModel()
    host.note = { $0.port == 8003 ? nil : PortNote(.portNotHeld, $0.port == 8006 ? "busy" : "not held") }
    let resolution = try Start(Network("net", families: [.ipv4]), ["8000-8006:80-86"]).resolve(on: host)
    #expect(
      resolution.warnings.map(\.message) == [
        "host ports 0.0.0.0:8000-8002/tcp: not held", "host ports 0.0.0.0:8004-8005/tcp: not held",
        "host port 0.0.0.0:8006/tcp: busy",
      ])
  }

  @Test func theSizeOfTheRangeIsPassedOn() throws {
    var sizes: [String: Int] = [:]
    let ports = HostPorts(
      owner: { _ in nil },
      hold: {
        sizes["\($0.port)"] = $1
        return .taken(nil)
      }, release: { _ in })
    let start = try Start(web, ["8000:80", "9000-9299:9000-9299", "10000-10500:81"])
    _ = try start.resolve(with: ports)
    #expect(sizes["8000"] == 1)
    #expect(sizes["9000"] == 300)
    #expect(sizes["10000"] == 1)
  }

  @Test func whatCanNeverBeHadEndsTheStart() throws {
    let host = HostModel()
    var ports = host.hostPorts
    let hold = ports.hold
    ports.hold = { key, size in
      key.port == 8001 ? .impossible(RequestError(.addressNotAvailable, "no such address")) : hold(key, size)
    }
    let start = try Start(web, ["8000:80", "192.0.2.77:8001-8005:81"])
    let error = #expect(throws: RequestError.self) { try start.resolve(with: ports) }
    #expect(error == RequestError(.addressNotAvailable, "no such address", field: "publish[1]"))
    #expect(host.held == [] && host.strayReleases == [])
  }

  // MARK: Messages

  @Test(arguments: [
    (
      ["8080:80", "8080:80"], "port-already-allocated", "publish[1]",
      """
      host port 8080 for 80/tcp on 0.0.0.0 is published twice by this container, by "8080:80/tcp" (publish[0]) and \
      "8080:80/tcp" (publish[1]): leave one out
      """
    ),
    (
      ["8080:80", "8080:81"], "port-already-allocated", "publish[1]",
      """
      host port 0.0.0.0:8080/tcp is already taken by "8080:80/tcp" (publish[0]) of this container: publish another port
      """
    ),
    (
      ["7000:80"], "port-already-allocated", "publish[0]",
      "host port 0.0.0.0:7000/tcp is already allocated to container other: stop it or publish another port"
    ),
    (
      ["7001:80"], "host-port-in-use", "publish[0]",
      """
      host port 0.0.0.0:7001/tcp is in use by nginx (pid 4711): stop that program or publish another port
      """
    ),
    (
      ["7000-7001:80"], "ports-exhausted", "publish[0]",
      "no port of the host ports 7000-7001 is free on 0.0.0.0 for 80/tcp: free one or publish a larger range"
    ),
    (
      ["80", "80"], "port-already-allocated", "publish[1]",
      """
      an ephemeral port for 80/tcp on 0.0.0.0 is published twice by this container, by "80/tcp" (publish[0]) and \
      "80/tcp" (publish[1]): leave one out
      """
    ),
  ])
  func refusals(_ requests: [String], _ code: String, _ field: String, _ message: String) throws {
    let host = HostModel()
    host.containers = [.init(address: "0.0.0.0", transport: .tcp, ports: 7000...7000)]
    host.programs = [.init(address: "0.0.0.0", transport: .tcp, ports: 7001...7001)]
    let start = try Start(web, requests.map { try PublishRequest(parsing: $0) })
    let error = #expect(throws: RequestError.self) { try start.resolve(on: host) }
    #expect(error?.code.rawValue == code)
    #expect(error?.field == field)
    #expect(error?.message == message)
  }

  @Test func whenEphemeralPortsRunOut() throws {
    let start = try Start(web, ["80", "81"])
    start.ephemeral.range = PortRange(40000)
    let error = #expect(throws: RequestError.self) { try start.resolve() }
    #expect(
      error?.message == """
        no port of the ephemeral ports (net.ipv4.ip_local_port_range) 40000 is free on 0.0.0.0 for 81/tcp: stop a \
        container that has one, or widen the range
        """)
  }
}
