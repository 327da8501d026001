import Feed
import PortMaps
import Testing

struct RefusedRequest: Sendable, CustomTestStringConvertible {
  let name: String
  let line: String
  let code: ErrorCode
  let field: String?
  let message: String
  var testDescription: String { name }

  init(_ name: String, _ line: String, _ code: ErrorCode, _ field: String?, _ message: String) {
    (self.name, self.line, self.code, self.field, self.message) = (name, line, code, field, message)
  }
}

private func container(_ fields: String) -> String {
  #"{"event":"container.start","container":{"id":"c1",\#(fields)}}"#
}

private func publish(_ fields: String) -> String { container(#""publish":["80",{\#(fields)}]"#) }

private func network(_ fields: String) -> String {
  #"{"event":"network.create","network":{"id":"n1","bridge":"br0",\#(fields)}}"#
}

private func stop(_ fields: String) -> String { #"{"event":"container.stop",\#(fields)}"# }

private let subnet = #""subnets":["10.0.0.0/8"]"#
private let bridgeName = "com.docker.network.bridge.name"

@Suite struct RequestRefusalTests {
  static let envelope = [
    RefusedRequest("not JSON", "{", .badJSON, nil, "expected a key"),
    RefusedRequest("duplicate key", #"{"query":"hello","query":"hello"}"#, .badJSON, nil, "appears twice"),
    RefusedRequest("trailing comma", #"{"query":"hello",}"#, .badJSON, nil, "expected a key"),
    RefusedRequest("not an object", "[1]", .badRequest, nil, "a list is not a request"),
    RefusedRequest("a number", "17", .badRequest, nil, "17 is not a request"),
    RefusedRequest("neither", "{}", .badRequest, nil, "neither event nor query"),
    RefusedRequest("both", #"{"event":"reconcile","query":"hello"}"#, .badRequest, nil, "both there"),
    RefusedRequest(
      "fractional id", #"{"id":7.0,"query":"hello"}"#, .badRequest, "id", "7.0 is not a string or an integer"),
    RefusedRequest(
      "long id", #"{"id":"\#(String(repeating: "x", count: 4097))","query":"hello"}"#, .limitExceeded, "id",
      "4097 bytes"),
    RefusedRequest("null id", #"{"id":null,"query":"hello"}"#, .badRequest, "id", "null is not"),
    RefusedRequest("huge id", #"{"id":9223372036854775808,"query":"hello"}"#, .badRequest, "id", "9223372036854775808"),
    RefusedRequest("event is a number", #"{"event":1}"#, .badRequest, "event", "1 is not a string"),
    RefusedRequest(
      "unknown event", #"{"event":"container.strat"}"#, .unknownEvent, "event",
      #""container.strat" is not an event; there are network.create, "#),
    RefusedRequest("event in capitals", #"{"event":"Reconcile"}"#, .unknownEvent, "event", "reconcile"),
    RefusedRequest(
      "unknown query", #"{"query":"lst"}"#, .unknownQuery, "query",
      #""lst" is not a query; there are hello, list, networks, inspect, status, watch"#),
    RefusedRequest("query's name as event", #"{"event":"hello"}"#, .unknownEvent, "event", "hello"),
    RefusedRequest(
      "source not allowed in a query", #"{"query":"hello","source":"a"}"#, .unknownField, "source",
      #""source" is not a field of hello; there are id, query"#),
    RefusedRequest(
      "field of another query", #"{"query":"networks","container":"c1"}"#, .unknownField, "container",
      "not a field of networks"),
    RefusedRequest(
      "field of another event", #"{"event":"reconcile","container":"c1"}"#, .unknownField, "container",
      "not a field of reconcile"),
    RefusedRequest(
      "bad source", #"{"event":"reconcile","source":"-a"}"#, .badRequest, "source", #""-a" is not 1-128 of"#),
    RefusedRequest("empty source", #"{"event":"reconcile","source":""}"#, .badRequest, "source", #""" is not"#),
    RefusedRequest(
      "source is a number", #"{"event":"reconcile","source":1}"#, .badRequest, "source", "1 is not a string"),
    RefusedRequest(
      "long string", #"{"event":"network.remove","network":"\#(String(repeating: "x", count: 4097))"}"#, .limitExceeded,
      "network", "4097 bytes in one string, 4096"),
    RefusedRequest(
      "list by a string", #"{"query":"list","host_port":"80"}"#, .badRequest, "host_port", #""80" is not an integer"#),
    RefusedRequest(
      "list of port 0", #"{"query":"list","host_port":0}"#, .badRequest, "host_port", "0 is not in 1-65535"),
    RefusedRequest("list of port 65536", #"{"query":"list","host_port":65536}"#, .badRequest, "host_port", "65536"),
    RefusedRequest("list of icmp", #"{"query":"list","protocol":"icmp"}"#, .badRequest, "protocol", "icmp"),
    RefusedRequest("inspect of nothing", #"{"query":"inspect"}"#, .badRequest, "container", "container is missing"),
  ]

  static let networks = [
    RefusedRequest(
      "no network", #"{"event":"network.create"}"#, .badRequest, "network",
      "network is missing; network.create needs it"),
    RefusedRequest(
      "network is a string", #"{"event":"network.create","network":"n1"}"#, .badRequest, "network", "not an object"),
    RefusedRequest(
      "unknown field", network(#""subnet":["10.0.0.0/8"]"#), .unknownField, "subnet",
      #""subnet" is not a field of a network; there are id, name"#),
    RefusedRequest("no id", #"{"event":"network.create","network":{}}"#, .badRequest, "id", "id is missing"),
    RefusedRequest(
      "empty id", #"{"event":"network.create","network":{"id":""}}"#, .badRequest, "id", "1-128 bytes"),
    RefusedRequest(
      "long id", #"{"event":"network.create","network":{"id":"\#(String(repeating: "x", count: 129))"}}"#, .badRequest,
      "id", "1-128 bytes"),
    RefusedRequest(
      "control character in the name", network(#""name":"a\u0085","# + subnet), .badRequest, "name", "control"),
    RefusedRequest(
      "unknown driver", network(#""driver":"overlay","# + subnet), .badRequest, "driver",
      #""overlay" is not one of bridge, macvlan, ipvlan, host, none"#),
    RefusedRequest(
      "no bridge", #"{"event":"network.create","network":{"id":"n1","subnets":["10.0.0.0/8"]}}"#, .badRequest,
      "bridge", bridgeName),
    RefusedRequest(
      "long bridge", #"{"event":"network.create","network":{"id":"n1","bridge":"br45678901234567"}}"#, .badRequest,
      "bridge", "1-15 bytes"),
    RefusedRequest(
      "blank in the bridge", #"{"event":"network.create","network":{"id":"n1","bridge":"br 0"}}"#, .badRequest,
      "bridge", #""br 0" is not an interface name"#),
    RefusedRequest(
      "slash in the bridge", #"{"event":"network.create","network":{"id":"n1","bridge":"br/0"}}"#, .badRequest,
      "bridge", "interface name"),
    RefusedRequest(
      "bridge is a dot", #"{"event":"network.create","network":{"id":"n1","bridge":".."}}"#, .badRequest,
      "bridge", "interface name"),
    RefusedRequest(
      "two bridges", network(subnet + #","options":{"\#(bridgeName)":"br1"}"#), .badOption,
      "options.\(bridgeName)", #""br1" is not the interface that bridge names, "br0""#),
    RefusedRequest(
      "bad bridge in the options", network(subnet + #","options":{"\#(bridgeName)":""}"#), .badRequest,
      "options.\(bridgeName)", "interface name"),
    RefusedRequest(
      "internal is a string", network(#""internal":"true","# + subnet), .badRequest, "internal",
      #""true" is not true or false"#),
    RefusedRequest(
      "internal is null", network(#""internal":null,"# + subnet), .badRequest, "internal",
      "null is not true or false"),
    RefusedRequest("no subnets", network(#""subnets":[]"#), .badRequest, "subnets", "at least one subnet"),
    RefusedRequest(
      "subnets is a string", network(#""subnets":"10.0.0.0/8""#), .badRequest, "subnets",
      #""10.0.0.0/8" is not a list"#),
    RefusedRequest(
      "bad subnet", network(#""subnets":["10.0.0.0/8","10.0.0.0/33"]"#), .badAddress, "subnets[1]",
      #""10.0.0.0/33" is not an IPv4 or IPv6 prefix"#),
    RefusedRequest(
      "subnet is a number", network(#""subnets":[10]"#), .badRequest, "subnets[0]", "10 is not a string"),
    RefusedRequest(
      "many subnets",
      network(#""subnets":[\#(Array(repeating: #""10.0.0.0/8""#, count: 1025).joined(separator: ","))]"#),
      .limitExceeded, "subnets", "1025 subnets, 1024"),
    RefusedRequest(
      "options is a list", network(subnet + #","options":[]"#), .badRequest, "options",
      "a list is not an object"),
    RefusedRequest(
      "option is a bool", network(subnet + #","options":{"x":true}"#), .badRequest, "options.x",
      "true is not a string"),
    RefusedRequest(
      "many options", network(subnet + #","options":{\#((0..<1025).map { #""o\#($0)":"""# }.joined(separator: ","))}"#),
      .limitExceeded, "options", "1025 options"),
    RefusedRequest(
      "remove of an object", #"{"event":"network.remove","network":{}}"#, .badRequest, "network",
      "an object is not a string"),
  ]

  static let containers = [
    RefusedRequest("no container", #"{"event":"container.start"}"#, .badRequest, "container", "container is missing"),
    RefusedRequest(
      "unknown field", container(#""publsh":[]"#), .unknownField, "publsh",
      #""publsh" is not a field of a container"#),
    RefusedRequest(
      "no id", #"{"event":"container.start","container":{}}"#, .badRequest, "id", "id is missing"),
    RefusedRequest("blank in the id", stop(#""container":"a b""#), .badRequest, "container", #""a b" is not 1-128 of"#),
    RefusedRequest("id with an umlaut", stop(#""container":"ü""#), .badRequest, "container", "1-128 of"),
    RefusedRequest("dot first", stop(#""container":".a""#), .badRequest, "container", "1-128 of"),
    RefusedRequest(
      "long id", stop(#""container":"\#(String(repeating: "x", count: 129))""#), .badRequest, "container", "1-128 of"),
    RefusedRequest(
      "line break in the name", container(#""name":"a\nb""#), .badRequest, "name", #""a\nb" is not"#),
    RefusedRequest(
      "generation 8e1", container(#""generation":8e1"#), .badRequest, "generation",
      "8e1 is not an integer in plain decimals"),
    RefusedRequest(
      "generation 80.0", container(#""generation":80.0"#), .badRequest, "generation", "80.0 is not an integer"
    ),
    RefusedRequest(
      "generation in quotes", container(#""generation":"3""#), .badRequest, "generation",
      #""3" is not an integer"#),
    RefusedRequest(
      "negative generation", stop(#""container":"c1","generation":-1"#), .badRequest, "generation",
      "-1 is not a generation: 0 or more"),
    RefusedRequest("generation null", container(#""generation":null"#), .badRequest, "generation", "null"),
    RefusedRequest(
      "reset is a number", stop(#""container":"c1","reset":1"#), .badRequest, "reset", "1 is not true or false"),
    RefusedRequest(
      "networks is an object", container(#""networks":{}"#), .badRequest, "networks",
      "an object is not a list"),
    RefusedRequest(
      "endpoint without network", container(#""networks":[{"ipv4":"10.0.0.1"}]"#), .badRequest,
      "networks[0].network", "network is missing"),
    RefusedRequest(
      "unknown field of an endpoint", container(#""networks":[{"network":"n"},{"network":"m","ip":"1"}]"#),
      .unknownField, "networks[1].ip", "not a field of an endpoint"),
    RefusedRequest(
      "bad address", container(#""networks":[{"network":"n","ipv4":"10.0.0"}]"#), .badAddress,
      "networks[0].ipv4", #""10.0.0" is not an IPv4 or IPv6 address"#),
    RefusedRequest(
      "IPv6 as ipv4", container(#""networks":[{"network":"n","ipv4":"::1"}]"#), .badAddress,
      "networks[0].ipv4", #""::1" is not an IPv4 address"#),
    RefusedRequest(
      "IPv4 as ipv6", container(#""networks":[{"network":"n","ipv6":"::ffff:10.0.0.1"}]"#), .badAddress,
      "networks[0].ipv6", #""10.0.0.1" is not an IPv6 address"#),
    RefusedRequest(
      "fractional priority", container(#""networks":[{"network":"n","gateway_priority":1.5}]"#), .badRequest,
      "networks[0].gateway_priority", "1.5 is not an integer"),
    RefusedRequest(
      "connect with an unknown field",
      #"{"event":"container.connect","container":"c1","endpoint":{"network":"n","mac":"1"}}"#, .unknownField,
      "endpoint.mac", "not a field of an endpoint"),
    RefusedRequest(
      "disconnect of nothing", #"{"event":"container.disconnect","container":"c1"}"#, .badRequest, "network",
      "network is missing"),
    RefusedRequest(
      "publish_all in quotes", container(#""publish_all":"yes""#), .badRequest, "publish_all",
      #""yes" is not true or false"#),
  ]

  static let ports = [
    RefusedRequest(
      "publish is a string", container(#""publish":"80""#), .badRequest, "publish", #""80" is not a list"#),
    RefusedRequest(
      "publish of a number", container(#""publish":[80]"#), .badRequest, "publish[0]",
      #"80 is not a string like "8080:80/tcp" or an object"#),
    RefusedRequest(
      "bad short form", container(#""publish":["80","70000:80"]"#), .badPublish, "publish[1]", "70000"),
    RefusedRequest(
      "unknown field", publish(#""container_port":80,"hostport":1"#), .unknownField, "publish[1].hostport",
      "not a field of a published port"),
    RefusedRequest(
      "no container port", publish(#""host_port":80"#), .badRequest, "publish[1].container_port",
      "container_port is missing"),
    RefusedRequest(
      "container port 0", publish(#""container_port":0"#), .badPublish, "publish[1].container_port",
      #"container port "0" is not in 1-65535"#),
    RefusedRequest(
      "container port 65536", publish(#""container_port":65536"#), .badPublish, "publish[1].container_port",
      #""65536" is not in 1-65535"#),
    RefusedRequest(
      "negative container port", publish(#""container_port":-80"#), .badPublish, "publish[1].container_port",
      #""-80""#),
    RefusedRequest(
      "container port 8e1", publish(#""container_port":8e1"#), .badRequest, "publish[1].container_port",
      "8e1 is not a port number"),
    RefusedRequest(
      "container port 80.0", publish(#""container_port":80.0"#), .badRequest, "publish[1].container_port",
      "80.0 is not a port number"),
    RefusedRequest(
      "container port with protocol", publish(#""container_port":"80/tcp""#), .badPublish,
      "publish[1].container_port", #""80/tcp" is not a decimal port"#),
    RefusedRequest(
      "reversed range", publish(#""container_port":"90-80""#), .badPublish, "publish[1].container_port",
      "reversed"),
    RefusedRequest(
      "bad host port", publish(#""container_port":80,"host_port":"x""#), .badPublish, "publish[1].host_port",
      #"host port "x""#),
    RefusedRequest(
      "host port is a list", publish(#""container_port":80,"host_port":[1]"#), .badRequest,
      "publish[1].host_port", "a list is not a port number"),
    RefusedRequest(
      "one host port for many", publish(#""container_port":"80-90","host_port":0"#), .badPublish,
      "publish[1].host_port", "do not pair up"),
    RefusedRequest(
      "ranges of two sizes", publish(#""container_port":"80-90","host_port":"80-91""#), .badPublish,
      "publish[1]", "do not pair up"),
    RefusedRequest(
      "host name", publish(#""container_port":80,"host_ip":"localhost""#), .badPublish, "publish[1].host_ip",
      #""localhost" is not"#),
    RefusedRequest(
      "unknown protocol", publish(#""container_port":80,"protocol":"icmp""#), .badPublish,
      "publish[1].protocol", #"protocol "icmp" is not one of"#),
    RefusedRequest(
      "no sources", publish(#""container_port":80,"allow_from":[]"#), .badPublish, "publish[1].allow_from",
      "allow_from is empty, so nobody could use the port"),
    RefusedRequest(
      "bad source prefix", publish(#""container_port":80,"allow_from":["10.0.0.0/8","x"]"#), .badAddress,
      "publish[1].allow_from[1]", #""x" is not an IPv4 or IPv6 prefix"#),
    RefusedRequest(
      "bad exposed port", container(#""expose":["80/tcp","0"]"#), .badPublish, "expose[1]",
      #"exposed port "0" is not in 1-65535"#),
    RefusedRequest(
      "exposed with two protocols", container(#""expose":["80/tcp/udp"]"#), .badPublish, "expose[0]",
      #""tcp/udp" is not one of"#),
    RefusedRequest(
      "exposed as a number", container(#""expose":[80]"#), .badRequest, "expose[0]", "80 is not a string"),
    RefusedRequest(
      "many pairs of ports and sources",
      publish(
        #""container_port":"1-256","allow_from":[\#((0...256).map { "\"10.0.\($0 / 256).\($0 % 256)\"" }.joined(separator: ","))]"#
      ),
      .limitExceeded, "publish", "65792 pairs of a port and a source"),
    RefusedRequest(
      "many ports", container(#""publish":["1-65535","1-65535","1-65535","1-65535"],"expose":["1"]"#), .limitExceeded,
      "publish", "262141 ports in one request, 262140"),
    RefusedRequest(
      "many requests",
      #"{"event":"container.publish","container":"c1","publish":[\#(Array(repeating: #""1""#, count: 65_536).joined(separator: ","))]}"#,
      .limitExceeded, "publish", "65536 elements in one list, 65535"),
    RefusedRequest(
      "publish without ports", #"{"event":"container.publish","container":"c1"}"#, .badRequest, "publish",
      "publish is missing"),
    RefusedRequest(
      "bad unpublish", #"{"event":"container.unpublish","container":"c1","publish":["x"]}"#, .badPublish, "publish[0]",
      "x"),
  ]

  @Test(arguments: [envelope, networks, containers, ports].joined())
  func refuses(_ row: RefusedRequest) {
    guard case .failed(_, let error, _) = Request.decode(line: Array(row.line.utf8)) else {
      Issue.record("accepted: \(row.line.prefix(300))")
      return
    }
    #expect(error.code == row.code)
    #expect(error.field == row.field)
    #expect(error.message.contains(row.message), "\(error.message)")
  }

  /// Every name that the messages offer is understood.
  @Test func namesEveryRequest() {
    for line in [#"{"event":"?"}"#, #"{"query":"?"}"#] {
      guard case .failed(_, let error, _) = Request.decode(line: Array(line.utf8)) else { continue }
      let names = error.message.split(separator: "there are ").last?.split(separator: ", ") ?? []
      #expect(names.count == (line.contains("event") ? 13 : 6))
      for name in names {
        guard case .failed(_, let other, _) = Request.decode(line: Array(line.replacing("?", with: name).utf8)) else {
          continue
        }
        #expect(other.code == .badRequest, "\(name)")
      }
    }
  }

  @Test func quotesShortly() {
    let line = #"{"event":"\#(String(repeating: "x\\n", count: 1000))"}"#
    guard case .failed(_, let error, _) = Request.decode(line: Array(line.utf8)) else { return }
    #expect(error.message.utf8.count < 400)
  }
}
