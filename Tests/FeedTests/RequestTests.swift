import Feed
import PortMaps
import TestSupport
import Testing

struct AcceptedRequest: Sendable, CustomTestStringConvertible {
  let line: String
  let body: Request.Body
  var testDescription: String { line }

  init(_ line: String, _ event: Event, source: String = "default") {
    (self.line, self.body) = (line, .event(event, source: source))
  }

  init(_ line: String, _ query: Query) { (self.line, self.body) = (line, .query(query)) }
}

private let bridge = Network(
  source: "default", id: "n1", name: "n1", bridge: "br0", subnets: [prefix("172.18.0.0/16")])

func address(_ text: String) -> IPAddress {
  guard let address = IPAddress(parsing: text) else { preconditionFailure("not an address: \(text)") }
  return address
}

func prefix(_ text: String) -> IPPrefix {
  guard let prefix = IPPrefix(parsing: text) else { preconditionFailure("not a prefix: \(text)") }
  return prefix
}

private func publish(_ text: String) -> PublishRequest {
  do { return try PublishRequest(parsing: text) } catch { preconditionFailure("\(error)") }
}

private func restricted(_ text: String, to sources: String...) -> PublishRequest {
  var request = publish(text)
  request.allowFrom = sources.map(prefix)
  return request
}

private func container(_ fields: String) -> String { #"{"event":"container.start","container":{"id":"c1"\#(fields)}}"# }

private func network(_ fields: String) -> String {
  #"{"event":"network.create","network":{"id":"n1","bridge":"br0","subnets":["172.18.0.0/16"]\#(fields)}}"#
}

private func stored(
  name: String = "c1", generation: Int? = nil, endpoints: [Endpoint] = [], publish: [PublishRequest] = [],
  expose: [ExposedPorts] = []
) -> Event {
  .containerStart(
    Container(
      source: "default", id: "c1", name: name, generation: generation, endpoints: endpoints, publish: publish,
      expose: expose))
}

@Suite struct RequestTests {
  static let accepted = [
    AcceptedRequest(network(""), .networkCreate(bridge)),
    AcceptedRequest(
      #"{"event":"network.create","source":"podman.1","network":{"id":"n1","name":"mynet","driver":"bridge","bridge":"br-mynet","internal":true,"subnets":["172.18.0.0/16","2001:db8::/64"],"options":{"com.docker.network.bridge.gateway_mode_ipv6":"routed"}}}"#,
      .networkCreate(
        Network(
          source: "podman.1", id: "n1", name: "mynet", bridge: "br-mynet", isInternal: true,
          subnets: [prefix("172.18.0.0/16"), prefix("2001:db8::/64")],
          options: ["com.docker.network.bridge.gateway_mode_ipv6": "routed"])), source: "podman.1"),
    AcceptedRequest(
      network(#","options":{"com.docker.network.bridge.name":"br0"}"#),
      .networkCreate(
        Network(
          source: "default", id: "n1", name: "n1", bridge: "br0", subnets: [prefix("172.18.0.0/16")],
          options: ["com.docker.network.bridge.name": "br0"]))),
    AcceptedRequest(
      #"{"event":"network.create","network":{"id":"n1","subnets":["172.18.0.0/16"],"options":{"com.docker.network.bridge.name":"br7"}}}"#,
      .networkCreate(
        Network(
          source: "default", id: "n1", name: "n1", bridge: "br7", subnets: [prefix("172.18.0.0/16")],
          options: ["com.docker.network.bridge.name": "br7"]))),
    AcceptedRequest(
      #"{"event":"network.create","network":{"id":"n 2","driver":"macvlan"}}"#,
      .networkCreate(Network(source: "default", id: "n 2", name: "n 2", driver: .macvlan, bridge: nil, subnets: []))),
    AcceptedRequest(#"{"event":"network.remove","network":"mynet"}"#, .networkRemove("mynet")),

    AcceptedRequest(container(""), stored()),
    AcceptedRequest(
      #"{"event":"container.start","source":"cri","container":{"id":"4c01db0b339c","name":"web","generation":3,"networks":[{"network":"mynet","ipv4":"172.18.0.2","ipv6":"2001:db8::2","gateway_priority":-1}],"publish":["8080:80","[::]::81","127.0.0.1:5353:53/udp"],"expose":["9000/tcp"],"publish_all":true}}"#,
      .containerStart(
        Container(
          source: "cri", id: "4c01db0b339c", name: "web", generation: 3,
          endpoints: [
            Endpoint(
              network: "mynet", ipv4: address("172.18.0.2"), ipv6: address("2001:db8::2"), gatewayPriority: -1)
          ],
          publish: [publish("8080:80"), publish("[::]::81"), publish("127.0.0.1:5353:53/udp")],
          expose: [ExposedPorts(PortRange(9000), .tcp)], publishAll: true)), source: "cri"),
    AcceptedRequest(
      container(#","networks":[{"network":"n1"}],"generation":0"#),
      stored(generation: 0, endpoints: [Endpoint(network: "n1")])),
    AcceptedRequest(
      container(#","expose":["9000","9000-9010/udp","80/SCTP"]"#),
      stored(expose: [
        ExposedPorts(PortRange(9000), .tcp), ExposedPorts(PortRange(9000, 9010), .udp),
        ExposedPorts(PortRange(80), .sctp),
      ])),
    AcceptedRequest(container(#","publish":[{"container_port":80}]"#), stored(publish: [publish("80")])),
    AcceptedRequest(
      container(#","publish":[{"container_port":"80","host_port":8080}]"#), stored(publish: [publish("8080:80")])),
    AcceptedRequest(
      container(#","publish":[{"container_port":80,"host_port":0,"host_ip":""}]"#), stored(publish: [publish("80")])),
    AcceptedRequest(
      container(#","publish":[{"container_port":80,"host_port":"8000-8010"}]"#),
      stored(publish: [publish("8000-8010:80")])),
    AcceptedRequest(
      container(#","publish":[{"container_port":"80-90","host_port":"8080-8090","host_ip":"::","protocol":"UDP"}]"#),
      stored(publish: [publish("[::]:8080-8090:80-90/udp")])),
    AcceptedRequest(
      container(#","publish":[{"container_port":80,"allow_from":["192.0.2.0/24","2001:db8::1"]}]"#),
      stored(publish: [restricted("80", to: "192.0.2.0/24", "2001:db8::1/128")])),

    AcceptedRequest(
      #"{"event":"container.stop","container":"c1"}"#, .containerStop(id: "c1", generation: nil, reset: false)),
    AcceptedRequest(
      #"{"event":"container.stop","container":"c1","generation":4,"reset":true}"#,
      .containerStop(id: "c1", generation: 4, reset: true)),
    AcceptedRequest(
      #"{"event":"container.connect","container":"c1","endpoint":{"network":"n1","ipv4":"10.0.0.2"}}"#,
      .containerConnect(id: "c1", Endpoint(network: "n1", ipv4: address("10.0.0.2")))),
    AcceptedRequest(
      #"{"event":"container.disconnect","container":"c1","network":"n1"}"#,
      .containerDisconnect(id: "c1", network: "n1")),
    AcceptedRequest(
      #"{"event":"container.publish","container":"c1","publish":["80"]}"#,
      .containerPublish(id: "c1", [publish("80")])),
    AcceptedRequest(
      #"{"event":"container.unpublish","container":"c1","publish":["80"]}"#,
      .containerUnpublish(id: "c1", [publish("80")])),
    AcceptedRequest(#"{"event":"snapshot.begin","source":"a"}"#, .snapshotBegin, source: "a"),
    AcceptedRequest(#"{"event":"snapshot.end"}"#, .snapshotEnd),
    AcceptedRequest(#"{"event":"reconcile"}"#, .reconcile),

    AcceptedRequest(#"{"query":"hello"}"#, .hello),
    AcceptedRequest(#"{"query":"list"}"#, .list(MappingFilter())),
    AcceptedRequest(
      #"{"query":"list","container":"web","network":"mynet","host_port":8080,"protocol":"udp"}"#,
      .list(MappingFilter(container: "web", network: "mynet", hostPort: 8080, transport: .udp))),
    AcceptedRequest(#"{"query":"networks"}"#, .networks),
    AcceptedRequest(#"{"query":"inspect","container":"web"}"#, .inspect(container: "web")),
    AcceptedRequest(#"{"query":"status"}"#, .status),
    AcceptedRequest(#"{"query":"watch"}"#, .watch),
  ]

  @Test(arguments: accepted)
  func accepts(_ row: AcceptedRequest) {
    #expect(Request.decode(line: Array(row.line.utf8)) == .request(Request(row.body)))
  }

  /// What a feed inside the agent writes is what one outside would.
  @Test(arguments: accepted)
  func writesWhatItAccepts(_ row: AcceptedRequest) {
    guard case .event(let event, let source) = row.body else { return }
    var writer = JSONWriter()
    event.write(source: source, to: &writer)
    #expect(writer.bytes.last == UInt8(ascii: "\n"))
    #expect(Request.decode(line: writer.bytes.dropLast()) == .request(Request(row.body)))
  }

  @Test func repeatsTheID() {
    #expect(
      Request.decode(line: Array(#"{"id":7,"query":"hello"}"#.utf8))
        == .request(Request(id: .integer(7), .query(.hello))))
    #expect(
      Request.decode(line: Array(#"{"query":"hello","id":"ü"}"#.utf8))
        == .request(Request(id: .string("ü"), .query(.hello))))
    guard case .failed(id: .integer(7), _, _) = Request.decode(line: Array(#"{"event":"x","id":7}"#.utf8)) else {
      Issue.record("the id of a refused request is lost")
      return
    }
  }

  /// So that a snapshot does not prune it.
  @Test(
    arguments: [
      (
        #"{"event":"container.start","container":{"id":"c","publish":["x"]}}"#,
        Announcement(.container, id: "c", source: "default")
      ),
      (
        #"{"event":"container.start","source":"s","container":{"id":"c","color":1}}"#,
        Announcement(.container, id: "c", source: "s")
      ),
      (#"{"event":"network.create","network":{"id":"n"}}"#, Announcement(.network, id: "n", source: "default")),
      (#"{"event":"container.start","container":{"name":"c"}}"#, nil),
      (#"{"event":"container.stop","container":{"id":"c"}}"#, nil), (#"{"event":"container.start","#, nil),
    ] as [(String, Announcement?)])
  func knowsWhatARefusedLineAnnounced(line: String, announced: Announcement?) {
    guard case .failed(_, _, announced) = Request.decode(line: Array(line.utf8)) else {
      Issue.record("\(Request.decode(line: Array(line.utf8)))")
      return
    }
  }

  /// Whatever is done to a line, it is understood or refused.
  @Test func survivesNoise() {
    let seed = Effort.seed()
    var random = SeededGenerator(seed: seed)
    var outcomes: Set<String> = []
    for _ in 0..<20_000 {
      var bytes = Array(Self.accepted[Int.random(in: 0..<Self.accepted.count, using: &random)].line.utf8)
      let other = Array(Self.accepted[Int.random(in: 0..<Self.accepted.count, using: &random)].line.utf8)
      let index = Int.random(in: 0..<bytes.count, using: &random)
      switch Int.random(in: 0..<3, using: &random) {
      case 0: bytes[index] = other[index % other.count]
      case 1: bytes.insert(other[index % other.count], at: index)
      default: bytes.replaceSubrange(index..<min(index + 3, bytes.count), with: other.prefix(index % 4))
      }
      switch Request.decode(line: bytes) {
      case .request: outcomes.insert("accepted")
      case .failed(_, let error, _): outcomes.insert(error.code.rawValue)
      }
    }
    #expect(outcomes.isSuperset(of: ["accepted", "bad-json", "bad-request", "unknown-field"]), "seed \(seed)")
  }
}
