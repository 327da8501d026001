import Feed
import PortMaps
import TestSupport
import Testing

@testable import Runtimes

/// Words of runtimes that no recording has.
@Suite struct TranslationTests {
  private static let docker20 = Dialect(engine: .docker, version: "20.10.24", apiVersion: "1.41")
  private static let docker28 = Dialect(engine: .docker, version: "28.0.0", apiVersion: "1.48")
  private static let podman4 = Dialect(engine: .podman, version: "4.3.1", apiVersion: "1.41")
  private static let podman5 = Dialect(engine: .podman, version: "5.4.2", apiVersion: "1.41")

  private static func part(_ text: String) throws -> Part { try Part(parsing: Array(text.utf8)) }

  struct Ports: Sendable, CustomStringConvertible {
    var description: String
    var dialect: Dialect
    /// NetworkSettings.Ports, and PortBindings where they differ.
    var ports: String
    var bindings = "{}"
    var mode = "bridge"
    var ipv6 = "2001:db8::2"
    var publish: [String]
    var expose: [String] = []
  }

  static let ports: [Ports] = [
    Ports(
      description: "Docker: what was allocated, not what was asked for", dialect: docker20,
      ports: #"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"32768"},{"HostIp":"::","HostPort":"32768"}],"7/udp":null}"#,
      bindings: #"{"80/tcp":[{"HostIp":"","HostPort":""}]}"#,
      publish: ["0.0.0.0:32768:80/tcp", "[::]:32768:80/tcp"], expose: ["7/udp"]),
    Ports(
      description: "a range is one request again", dialect: docker20,
      ports:
        #"{"8000/tcp":[{"HostIp":"0.0.0.0","HostPort":"9000"}],"8001/tcp":[{"HostIp":"0.0.0.0","HostPort":"9001"}],"#
        + #""8002/tcp":[{"HostIp":"0.0.0.0","HostPort":"9002"}],"8003/udp":[{"HostIp":"0.0.0.0","HostPort":"9003"}]}"#,
      publish: ["0.0.0.0:9000-9002:8000-8002/tcp", "0.0.0.0:9003:8003/udp"]),
    Ports(
      description: "two ranges over the same container ports", dialect: docker20,
      ports: #"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"80"},{"HostIp":"0.0.0.0","HostPort":"180"}],"#
        + #""81/tcp":[{"HostIp":"0.0.0.0","HostPort":"181"},{"HostIp":"0.0.0.0","HostPort":"81"}]}"#,
      publish: ["0.0.0.0:80-81:80-81/tcp", "0.0.0.0:180-181:80-81/tcp"]),
    Ports(
      description: "neighbours on one side only are no range", dialect: docker20,
      ports: #"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"80"}],"81/tcp":[{"HostIp":"0.0.0.0","HostPort":"82"}],"#
        + #""83/tcp":[{"HostIp":"0.0.0.0","HostPort":"83"}]}"#,
      publish: ["0.0.0.0:80:80/tcp", "0.0.0.0:83:83/tcp", "0.0.0.0:82:81/tcp"]),
    Ports(
      description: "newer Docker lists :: for a container without IPv6", dialect: docker28,
      ports: #"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"80"},{"HostIp":"::","HostPort":"80"}]}"#, ipv6: "",
      publish: ["0.0.0.0:80:80/tcp"]),
    Ports(
      description: "newer Docker: a routed family has no host port", dialect: docker28,
      ports: #"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"80"},{"HostIp":"::","HostPort":""}]}"#,
      publish: ["0.0.0.0:80:80/tcp", "[::]::80/tcp"]),
    Ports(
      description: "newer Docker: routed on one network, bound on another", dialect: docker28,
      ports: #"{"80/tcp":[{"HostIp":"::","HostPort":"80"},{"HostIp":"::","HostPort":""}]}"#,
      publish: ["[::]:80:80/tcp"]),
    Ports(
      description: "Podman 4: no address is any", dialect: podman4, ports: "{}",
      bindings: #"{"80/tcp":[{"HostIp":"","HostPort":"80"}],"81/tcp":[{"HostIp":"0.0.0.0","HostPort":"81"}]}"#,
      publish: ["80:80/tcp", "0.0.0.0:81:81/tcp"]),
    Ports(
      description: "Podman 5: 0.0.0.0 is any", dialect: podman5, ports: "{}",
      bindings: #"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"80"}],"81/tcp":[{"HostIp":"::1","HostPort":"81"}]}"#,
      publish: ["80:80/tcp", "[::1]:81:81/tcp"]),
    Ports(
      description: "Podman: a pod's ports are its infra container's", dialect: podman4,
      ports: #"{"80/tcp":[{"HostIp":"","HostPort":"80"}]}"#, bindings: #"{"80/tcp":[{"HostIp":"","HostPort":"80"}]}"#,
      mode: "container:47a2e672cf8e", publish: []),
  ]

  @Test(arguments: ports) func publishedPorts(_ row: Ports) throws {
    let container = try row.dialect.container(
      Self.part(
        #"{"Id":"c1","Name":"/web","State":{"Running":true,"StartedAt":"1970-01-01T00:00:01Z"},"HostConfig":"#
          + #"{"NetworkMode":"\#(row.mode)","PortBindings":\#(row.bindings)},"NetworkSettings":{"Ports":\#(row.ports),"#
          + #""Networks":{"net":{"NetworkID":"n1","IPAddress":"192.0.2.2","GlobalIPv6Address":"\#(row.ipv6)"}}}}"#))
    #expect(container.publish.map(\.description).sorted() == row.publish.sorted())
    #expect(container.expose.map(\.description) == row.expose)
    #expect((container.name, container.startedAt) == ("web", 1_000_000_000))
    #expect(container.attachments.isEmpty == row.mode.hasPrefix("container:"))
  }

  @Test(arguments: [
    (#"{"Running":true,"Restarting":true}"#, false), (#"{"Running":true}"#, true), (#"{"Running":false}"#, false),
    (#"{"Running":true,"Paused":true}"#, true), ("{}", false),
  ])
  func running(_ state: String, _ isRunning: Bool) throws {
    let container = try Self.docker20.container(Self.part(#"{"Id":"c1","Name":"/web","State":\#(state)}"#))
    #expect(container.isRunning == isRunning)
  }

  @Test(arguments: [
    (#"{"IPAddress":"192.0.2.2"}"#, 0), (#"{"IPAddress":"192.0.2.2","GlobalIPv6Address":"2001:db8::2"}"#, 1),
    (#"{"IPAddress":"192.0.2.2","GwPriority":3}"#, 6),
    (#"{"IPAddress":"192.0.2.2","GwPriority":-9223372036854775808}"#, -2_000_000),
  ])
  func gateway(_ network: String, _ priority: Int) throws {
    let container = try Self.docker28.container(
      Self.part(
        #"{"Id":"c1","Name":"/web","State":{"Running":true},"NetworkSettings":{"Networks":{"net":\#(network)}}}"#))
    #expect(container.attachments.map(\.network) == ["net"])
    #expect(container.attachments.map(\.gatewayPriority) == [priority])
  }

  struct Networks: Sendable, CustomStringConvertible {
    var description: String
    var dialect: Dialect
    var json: String
    var network: Network?
  }

  private static func network(
    bridge: String? = "br-0123456789ab", driver: NetworkDriver = .bridge, isInternal: Bool = false,
    subnets: [IPPrefix] = ["192.0.2.0/24"], options: [String: String] = [:]
  ) -> Network {
    Network(
      source: "s", id: "0123456789abcdef", name: "net", driver: driver, bridge: bridge, isInternal: isInternal,
      subnets: subnets, options: options)
  }

  static let networks: [Networks] = [
    Networks(
      description: "the bridge's name is made of the id", dialect: docker20,
      json: #""Driver":"bridge","IPAM":{"Config":[{"Subnet":"192.0.2.0/24"}]},"Options":null"#, network: network()),
    Networks(
      description: "or an option", dialect: docker20,
      json:
        #""Driver":"bridge","Internal":true,"IPAM":{"Config":[{"Subnet":"192.0.2.0/24"},{"Subnet":"2001:db8::/64"}]},"#
        + #""Options":{"com.docker.network.bridge.name":"br0","com.docker.network.bridge.gateway_mode_ipv6":"routed"}"#,
      network: network(
        bridge: "br0", isInternal: true, subnets: ["192.0.2.0/24", "2001:db8::/64"],
        options: ["com.docker.network.bridge.gateway_mode_ipv6": "routed"])),
    Networks(
      description: "iptables=false switches the default bridge's masquerading off in words only", dialect: docker20,
      json: #""Driver":"bridge","IPAM":{"Config":[{"Subnet":"192.0.2.0/24"}]},"Options":{"#
        + #""com.docker.network.bridge.name":"docker0","com.docker.network.bridge.default_bridge":"true","#
        + #""com.docker.network.bridge.enable_ip_masquerade":"false"}"#,
      network: network(bridge: "docker0", options: ["com.docker.network.bridge.default_bridge": "true"])),
    Networks(
      description: "another network's masquerading is off when it says so", dialect: docker20,
      json: #""Driver":"bridge","IPAM":{"Config":[{"Subnet":"192.0.2.0/24"}]},"Options":{"#
        + #""com.docker.network.bridge.enable_ip_masquerade":"false"}"#,
      network: network(options: ["com.docker.network.bridge.enable_ip_masquerade": "false"])),
    Networks(
      description: "macvlan", dialect: docker20,
      json: #""Driver":"macvlan","IPAM":{"Config":[{"Subnet":"192.0.2.0/24"}]}"#,
      network: network(bridge: nil, driver: .macvlan)),
    Networks(
      description: "host", dialect: docker20, json: #""Driver":"host","IPAM":{"Config":null}"#, network: nil),
    Networks(
      description: "overlay", dialect: docker20,
      json: #""Driver":"overlay","IPAM":{"Config":[{"Subnet":"192.0.2.0/24"}]}"#,
      network: nil),
    Networks(
      description: "Podman's labels are options", dialect: podman4,
      json:
        #""driver":"bridge","network_interface":"podman1","subnets":[{"subnet":"192.0.2.0/24"}],"options":{"mtu":"1400"},"#
        + #""labels":{"com.docker.network.bridge.enable_icc":"false","team":"a"}"#,
      network: network(bridge: "podman1", options: ["com.docker.network.bridge.enable_icc": "false"])),
  ]

  @Test(arguments: networks) func networksOfRuntimes(_ row: Networks) throws {
    let names =
      row.dialect.engine == .docker
      ? #""Id":"0123456789abcdef","Name":"net""# : #""id":"0123456789abcdef","name":"net""#
    let found = try row.dialect.network(Self.part("{\(names),\(row.json)}"), source: "s")
    #expect(found == RuntimeNetwork(id: "0123456789abcdef", name: "net", network: row.network))
  }

  @Test(arguments: [
    (#"{"Version":"20.10.24","ApiVersion":"1.41","Components":[{"Name":"Engine"}]}"#, docker20),
    (#"{"Version":"28.0.0","ApiVersion":"1.48","Components":null}"#, docker28),
    (#"{"Version":"4.3.1","ApiVersion":"1.41","Components":[{"Name":"Podman Engine"},{"Name":"Conmon"}]}"#, podman4),
    (
      #"{"Version":"99","ApiVersion":"2.1"}"#, Dialect(engine: .docker, version: "99", apiVersion: "1.51")
    ),
  ])
  func versions(_ json: String, _ expected: Dialect) throws {
    #expect(try Dialect(version: Self.part(json)) == expected)
  }

  /// What is there is read strictly.
  @Test(arguments: [
    #"{"Id":1}"#, #"{"Id":"c","State":{"Running":"yes"}}"#,
    #"{"Id":"c","State":[]}"#.replacing("[]", with: #"{"Running":1}"#),
    #"{"Id":"c","State":{"Running":true},"NetworkSettings":{"Networks":[]}}"#,
    #"{"Id":"c","State":{"Running":true},"NetworkSettings":{"Networks":{"n":{"IPAddress":"here"}}}}"#,
    #"{"Id":"c","State":{"Running":true},"NetworkSettings":{"Ports":{"80":[]}}}"#,
    #"{"Id":"c","State":{"Running":true},"NetworkSettings":{"Ports":{"80/tcp":[{"HostPort":"many"}]}}}"#,
    #"{"Id":"c","State":{"Running":true},"NetworkSettings":{"Ports":{"80/tcp":[{"HostPort":80}]}}}"#,
  ])
  func whatIsNotUnderstood(_ json: String) throws {
    let part = try Self.part(json)
    #expect(throws: UnexpectedAnswer.self) { try Self.docker20.container(part) }
  }

  @Test(arguments: [
    (
      #"{"Type":"container","Action":"start","Actor":{"ID":"c"},"timeNano":7}"#, RuntimeEvent.Kind.containerStarted("c")
    ),
    (#"{"Type":"container","Action":"die","Actor":{"ID":"c"},"timeNano":7}"#, .containerDied("c")),
    (#"{"Type":"container","Action":"destroy","Actor":{"ID":"c"},"timeNano":7}"#, .containerChanged("c")),
    (#"{"Type":"container","Action":"remove","Actor":{"ID":"c"},"timeNano":7}"#, .containerChanged("c")),
    (
      #"{"Type":"network","Action":"connect","Actor":{"ID":"n","Attributes":{"container":"c"}},"timeNano":7}"#,
      .containerReattached("c")
    ),
    (
      #"{"Type":"network","Action":"connect","Actor":{"ID":"c","Attributes":{"name":"web"}},"timeNano":7}"#,
      .containerReattached("c")
    ),
    (#"{"Type":"network","Action":"remove","Actor":{"ID":"n"},"timeNano":7}"#, .networkRemoved("n")),
    (#"{"Type":"image","Action":"pull","timeNano":7}"#, .irrelevant),
    (#"{"Type":"container","Action":"exec_create: sh","Actor":{"ID":"c"},"timeNano":7}"#, .irrelevant),
    (#"{"timeNano":7}"#, .irrelevant),
  ])
  func events(_ json: String, _ kind: RuntimeEvent.Kind) throws {
    let event = try RuntimeEvent(parsing: Array(json.utf8))
    #expect(event.kind == kind)
    #expect(event.time == 7)
  }
}
