extension BindingCase {
  /// Where two rules meet: ranges, duplicates and overlaps inside one start, `publish_all`, default binds.
  package static let corners: [BindingCase] = overlaps + exposed + ignored + refused

  private static let overlaps: [BindingCase] = [
    .init("a range twice", ["8000-8001:80", "8000-8001:80"], fails: "port-already-allocated"),
    .init(
      "ranges that overlap", ["8000-8001:80", "8000-8002:80"],
      gives: ["80/tcp -> 0.0.0.0:8000", "80/tcp -> [::]:8000", "80/tcp -> 0.0.0.0:8001", "80/tcp -> [::]:8001"]),
    .init("an exact port inside paired ranges", ["8001:90", "8000-8002:80-82"], fails: "port-already-allocated"),
    .init(
      "a range around exact ports", ["0.0.0.0:8000-8002:90", "0.0.0.0:8000:80", "0.0.0.0:8001:81"],
      gives: ["80/tcp -> 0.0.0.0:8000", "81/tcp -> 0.0.0.0:8001", "90/tcp -> 0.0.0.0:8002"]),
    .init("a range filled by exact ports", ["8000-8001:90", "8000:80", "8001:81"], fails: "ports-exhausted"),
    .init(
      "one address inside every address, one container port", ["127.0.0.1:8080:80", "8080:80"],
      fails: "port-already-allocated"),
    .init(
      "one address inside every address, two container ports", ["127.0.0.1:8080:80", "8080:81"],
      fails: "port-already-allocated"),
    .init("one address inside every address, ephemeral", ["127.0.0.1::80", "80"], fails: "port-already-allocated"),
    .init(
      "one loopback of each family", ["127.0.0.1:8080:80", "[::1]:8080:80"],
      gives: ["80/tcp -> 127.0.0.1:8080", "80/tcp -> [::1]:8080"]),
    .init(
      "one port, two families, two container ports", ["0.0.0.0:8080:80", "[::]:8080:81"],
      gives: ["80/tcp -> 0.0.0.0:8080", "81/tcp -> [::]:8080"]),
    .init(
      "two host ports for one container port", ["0.0.0.0:8080:80", "0.0.0.0:8081:80"],
      gives: ["80/tcp -> 0.0.0.0:8080", "80/tcp -> 0.0.0.0:8081"]),
    .init(
      "both families spelt out, ephemeral", ["[::]::80", "0.0.0.0::80"],
      gives: ["80/tcp -> 0.0.0.0:a", "80/tcp -> [::]:a"]),
    .init(
      "three protocols", ["0.0.0.0:53:53", "0.0.0.0:53:53/udp", "0.0.0.0:53:53/sctp"],
      gives: ["53/tcp -> 0.0.0.0:53", "53/udp -> 0.0.0.0:53", "53/sctp -> 0.0.0.0:53"]),
    .init(
      "an exact port of the ephemeral range", ["0.0.0.0::80", "0.0.0.0:32768:81"],
      gives: ["80/tcp -> 0.0.0.0:a", "81/tcp -> 0.0.0.0:32768"]),
    .init(
      "another container has one address", ["8080:80"], containers: ["tcp 192.0.2.10:8080"],
      hostAddresses: ["192.0.2.10/24"], fails: "port-already-allocated"),
    .init(
      "another container has the other family", ["0.0.0.0:8080:80"], containers: ["tcp [::]:8080"],
      gives: ["80/tcp -> 0.0.0.0:8080"]),
    .init(
      "a program has a port of a range in IPv6", ["8000-8001:80"], programs: ["tcp [::1]:8000"],
      gives: ["80/tcp -> 0.0.0.0:8001", "80/tcp -> [::]:8001"]),
    .init("programs fill a range", ["8000-8001:80"], programs: ["tcp 127.0.0.1:8000-8001"], fails: "ports-exhausted"),
    .init(
      "reserved ports may be asked for", ["0.0.0.0:8000-8001:80"], reserved: "8000",
      gives: ["80/tcp -> 0.0.0.0:8000"]),
    .init("every ephemeral port is reserved", ["80"], reserved: "32768-60999", fails: "ports-exhausted"),
    .init(
      "paired ranges, one busy port", ["8000-8002:80-82"], programs: ["tcp 0.0.0.0:8002"], fails: "host-port-in-use"),
  ]

  private static let exposed: [BindingCase] = [
    .init(
      "publish_all beside a request", ["0.0.0.0:8080:80"], bind: "127.0.0.1", expose: ["80/tcp", "81/tcp"],
      publishAll: true, gives: ["80/tcp -> 0.0.0.0:8080", "81/tcp -> 127.0.0.1:a"]),
    .init(
      "publish_all, a port exposed twice", [], expose: ["80-81/tcp", "81/tcp"], publishAll: true,
      gives: ["80/tcp -> 0.0.0.0:a", "80/tcp -> [::]:a", "81/tcp -> 0.0.0.0:b", "81/tcp -> [::]:b"]),
    .init(
      "publish_all, the request has the other protocol", ["0.0.0.0:53:53/udp"], bind: "0.0.0.0",
      expose: ["53/tcp", "53/udp"], publishAll: true,
      gives: ["53/udp -> 0.0.0.0:53", "53/tcp -> 0.0.0.0:a", "53/tcp -> [::]:a"]),
    .init(
      "publish_all, routed", [], v4: "routed", v6: "routed", expose: ["80/tcp"], publishAll: true,
      gives: ["80/tcp -> 0.0.0.0:", "80/tcp -> [::]:"]),
    .init("publish_all, internal", [], isInternal: true, expose: ["80/tcp"], publishAll: true),
  ]

  private static let ignored: [BindingCase] = [
    .init(
      "IPv6 default bind, IPv4-only container, two ports", ["8000-8001:80-81"], bind: "::1", ipv6: nil,
      warns: ["default-bind-ipv6-ipv4-container"]),
    .init(
      "IPv6 host address, IPv4-only container, two ports", ["[::1]:8000-8001:80-81"], ipv6: nil,
      warns: ["ipv6-host-ipv4-container"]),
    .init(
      "IPv4 host address beats an IPv6 default bind, IPv4-only container", ["0.0.0.0:8080:80"], bind: "::", ipv6: nil,
      gives: ["80/tcp -> 0.0.0.0:8080"]),
    .init(
      "IPv6 routed, paired ranges", ["8000-8001:80-81"], v6: "routed", ipv4: nil,
      gives: ["80/tcp -> [::]:", "81/tcp -> [::]:"], warns: ["routed-host-port-ignored"]),
    .init(
      "IPv6 routed, an IPv4 default bind leaves it out", ["8080:80"], v6: "routed", bind: "127.0.0.1",
      gives: ["80/tcp -> 127.0.0.1:8080"]),
    .init(
      "IPv4 routed, an IPv6 default bind leaves it out", ["8080:80"], v4: "routed", bind: "::",
      gives: ["80/tcp -> [::]:8080"]),
    .init(
      "IPv4 routed in spite of a busy port, IPv6 not", ["8080:80"], v4: "routed", programs: ["tcp 0.0.0.0:8080"],
      gives: ["80/tcp -> 0.0.0.0:", "80/tcp -> [::]:8080"], warns: ["routed-host-port-ignored"]),
    .init("internal: a busy port does not matter", ["8080:80"], isInternal: true, programs: ["tcp 0.0.0.0:8080"]),
    .init("empty default bind", ["[::]:8080:80"], bind: "", gives: ["80/tcp -> [::]:8080"]),
    .init(
      "IPv4-mapped default bind", ["8080:80"], bind: "::ffff:127.0.0.1", gives: ["80/tcp -> 127.0.0.1:8080"]),
  ]

  private static let refused: [BindingCase] = [
    .init("default bind: a host name", ["8080:80"], bind: "localhost", fails: "bad-default-bind"),
    .init("default bind: a prefix", ["8080:80"], bind: "127.0.0.0/8", fails: "bad-default-bind"),
    .init(
      "internal with an unknown gateway mode", ["8080:80"], v4: "bridge", isInternal: true,
      fails: "unknown-gateway-mode"),
    .init("isolated without internal", ["8080:80"], v4: "isolated", fails: "isolated-needs-internal"),
    .init("internal with a bad request", ["80800:80"], isInternal: true, fails: "bad-publish"),
    .init("the second request is bad", ["8080:80", "8081:0"], fails: "bad-publish"),
  ]
}
