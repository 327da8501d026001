import Feed
import PortMaps
import TestSupport

/// Random events of a small world, so that they meet: 4 networks, 2 sources with 8 containers each, few ports.
struct EventGenerator {
  var random: SeededGenerator
  static let sources = ["docker", "nomad"]

  mutating func event() -> (source: String, event: Event) {
    let source = random.pick(Self.sources)
    let id = "c\(Int.random(in: 1...8, using: &random))"
    let event: Event =
      switch Int.random(in: 0..<100, using: &random) {
      case ..<12: .networkCreate(network(source))
      case ..<15: .networkRemove("n\(Int.random(in: 1...4, using: &random))")
      case ..<50: .containerStart(container(id, source))
      case ..<70: .containerStop(id: id, generation: random.oneIn(4) ? generation() : nil, reset: random.oneIn(5))
      case ..<76: .containerConnect(id: id, endpoint())
      case ..<80: .containerDisconnect(id: id, network: "n\(Int.random(in: 1...4, using: &random))")
      case ..<87: .containerPublish(id: id, requests(1...2))
      case ..<93: .containerUnpublish(id: id, requests(1...3))
      case ..<96: .snapshotBegin
      default: .snapshotEnd
      }
    return (source, event)
  }

  private mutating func generation() -> Int { Int.random(in: 1...9, using: &random) }

  private mutating func network(_ source: String) -> Network {
    let number = Int.random(in: 1...4, using: &random)
    var options: [String: String] = [:]
    let key = NetworkOptions.bridgePrefix
    if random.oneIn(3) { options[key + "gateway_mode_ipv4"] = random.pick(["routed", "nat-unprotected", "nat"]) }
    if random.oneIn(3) { options[key + "gateway_mode_ipv6"] = random.pick(["routed", "nat-unprotected"]) }
    if random.oneIn(4) { options[key + "enable_icc"] = "false" }
    if random.oneIn(6) { options[key + "host_binding_ipv4"] = "127.0.0.1" }
    // Now and then the name or the bridge of another, which is refused.
    let other = random.oneIn(12) ? Int.random(in: 1...4, using: &random) : number
    return Network(
      source: random.oneIn(8) ? random.pick(Self.sources) : number % 2 == 0 ? "docker" : source, id: "n\(number)",
      name: "net-\(other)", bridge: "br\(random.oneIn(12) ? other : number)", isInternal: random.oneIn(10),
      subnets: [IPPrefix(IPAddress(ipv4: 0x0a00_0000 + UInt32(number) << 16), length: 16)]
        .compactMap(\.self) + (random.oneIn(2) ? [Self.subnets6[number - 1]] : []), options: options)
  }

  private static let subnets6: [IPPrefix] = ["fd00:1::/64", "fd00:2::/64", "fd00:3::/64", "fd00:4::/64"]

  /// Few addresses, so that two containers sometimes have the same.
  private mutating func endpoint() -> Endpoint {
    let number = Int.random(in: 1...4, using: &random)
    let host = UInt32.random(in: 2...9, using: &random)
    return Endpoint(
      network: random.oneIn(4) ? "net-\(number)" : "n\(number)",
      ipv4: IPAddress(ipv4: 0x0a00_0000 + UInt32(number) << 16 + host),
      ipv6: random.oneIn(2) ? IPAddress(ipv6: 0xfd00_0000_0000_0000 + UInt64(number) << 32, UInt64(host)) : nil,
      gatewayPriority: random.oneIn(4) ? 1 : 0)
  }

  private mutating func container(_ id: String, _ source: String) -> Container {
    var endpoints = [endpoint()]
    if random.oneIn(4) { endpoints.append(endpoint()) }
    return Container(
      source: source, id: id, name: "\(source)-\(id)", generation: random.oneIn(3) ? generation() : nil,
      endpoints: endpoints, publish: requests(0...3),
      expose: random.oneIn(3) ? [ExposedPorts(PortRange(9000, 9002), .tcp)] : [], publishAll: random.oneIn(4))
  }

  private mutating func requests(_ count: ClosedRange<Int>) -> [PublishRequest] {
    (0..<Int.random(in: count, using: &random)).map { _ in random.pick(random.oneIn(5) ? Self.rare : Self.usual) }
  }

  private static let usual = (8000...8011).map { PublishRequest(stringLiteral: "\($0):80") }
  private static let rare: [PublishRequest] = [
    "80", "81/udp", "127.0.0.1:8001:80", "192.0.2.1:8002:81", "[::1]:8003:80", "8004-8006:90-92", "8000-8010:99",
    "8007:80/udp", "8008:80/sctp", "8009:81", restricted(8005, 80, ["198.51.100.0/24", "2001:db8:100::/48"]),
    restricted(8006, 81, ["198.51.100.0/24", "198.51.100.7/32"]),
  ]

  private static func restricted(_ host: UInt16, _ container: UInt16, _ sources: [IPPrefix]) -> PublishRequest {
    var request = PublishRequest(stringLiteral: "\(host):\(container)")
    request.allowFrom = sources
    return request
  }
}
