import Feed
import PortMaps
import Testing

private func text(_ reply: Reply, id: RequestID? = nil) -> String {
  var writer = JSONWriter()
  reply.write(id: id, to: &writer)
  return String(decoding: writer.bytes, as: UTF8.self)
}

private func binding(
  _ host: String, _ hostPorts: PortRange?, _ container: String, _ containerPorts: PortRange,
  _ transport: TransportProtocol = .tcp, mode: GatewayMode = .nat
) -> Binding {
  Binding(
    network: "n1", mode: mode, transport: transport, hostAddress: address(host), hostPorts: hostPorts,
    containerAddress: address(container), containerPorts: containerPorts, request: 0)
}

private let web = Mapping(
  container: "4c01db0b339c", name: "web", network: "mynet",
  binding: binding("0.0.0.0", PortRange(8080), "172.18.0.2", PortRange(80)), state: .live)

private let range = Mapping(
  container: "c2", name: "dns", network: "mynet",
  binding: binding("127.0.0.1", PortRange(5300, 5301), "172.18.0.3", PortRange(53, 54), .udp),
  state: .pending(reason: "address 127.0.0.1 is not on this host"))

private let routed = Mapping(
  container: "c3", name: "six", network: "mynet",
  binding: binding("::", nil, "2001:db8::2", PortRange(81), mode: .routed), state: .degraded(reason: "no \"route\""))

private let webFields =
  #""container":"4c01db0b339c","name":"web","network":"mynet","family":"ipv4","protocol":"tcp","mode":"nat","host_ip":"0.0.0.0","host_port":8080,"container_ip":"172.18.0.2","container_port":80,"state":"live"}"#

private let listing = PortListing(rows: [
  .init(
    port: ContainerPort(80, .tcp),
    bindings: [
      .init(address: address("0.0.0.0"), hostPort: UInt16(8080)), .init(address: address("::"), hostPort: nil),
    ]),
  .init(port: ContainerPort(9000, .tcp), bindings: nil),
  .init(port: ContainerPort(53, .udp), bindings: []),
])

@Suite struct ReplyTests {
  @Test func changed() {
    let message =
      "port 80/tcp on network mynet (IPv6): host port 8080 is not used, the gateway mode is routed"
    #expect(
      text(
        .changed(revision: 41, ports: listing, warnings: [Warning(.routedHostPortIgnored, message)]), id: .integer(7))
        == #"{"id":7,"ok":true,"revision":41,"ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":""}],"9000/tcp":null,"53/udp":[]},"warnings":[{"code":"routed-host-port-ignored","message":"port 80/tcp on network mynet (IPv6): host port 8080 is not used, the gateway mode is routed"}]}"#
        + "\n")
    #expect(text(.changed(revision: 0, ports: nil, warnings: [])) == #"{"ok":true,"revision":0}"# + "\n")
    #expect(
      text(.changed(revision: 1, ports: PortListing(rows: []), warnings: []), id: .string("a\"\n"))
        == #"{"id":"a\"\n","ok":true,"revision":1,"ports":{}}"# + "\n")
  }

  @Test func failed() {
    #expect(
      text(.failed(RequestError(.portAlreadyAllocated, "…", field: "publish[0]")), id: .integer(7))
        == #"{"id":7,"ok":false,"error":{"code":"port-already-allocated","message":"…","field":"publish[0]"}}"# + "\n")
    #expect(
      text(.failed(RequestError(.badJSON, "expected \"x\"")))
        == #"{"ok":false,"error":{"code":"bad-json","message":"expected \"x\""}}"# + "\n")
  }

  @Test func hello() {
    #expect(
      text(.hello(Hello(agent: "pmagent", version: "0.1.0", revision: 3, bootID: "b")))
        == #"{"ok":true,"agent":"pmagent","version":"0.1.0","protocol":1,"revision":3,"boot_id":"b"}"# + "\n")
  }

  @Test func mappings() {
    #expect(text(.mappings([])) == #"{"ok":true,"mappings":[]}"# + "\n")
    #expect(
      text(.mappings([web, range, routed]))
        == #"{"ok":true,"mappings":[{"# + webFields
        + #",{"container":"c2","name":"dns","network":"mynet","family":"ipv4","protocol":"udp","mode":"nat","host_ip":"127.0.0.1","host_port":5300,"container_ip":"172.18.0.3","container_port":53,"state":"pending","reason":"address 127.0.0.1 is not on this host"}"#
        + #",{"container":"c2","name":"dns","network":"mynet","family":"ipv4","protocol":"udp","mode":"nat","host_ip":"127.0.0.1","host_port":5301,"container_ip":"172.18.0.3","container_port":54,"state":"pending","reason":"address 127.0.0.1 is not on this host"}"#
        + #",{"container":"c3","name":"six","network":"mynet","family":"ipv6","protocol":"tcp","mode":"routed","host_ip":"::","host_port":null,"container_ip":"2001:db8::2","container_port":81,"state":"degraded","reason":"no \"route\""}]}"#
        + "\n")
  }

  @Test func watching() {
    #expect(
      text(.watching([web]), id: .string("w"))
        == #"{"id":"w","change":"present","# + webFields + "\n" + #"{"id":"w","change":"ready"}"# + "\n")
    #expect(text(.watching([])) == #"{"change":"ready"}"# + "\n")
  }

  @Test(arguments: [Change.added, .removed, .changed])
  func change(_ change: Change) {
    var writer = JSONWriter()
    web.write(change, to: &writer)
    range.write(change, to: &writer)
    let lines = String(decoding: writer.bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
    #expect(lines.count == 4)
    #expect(lines[0] == #"{"change":"\#(change)","# + webFields)
    #expect(lines[2].contains(#""host_port":5301"#))
    #expect(lines[3] == "")
  }

  @Test func networks() {
    let network = Network(
      source: "default", id: "n1", name: "mynet", bridge: "br-mynet",
      subnets: [prefix("172.18.0.0/16"), prefix("2001:db8::/64")], options: ["b": "2", "a": "1"])
    let other = Network(source: "podman", id: "n2", name: "n2", driver: .host, bridge: nil, subnets: [])
    #expect(
      text(
        .networks([
          NetworkDescription(
            network: network, gatewayModeIPv4: .nat, gatewayModeIPv6: .routed, defaultBind: address("127.0.0.1"),
            containers: 2),
          NetworkDescription(
            network: other, gatewayModeIPv4: nil, gatewayModeIPv6: nil, defaultBind: nil, containers: 0),
        ]))
        == #"{"ok":true,"networks":[{"id":"n1","name":"mynet","driver":"bridge","bridge":"br-mynet","internal":false,"subnets":["172.18.0.0/16","2001:db8::/64"],"options":{"a":"1","b":"2"},"source":"default","gateway_mode_ipv4":"nat","gateway_mode_ipv6":"routed","default_bind":"127.0.0.1","containers":2},"#
        + #"{"id":"n2","name":"n2","driver":"host","internal":false,"subnets":[],"options":{},"source":"podman","gateway_mode_ipv4":null,"gateway_mode_ipv6":null,"default_bind":null,"containers":0}]}"#
        + "\n")
  }

  @Test func status() {
    #expect(
      text(
        .status(
          Status(
            inSync: true, mappings: 3, containers: 2, networks: 1, revision: 9, generation: 17,
            degraded: [.init(code: "host-port-in-use", message: "m")], extra: [("held_ports", .integer(4))])))
        == #"{"ok":true,"in_sync":true,"mappings":3,"containers":2,"networks":1,"revision":9,"generation":17,"degraded":[{"code":"host-port-in-use","message":"m"}],"held_ports":4}"#
        + "\n")
    #expect(
      text(.status(Status(inSync: false, mappings: 0, containers: 0, networks: 0, revision: 0, generation: nil)))
        .contains(#""generation":null,"degraded":[]}"#))
  }

  /// What `inspect` shows of a container is what a `container.start` may say again.
  @Test func inspect() throws {
    var publish = try ["8080:80", "[::]::81", "127.0.0.1::82", "8000-8010:90/udp", "80-90"].map {
      (text) throws(RequestError) in try PublishRequest(parsing: text)
    }
    publish.append(
      try PublishRequest(
        hostAddress: address("::"), hostPorts: PortRange(70, 71), containerPorts: PortRange(80, 81), transport: .sctp,
        allowFrom: [prefix("192.0.2.0/24"), prefix("2001:db8::/32")]))
    let container = Container(
      source: "default", id: "c1", name: "web", generation: 3,
      endpoints: [
        Endpoint(network: "n1", ipv4: address("172.18.0.2"), ipv6: address("2001:db8::2"), gatewayPriority: 5),
        Endpoint(network: "n2"),
      ],
      publish: publish, expose: [ExposedPorts(PortRange(9000, 9010), .udp)], publishAll: true)
    let line = text(.inspect(Inspection(container: container, ports: listing, warnings: [])))
    let reply = try JSON(parsing: Array(line.utf8.dropLast()))
    let start = JSON.object([("event", .string("container.start")), ("container", reply["container"] ?? .null)])
    #expect(
      Request.decode(line: Array(start.description.utf8))
        == .request(Request(.event(.containerStart(container), source: "default"))))
    #expect(
      line.hasPrefix(
        #"{"ok":true,"source":"default","container":{"id":"c1","name":"web","generation":3,"networks":[{"network":"n1","ipv4":"172.18.0.2","ipv6":"2001:db8::2","gateway_priority":5},{"network":"n2","gateway_priority":0}],"publish":["8080:80/tcp","#
      ))
    #expect(line.hasSuffix(#""9000/tcp":null,"53/udp":[]},"warnings":[]}"# + "\n"))
  }
}
