import Feed
import PortMaps
import TestSupport
import Testing

@testable import pmagent

struct RowsCase: CustomTestStringConvertible, Sendable {
  let testDescription: String
  let mappings: [Mapping]
  let rows: [String]

  init(_ name: String, _ mappings: [Mapping], _ rows: [String]) {
    (testDescription, self.mappings, self.rows) = (name, mappings, rows)
  }
}

/// One published port; `host` is `nil` on a routed network.
private func mapping(
  _ name: String, _ host: UInt16?, _ port: UInt16, _ transport: TransportProtocol = .tcp,
  at address: IPAddress = "0.0.0.0",
  to container: IPAddress = "172.18.0.2", network: String = "mynet", state: Mapping.State = .live
) -> Mapping {
  Mapping(
    container: "id-\(name)", name: name, network: network,
    binding: Binding(
      network: network, mode: host == nil ? .routed : .nat, transport: transport, hostAddress: address,
      hostPorts: host.map { PortRange($0) }, containerAddress: container, containerPorts: PortRange(port), request: nil),
    state: state)
}

@Suite struct TableTests {
  @Test(arguments: [
    RowsCase("one", [mapping("web", 8080, 80)], ["web 0.0.0.0:8080->80/tcp live"]),
    RowsCase(
      "consecutive ports are one row", (0...9).reversed().map { mapping("web", 8000 + $0, 80 + $0) },
      ["web 0.0.0.0:8000-8009->80-89/tcp live"]),
    RowsCase(
      "a gap ends a row", [0, 1, 3].map { mapping("web", 8000 + $0, 80 + $0) },
      ["web 0.0.0.0:8000-8001->80-81/tcp live", "web 0.0.0.0:8003->83/tcp live"]),
    RowsCase(
      "two host ports of one port, each in its run",
      [mapping("web", 8000, 80), mapping("web", 8001, 81), mapping("web", 9000, 80), mapping("web", 9001, 81)],
      ["web 0.0.0.0:8000-8001->80-81/tcp live", "web 0.0.0.0:9000-9001->80-81/tcp live"]),
    RowsCase(
      "families alternate in the listing and are runs all the same",
      (0...1).flatMap { port in
        [
          mapping("web", 8000 + port, 80 + port),
          mapping("web", 8000 + port, 80 + port, at: "::", to: "2001:db8::2"),
        ]
      }, ["web 0.0.0.0:8000-8001->80-81/tcp live", "web [::]:8000-8001->80-81/tcp live"]),
    RowsCase(
      "protocols are not joined", [mapping("dns", 53, 53, .udp), mapping("dns", 54, 54)],
      ["dns 0.0.0.0:53->53/udp live", "dns 0.0.0.0:54->54/tcp live"]),
    RowsCase(
      "states are not joined",
      [mapping("web", 8000, 80), mapping("web", 8001, 81, state: .pending(reason: "address"))],
      ["web 0.0.0.0:8000->80/tcp live", "web 0.0.0.0:8001->81/tcp pending"]),
    RowsCase(
      "networks are not joined", [mapping("web", 8000, 80), mapping("web", 8001, 81, network: "other")],
      ["web 0.0.0.0:8000->80/tcp live", "web 0.0.0.0:8001->81/tcp live"]),
    RowsCase(
      "routed ports are joined too, at the container's address",
      [80, 81].map { mapping("web", nil, $0, at: "::", to: "2001:db8::2") }, ["web [2001:db8::2]:80-81/tcp live"]),
    RowsCase(
      "by name, then container port as a number, IPv4 before IPv6",
      [
        mapping("web", 8443, 443), mapping("api", 9000, 80), mapping("web", 8080, 80, at: "::", to: "2001:db8::2"),
        mapping("web", 8080, 80),
      ],
      [
        "api 0.0.0.0:9000->80/tcp live", "web 0.0.0.0:8080->80/tcp live", "web [::]:8080->80/tcp live",
        "web 0.0.0.0:8443->443/tcp live",
      ]),
    RowsCase("the last port", [mapping("web", 65535, 65535)], ["web 0.0.0.0:65535->65535/tcp live"]),
    RowsCase("none", [], []),
  ])
  func rows(_ row: RowsCase) {
    #expect(Mapping.rows(row.mappings).map { "\($0.name) \($0.ports) \($0.state.name)" } == row.rows)
  }

  @Test func fitsItsContent() {
    let rows = Mapping.rows([mapping("web", 8080, 80), mapping("db", 5432, 5432, at: "127.0.0.1")])
    #expect(
      PMAgent.List.table(rows, width: 80) == """
        CONTAINER  NETWORK  PORTS                     STATE
        db         mynet    127.0.0.1:5432->5432/tcp  live
        web        mynet    0.0.0.0:8080->80/tcp      live
        """)
  }

  @Test func longNamesAndAddressesFitEightyColumns() {
    let rows = Mapping.rows([
      mapping(
        "a-container-with-a-name-that-goes-on-and-on", 65000, 60000, .sctp,
        at: "2001:db8:1234:5678::abcd", to: "2001:db8::2", network: "a-network-with-a-long-name",
        state: .degraded(reason: "the port is held by another program"))
    ])
    let text = PMAgent.List.table(rows, width: 80)
    #expect(
      text == """
        CONTAINER    NETWORK      PORTS                                         STATE
        a-containe…  a-network-…  [2001:db8:1234:5678::abcd]:65000->60000/sctp  degraded
        """)
    #expect(text.split(separator: "\n").allSatisfy { $0.count <= 80 })
  }

  @Test func whatMustStayWholeIsNeverCut() {
    let rows = Mapping.rows(
      (0...1).map {
        mapping(
          "container-name", 65000 + $0, 60000 + $0, .sctp, at: "2001:db8:1234:5678:9abc:def0:1234:5678",
          to: "2001:db8::2")
      })
    #expect(
      PMAgent.List.table(rows, width: 80) == """
        CONTAIN…  NETWORK  PORTS                                                                   STATE
        contain…  mynet    [2001:db8:1234:5678:9abc:def0:1234:5678]:65000-65001->60000-60001/sctp  live
        """)
  }

  @Test func networks() throws {
    let networks = try JSON(
      parsing: Array(
        #"""
        [{"name":"mynet","driver":"bridge","bridge":"br-mynet","internal":false,
          "subnets":["172.18.0.0/16","2001:db8::/64"],"gateway_mode_ipv4":"nat","gateway_mode_ipv6":"routed",
          "default_bind":"0.0.0.0","containers":3},
         {"name":"local","driver":"bridge","bridge":"br-local","internal":false,
          "subnets":["172.19.0.0/16","2001:db8:1::/64"],"gateway_mode_ipv4":"nat","gateway_mode_ipv6":"nat",
          "default_bind":"127.0.0.1","containers":0},
         {"name":"inner","driver":"bridge","bridge":"br-inner","internal":true,"subnets":["172.20.0.0/16"],
          "gateway_mode_ipv4":"isolated","gateway_mode_ipv6":null,"default_bind":null,"containers":1},
         {"name":"host","driver":"host","internal":false,"subnets":[],"gateway_mode_ipv4":null,
          "gateway_mode_ipv6":null,"default_bind":null,"containers":0}]
        """#.utf8)
    ).elements
    #expect(
      try PMAgent.Networks.table(networks, width: 80) == """
        NETWORK  BRIDGE    SUBNET           MODE      BIND       CONTAINERS
        mynet    br-mynet  172.18.0.0/16    nat       0.0.0.0    3
        mynet    br-mynet  2001:db8::/64    routed    ::         3
        local    br-local  172.19.0.0/16    nat       127.0.0.1  0
        local    br-local  2001:db8:1::/64  nat       -          0
        inner    br-inner  172.20.0.0/16    internal  -          1
        host     (host)    -                -         -          0
        """)
  }
}
