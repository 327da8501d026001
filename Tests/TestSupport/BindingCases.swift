extension BindingCase {
  package static let all = addresses + ports + families + modes + syntax

  /// Which host addresses a request and a default bind reach.
  package static let addresses: [BindingCase] = [
    .init(
      "exposed and not published: no binding", ["8000:80"], expose: ["81/tcp"],
      gives: ["80/tcp -> 0.0.0.0:8000", "80/tcp -> [::]:8000"]),
    .init(
      "default bind 0.0.0.0 reaches both families", ["8080:80"], bind: "0.0.0.0",
      gives: ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"]),
    .init(
      "default bind of one IPv4 address", ["8080:80"], bind: "192.0.2.10", hostAddresses: ["192.0.2.10/24"],
      gives: ["80/tcp -> 192.0.2.10:8080"]),
    .init(
      "default bind of one IPv6 address", ["8080:80"], bind: "2001:db8::10", hostAddresses: ["2001:db8::10/64"],
      gives: ["80/tcp -> [2001:db8::10]:8080"]),
    .init(
      "IPv6 loopback against an IPv4 default bind", ["[::1]:8080:80"], bind: "0.0.0.0",
      gives: ["80/tcp -> [::1]:8080"]),
    .init(
      "IPv4 address against an IPv6 default bind", ["192.0.2.10:8080:80"], bind: "::",
      hostAddresses: ["192.0.2.10/24"], gives: ["80/tcp -> 192.0.2.10:8080"]),
    .init("IPv4 default bind, IPv6-only container", ["8080:80"], bind: "127.0.0.1", ipv4: nil),
    .init(
      "IPv4 routed under the default bind 0.0.0.0", ["8080:80"], v4: "routed", bind: "0.0.0.0",
      gives: ["80/tcp -> [::]:8080", "80/tcp -> 0.0.0.0:"], warns: ["routed-host-port-ignored"]),
    .init(
      "both routed: an IPv4 default bind leaves IPv6 out", ["8080:80"], v4: "routed", v6: "routed", bind: "127.0.0.1",
      gives: ["80/tcp -> 0.0.0.0:"], warns: ["routed-host-port-ignored"]),
    .init(
      "both routed: an IPv6 default bind leaves IPv4 out", ["8080:80"], v4: "routed", v6: "routed", bind: "::1",
      gives: ["80/tcp -> [::]:"], warns: ["routed-host-port-ignored"]),
    .init(
      "a neighbouring loopback address is busy", ["127.0.1.2:1716:80"], containers: ["tcp 127.0.1.3:1716"],
      gives: ["80/tcp -> 127.0.1.2:1716"]),
  ]

  /// Conflicts, ranges, ephemeral ports and the order of choice.
  package static let ports: [BindingCase] = [
    .init(
      "a program has the IPv6 port: IPv4 fails with it", ["8080:80"], programs: ["tcp [::]:8080"],
      fails: "host-port-in-use"),
    .init(
      "a V6ONLY listener leaves IPv4 free", ["0.0.0.0:8080:80"], programs: ["tcp [::]:8080"],
      gives: ["80/tcp -> 0.0.0.0:8080"]),
    .init(
      "a dual-stack listener takes IPv4 too", ["0.0.0.0:8080:80"], programs: ["tcp [::]:8080 dual-stack"],
      fails: "host-port-in-use"),
    .init(
      "another container has every address", ["127.0.0.1:8080:80"], containers: ["tcp 0.0.0.0:8080"],
      fails: "port-already-allocated"),
    .init(
      "another container has another address", ["127.0.0.2:8080:80"], containers: ["tcp 127.0.0.1:8080"],
      gives: ["80/tcp -> 127.0.0.2:8080"]),
    .init(
      "another container has the other protocol", ["8080:80/udp"], containers: ["tcp 0.0.0.0:8080", "tcp [::]:8080"],
      gives: ["80/udp -> 0.0.0.0:8080", "80/udp -> [::]:8080"]),
    .init(
      "a range's port must be free in both families", ["8080-8082:80"],
      containers: ["tcp 0.0.0.0:8080", "tcp [::]:8081"], gives: ["80/tcp -> 0.0.0.0:8082", "80/tcp -> [::]:8082"]),
    .init(
      "a range that other containers fill", ["8081-8082:80"], containers: ["tcp 0.0.0.0:8081-8082"],
      fails: "ports-exhausted"),
    .init(
      "a range after nine ports of programs", ["9000-9011:80"], programs: ["tcp 0.0.0.0:9000-9008"],
      gives: ["80/tcp -> 0.0.0.0:9009", "80/tcp -> [::]:9009"]),
    .init(
      "a range after eleven ports of containers", ["9000-9011:80"], containers: ["tcp 0.0.0.0:9000-9010"],
      gives: ["80/tcp -> 0.0.0.0:9011", "80/tcp -> [::]:9011"]),
    .init(
      "a program has every address, udp", ["127.0.0.1:12345:80/udp"], programs: ["udp 0.0.0.0:12345"],
      fails: "host-port-in-use"),
    .init(
      "a program has every address, tcp", ["127.0.0.1:12345:80"], programs: ["tcp 0.0.0.0:12345"],
      fails: "host-port-in-use"),
    .init(
      "ephemeral ports for three container ports", ["81", "82", "127.0.0.1::80"],
      gives: [
        "80/tcp -> 127.0.0.1:a", "81/tcp -> 0.0.0.0:b", "81/tcp -> [::]:b", "82/tcp -> 0.0.0.0:c", "82/tcp -> [::]:c",
      ]),
    .init(
      "reserved ports are no ephemeral ports", ["80"], reserved: "32768-32769",
      gives: ["80/tcp -> 0.0.0.0:a", "80/tcp -> [::]:a"]),
    .init(
      "a busy ephemeral port is skipped in both families", ["80"], programs: ["tcp 0.0.0.0:32768"],
      gives: ["80/tcp -> 0.0.0.0:a", "80/tcp -> [::]:a"]),
    .init(
      "exact before range", ["8080:80", "8080-8081:81"],
      gives: ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080", "81/tcp -> 0.0.0.0:8081", "81/tcp -> [::]:8081"]),
    .init(
      "exact before range, whatever the order of the requests", ["8080-8081:81", "8080:80"],
      gives: ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080", "81/tcp -> 0.0.0.0:8081", "81/tcp -> [::]:8081"]),
    .init(
      "exact before ephemeral", ["80", "8080:81"],
      gives: ["81/tcp -> 0.0.0.0:8080", "81/tcp -> [::]:8080", "80/tcp -> 0.0.0.0:a", "80/tcp -> [::]:a"]),
    .init(
      "every address twice, implied and spelt out", ["8080:80", "0.0.0.0:8080:80"], fails: "port-already-allocated"),
    .init(
      "both families spelt out", ["0.0.0.0:8080:80", "[::]:8080:80"],
      gives: ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"]),
    .init(
      "one port on two addresses", ["127.0.0.1:8080:80", "192.0.2.10:8080:80"], hostAddresses: ["192.0.2.10/24"],
      gives: ["80/tcp -> 127.0.0.1:8080", "80/tcp -> 192.0.2.10:8080"]),
    .init(
      "one ephemeral port for two addresses", ["127.0.0.1::80", "192.0.2.10::80"], hostAddresses: ["192.0.2.10/24"],
      gives: ["80/tcp -> 127.0.0.1:a", "80/tcp -> 192.0.2.10:a"]),
    .init(
      "ordered by container port", ["443:8443", "80:8080"],
      gives: ["8080/tcp -> 0.0.0.0:80", "8080/tcp -> [::]:80", "8443/tcp -> 0.0.0.0:443", "8443/tcp -> [::]:443"]),
    .init(
      "then by host port", ["8001:80", "8000:80"],
      gives: ["80/tcp -> 0.0.0.0:8000", "80/tcp -> [::]:8000", "80/tcp -> 0.0.0.0:8001", "80/tcp -> [::]:8001"]),
  ]

  /// Containers with one family, and networks that are not the gateway.
  package static let families: [BindingCase] = [
    .init("IPv6 host address, IPv4-only container", ["[::1]::22"], ipv6: nil, warns: ["ipv6-host-ipv4-container"]),
    .init("no address given, IPv6-only container", ["8080:80"], ipv4: nil, gives: ["80/tcp -> [::]:8080"]),
    .init("IPv4 host address, IPv6-only container", ["0.0.0.0:8080:80"], ipv4: nil),
    .init("IPv6-only and routed", ["[::]::80"], v6: "routed", ipv4: nil, gives: ["80/tcp -> [::]:"]),
    .init(
      "routed in both families beside the gateway", ["8080:80"], v4: "routed", v6: "routed", isGateway: false,
      gives: ["80/tcp -> 0.0.0.0:", "80/tcp -> [::]:"],
      warns: ["routed-host-port-ignored", "routed-host-port-ignored"]),
    .init(
      "beside the gateway only the routed family counts", ["8080:80"], v6: "routed", isGateway: false,
      gives: ["80/tcp -> [::]:"], warns: ["routed-host-port-ignored"]),
  ]

  /// Gateway modes: routed, mixed, nat-unprotected, isolated, internal, and bad ones.
  package static let modes: [BindingCase] = [
    .init("gateway mode \"bridge\"", ["8080:80"], v4: "bridge", fails: "unknown-gateway-mode"),
    .init("gateway mode in capitals", ["8080:80"], v4: "NAT", fails: "unknown-gateway-mode"),
    .init(
      "empty gateway modes are nat", ["8080:80"], v4: "", v6: "",
      gives: ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"]),
    .init("internal", ["8080:80"], isInternal: true),
    .init(
      "isolated without internal, in a family the network lacks", ["8080:80"], v6: "isolated", ipv6: nil,
      fails: "isolated-needs-internal"),
    .init("isolated and internal", ["8080:80"], v4: "isolated", v6: "isolated", isInternal: true),
    .init(
      "nat-unprotected on loopback", ["127.0.0.1:8080:80"], v4: "nat-unprotected", v6: "nat-unprotected",
      gives: ["80/tcp -> 127.0.0.1:8080"]),
    .init(
      "nat-unprotected and routed", ["8080:80"], v4: "nat-unprotected", v6: "routed",
      gives: ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:"], warns: ["routed-host-port-ignored"]),
    .init(
      "IPv4 routed, two ephemeral requests", ["22", "80"], v4: "routed",
      gives: ["22/tcp -> [::]:a", "80/tcp -> [::]:b", "22/tcp -> 0.0.0.0:", "80/tcp -> 0.0.0.0:"]),
    .init("IPv4 routed, 0.0.0.0 without a port", ["0.0.0.0::80"], v4: "routed", gives: ["80/tcp -> 0.0.0.0:"]),
    .init(
      "IPv4 routed, address and port are ignored", ["127.0.0.1:8080:80"], v4: "routed", gives: ["80/tcp -> 0.0.0.0:"],
      warns: ["routed-host-address-ignored", "routed-host-port-ignored"]),
    .init(
      "both routed, both spelt out", ["0.0.0.0::22", "[::]::22"], v4: "routed", v6: "routed",
      gives: ["22/tcp -> 0.0.0.0:", "22/tcp -> [::]:"]),
    .init(
      "both routed: a busy host port does not matter", ["8080:80"], v4: "routed", v6: "routed",
      programs: ["tcp 0.0.0.0:8080"], gives: ["80/tcp -> 0.0.0.0:", "80/tcp -> [::]:"],
      warns: ["routed-host-port-ignored", "routed-host-port-ignored"]),
    .init(
      "both routed: the same request twice stays twice", ["8080:80", "8080:80"], v4: "routed", v6: "routed",
      gives: ["80/tcp -> 0.0.0.0:", "80/tcp -> 0.0.0.0:", "80/tcp -> [::]:", "80/tcp -> [::]:"],
      warns: [
        "routed-host-port-ignored", "routed-host-port-ignored", "routed-host-port-ignored", "routed-host-port-ignored",
      ]),
    .init(
      "both routed: two host ports become the same binding", ["8080:80", "8081:80"], v4: "routed", v6: "routed",
      gives: ["80/tcp -> 0.0.0.0:", "80/tcp -> [::]:", "80/tcp -> 0.0.0.0:", "80/tcp -> [::]:"],
      warns: [
        "routed-host-port-ignored", "routed-host-port-ignored", "routed-host-port-ignored", "routed-host-port-ignored",
      ]),
    .init(
      "IPv6 routed", ["8080:80"], v6: "routed", gives: ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:"],
      warns: ["routed-host-port-ignored"]),
    .init(
      "IPv6 routed, two ephemeral requests", ["22", "80"], v6: "routed",
      gives: ["22/tcp -> 0.0.0.0:a", "80/tcp -> 0.0.0.0:b", "22/tcp -> [::]:", "80/tcp -> [::]:"]),
    .init("IPv6 routed, the IPv6-only form", ["[::]::80"], v6: "routed", gives: ["80/tcp -> [::]:"]),
    .init(
      "IPv6 routed, :: with a port", ["[::]:8080:80"], v6: "routed", gives: ["80/tcp -> [::]:"],
      warns: ["routed-host-port-ignored"]),
    .init(
      "IPv6 routed, an address without a port", ["[2001:db8::10]::80"], v6: "routed",
      hostAddresses: ["2001:db8::10/64"], gives: ["80/tcp -> [::]:"], warns: ["routed-host-address-ignored"]),
    .init(
      "IPv6 routed, an address with a port", ["[2001:db8::10]:8080:80"], v6: "routed", gives: ["80/tcp -> [::]:"],
      warns: ["routed-host-address-ignored", "routed-host-port-ignored"]),
    .init("IPv6 routed, 0.0.0.0 leaves it out", ["0.0.0.0:8080:80"], v6: "routed", gives: ["80/tcp -> 0.0.0.0:8080"]),
    .init(
      "IPv6 routed, IPv4 loopback leaves it out", ["127.0.0.1:8080:80"], v6: "routed",
      gives: ["80/tcp -> 127.0.0.1:8080"]),
    .init(
      "IPv6 routed, a host range is ignored once", ["8000-8002:80"], v6: "routed",
      gives: ["80/tcp -> 0.0.0.0:8000", "80/tcp -> [::]:"], warns: ["routed-host-port-ignored"]),
    .init(
      "IPv6 routed, IPv6 loopback", ["[::1]:8080:80"], v6: "routed", gives: ["80/tcp -> [::]:"],
      warns: ["routed-host-address-ignored", "routed-host-port-ignored"]),
    .init(
      "IPv6 routed, udp", ["8080:80/udp"], v6: "routed", gives: ["80/udp -> 0.0.0.0:8080", "80/udp -> [::]:"],
      warns: ["routed-host-port-ignored"]),
    .init(
      "IPv6 routed, one request for both families and one for IPv6", ["80", "[::]::81"], v6: "routed",
      gives: ["80/tcp -> 0.0.0.0:a", "80/tcp -> [::]:", "81/tcp -> [::]:"]),
  ]

  /// The spellings of a request.
  package static let syntax: [BindingCase] = [
    .init("a container port", ["80"], gives: ["80/tcp -> 0.0.0.0:a", "80/tcp -> [::]:a"]),
    .init("0.0.0.0 is IPv4 only", ["0.0.0.0:8080:80"], gives: ["80/tcp -> 0.0.0.0:8080"]),
    .init("0.0.0.0 without a host port", ["0.0.0.0::80"], gives: ["80/tcp -> 0.0.0.0:a"]),
    .init("[::] without a host port", ["[::]::80"], gives: ["80/tcp -> [::]:a"]),
    .init(":: without brackets", ["::::80"], gives: ["80/tcp -> [::]:a"]),
    .init("empty address and empty host port", ["::80"], gives: ["80/tcp -> 0.0.0.0:a", "80/tcp -> [::]:a"]),
    .init("[::1]", ["[::1]:8080:80"], gives: ["80/tcp -> [::1]:8080"]),
    .init("::1 without brackets", ["::1:8080:80"], gives: ["80/tcp -> [::1]:8080"]),
    .init(
      "an IPv6 address without brackets and host port", ["2001:db8::10::333"], hostAddresses: ["2001:db8::10/64"],
      gives: ["333/tcp -> [2001:db8::10]:a"]),
    .init(
      "an IPv4 address without a host port", ["192.0.2.10::80"], hostAddresses: ["192.0.2.10/24"],
      gives: ["80/tcp -> 192.0.2.10:a"]),
    .init(
      "an IPv4 address", ["192.0.2.10:8080:80"], hostAddresses: ["192.0.2.10/24"],
      gives: ["80/tcp -> 192.0.2.10:8080"]),
    .init("udp", ["8080:80/udp"], gives: ["80/udp -> 0.0.0.0:8080", "80/udp -> [::]:8080"]),
    .init("UDP", ["8080:80/UDP"], gives: ["80/udp -> 0.0.0.0:8080", "80/udp -> [::]:8080"]),
    .init("nothing after the slash", ["8080:80/"], gives: ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"]),
    .init("icmp", ["8080:80/icmp"], fails: "bad-publish"),
    .init("two protocols", ["8080:80/tcp/udp"], fails: "bad-publish"),
    .init("no container port", ["0.0.0.0:1234-1235:"], fails: "bad-publish"),
    .init("a host name", ["localhost:8080:80"], fails: "bad-publish"),
    .init("an address where the host port belongs", ["1.2.3.4:80"], fails: "bad-publish"),
    .init("an address alone", ["192.168.1.100"], fails: "bad-publish"),
    .init("negative ports", ["192.168.1.100:-1:-1"], fails: "bad-publish"),
    .init("host port 65536", ["65536:80"], fails: "bad-publish"),
    .init("container port 65536", ["8080:65536"], fails: "bad-publish"),
    .init("a range without an end", ["8080-:80"], fails: "bad-publish"),
    .init("ranges of two sizes", ["8000-8001:80-82"], fails: "bad-publish"),
    .init(
      "ranges on one address", ["0.0.0.0:1234-1235:3333-3334/tcp"],
      gives: ["3333/tcp -> 0.0.0.0:1234", "3334/tcp -> 0.0.0.0:1235"]),
    .init(
      "ranges of one size", ["8000-8002:80-82"],
      gives: [
        "80/tcp -> 0.0.0.0:8000", "80/tcp -> [::]:8000", "81/tcp -> 0.0.0.0:8001", "81/tcp -> [::]:8001",
        "82/tcp -> 0.0.0.0:8002", "82/tcp -> [::]:8002",
      ]),
    .init(
      "a container range alone", ["1234-1236/tcp"],
      gives: [
        "1234/tcp -> 0.0.0.0:a", "1234/tcp -> [::]:a", "1235/tcp -> 0.0.0.0:b", "1235/tcp -> [::]:b",
        "1236/tcp -> 0.0.0.0:c", "1236/tcp -> [::]:c",
      ]),
    .init(
      "a host range for one container port", ["8000-8002:80"],
      gives: ["80/tcp -> 0.0.0.0:8000", "80/tcp -> [::]:8000"]),
    .init("host port 0", ["0:80"], gives: ["80/tcp -> 0.0.0.0:a", "80/tcp -> [::]:a"]),
    .init("host port 0-0", ["0-0:80"], gives: ["80/tcp -> 0.0.0.0:a", "80/tcp -> [::]:a"]),
    .init("container port 0", ["8080:0"], fails: "bad-publish"),
    .init("a range from 0", ["0-10:80"], fails: "bad-publish"),
    .init("a blank", [" 8080:80"], fails: "bad-publish"),
    .init("leading zeros", ["080:0080"], gives: ["80/tcp -> 0.0.0.0:80", "80/tcp -> [::]:80"]),
    .init("[::] and a single port", ["[::]:80"], fails: "bad-publish"),
    .init("a zone id", ["[fe80::1%eth0]:8080:80"], fails: "bad-publish"),
    .init("an IPv4-mapped address", ["[::ffff:127.0.0.1]:8080:80"], gives: ["80/tcp -> 127.0.0.1:8080"]),
    .init("IPv4 in brackets", ["[127.0.0.1]:8080:80"], gives: ["80/tcp -> 127.0.0.1:8080"]),
    .init(
      "target and published", ["target=80,published=8080"], gives: ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"]),
    .init(
      "published and target", ["published=1500,target=200"],
      gives: ["200/tcp -> 0.0.0.0:1500", "200/tcp -> [::]:1500"]),
    .init("target alone", ["target=80"], gives: ["80/tcp -> 0.0.0.0:a", "80/tcp -> [::]:a"]),
    .init(
      "target, published and protocol", ["target=80,published=8080,protocol=udp"],
      gives: ["80/udp -> 0.0.0.0:8080", "80/udp -> [::]:8080"]),
    .init(
      "keys that do not concern us", ["target=80,published=8080,mode=host"],
      gives: ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"]),
    .init(
      "tcp and udp", ["8080:80", "8080:80/udp"],
      gives: ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080", "80/udp -> 0.0.0.0:8080", "80/udp -> [::]:8080"]),
    .init("one container port twice, ephemeral", ["80", "80"], fails: "port-already-allocated"),
    .init("one host port for two container ports", ["8080:80", "8080:81"], fails: "port-already-allocated"),
  ]
}
