import PortMaps
import TestSupport
import Testing

@Suite struct PublishRequestTests {
  /// What is written and Docker's short form of it.
  @Test(arguments: [
    ("80", "80/tcp"),
    (":80", "80/tcp"),
    ("::80", "80/tcp"),
    ("0:80", "80/tcp"),
    ("0-0:80", "80/tcp"),
    ("00:80", "80/tcp"),
    (":0:80", "80/tcp"),
    ("[::]::80", "[::]::80/tcp"),
    ("::::80", "[::]::80/tcp"),
    ("::1:80:80", "[::1]:80:80/tcp"),
    ("[::1]:80:80", "[::1]:80:80/tcp"),
    ("2001:db8::10::333", "[2001:db8::10]::333/tcp"),
    ("0.0.0.0:8080:80", "0.0.0.0:8080:80/tcp"),
    ("0.0.0.0::80", "0.0.0.0::80/tcp"),
    ("[127.0.0.1]:8080:80", "127.0.0.1:8080:80/tcp"),
    ("[::ffff:127.0.0.1]:8080:80", "127.0.0.1:8080:80/tcp"),
    ("8080:80/UDP", "8080:80/udp"),
    ("8080:80/Sctp", "8080:80/sctp"),
    ("80/", "80/tcp"),
    ("080:0080", "80:80/tcp"),
    ("65535:65535", "65535:65535/tcp"),
    ("000000008080:80", "8080:80/tcp"),
    ("8000-8002:80-82", "8000-8002:80-82/tcp"),
    ("8000-8002:80", "8000-8002:80/tcp"),
    ("8000-8002:80-80", "8000-8002:80/tcp"),
    ("8080-8080:80", "8080:80/tcp"),
    ("80-82/udp", "80-82/udp"),
    ("127.0.0.1::80-82", "127.0.0.1::80-82/tcp"),
    ("1-65535:1-65535", "1-65535:1-65535/tcp"),
    ("target=80", "80/tcp"),
    ("target=80,published=8080,protocol=udp", "8080:80/udp"),
    ("published=8000-8002,target=80-82", "8000-8002:80-82/tcp"),
    ("target=80,published=127.0.0.1:8080,mode=host", "127.0.0.1:8080:80/tcp"),
    ("target=80,target=81", "81/tcp"),
    ("target=80,protocol=", "80/tcp"),
    ("target=80,x=y=z", "80/tcp"),
  ])
  func accepted(_ text: String, _ description: String) throws {
    let request = try PublishRequest(parsing: text)
    #expect(request.description == description)
    #expect(try PublishRequest(parsing: description) == request)
  }

  @Test func anAddressThatWasNotGivenIsNotZero() throws {
    #expect(try PublishRequest(parsing: "80").hostAddress == nil)
    #expect(try PublishRequest(parsing: "0.0.0.0::80").hostAddress == "0.0.0.0")
    #expect(try PublishRequest(parsing: "0:80").hostPorts == nil)
  }

  /// What is written, the value at fault and what the message says about it.
  @Test(arguments: [
    ("", "", "the container port is missing"),
    (":", "", "the container port is missing"),
    ("8080:", "", "the container port is missing"),
    ("/tcp", "", "the container port is missing"),
    ("0.0.0.0:1234-1235:", "", "the container port is missing"),
    ("0", "0", "is not in 1-65535"),
    ("0-0", "0-0", "is not in 1-65535"),
    ("0-5", "0-5", "a range cannot start at 0"),
    ("8080:0", "0", "is not in 1-65535"),
    ("8080:65536", "65536", "is not in 1-65535"),
    ("65536:80", "65536", "is not in 1-65535"),
    ("99999999999999999999:80", "99999999999999999999", "is not in 1-65535"),
    ("0-10:80", "0-10", "a range cannot start at 0"),
    ("8080-:80", "8080-", "is not a decimal port or a range"),
    ("-8080:80", "-8080", "is not a decimal port or a range"),
    ("-:80", "-", "is not a decimal port or a range"),
    ("8000-8001-8002:80", "8000-8001-8002", "is not a decimal port or a range"),
    ("8002-8000:80", "8002-8000", "the range is reversed, 8000-8002 is accepted"),
    ("82-80", "82-80", "the range is reversed, 80-82 is accepted"),
    (" 8080:80", " 8080", "is not a decimal port or a range"),
    ("8080:80 ", "80 ", "is not a decimal port or a range"),
    ("+8080:80", "+8080", "is not a decimal port or a range"),
    ("0x50:80", "0x50", "is not a decimal port or a range"),
    ("٨٠:80", "٨٠", "is not a decimal port or a range"),
    ("http:80", "http", "is not a decimal port or a range"),
    ("1.2.3.4:80", "1.2.3.4", "is not a decimal port or a range"),
    ("192.168.1.100", "192.168.1.100", "is not a decimal port or a range"),
    ("8000-8001:80-82", "80-82", "do not pair up"),
    ("8080:80-82", "80-82", "do not pair up"),
    ("0:80-82", "0", "do not pair up"),
    ("0-0:80-82", "0-0", "do not pair up"),
    ("8080:80/icmp", "icmp", "is not one of tcp, udp, sctp"),
    ("8080:80/tcp/udp", "", "one protocol is expected"),
    ("8080/tcp:80", "8080/tcp", "is not a decimal port or a range"),
    ("localhost:8080:80", "localhost", "host names and zone ids are not accepted"),
    ("[fe80::1%eth0]:8080:80", "[fe80::1%eth0]", "host names and zone ids are not accepted"),
    (":::80", ":", "is not an IPv4 or IPv6 literal"),
    ("[::]:80", "[:", "is not an IPv4 or IPv6 literal"),
    ("[]:8080:80", "[]", "is not an IPv4 or IPv6 literal"),
    ("[::1:8080:80", "[::1", "is not an IPv4 or IPv6 literal"),
    ("::1]:8080:80", "::1]", "is not an IPv4 or IPv6 literal"),
    ("[[::1]]:8080:80", "[[::1]]", "is not an IPv4 or IPv6 literal"),
    ("1:2::8080:80", "1:2:", "is not an IPv4 or IPv6 literal"),
    ("192.0.2.010:8080:80", "192.0.2.010", "is not an IPv4 or IPv6 literal"),
    ("192.0.2.0/24:8080:80", "192.0.2.0/24", "is not an IPv4 or IPv6 literal"),
    ("target=80,published", "published", "is not key=value"),
    ("target=80,", "", "is not key=value"),
    ("=80", "=80", "is not key=value"),
    ("published=8080", "", "the container port is missing"),
    ("target=80,protocol=icmp", "icmp", "is not one of tcp, udp, sctp"),
    ("target=80 ,published=8080", "80 ", "is not a decimal port or a range"),
  ])
  func refused(_ text: String, _ value: String, _ reason: String) throws {
    let error = #expect(throws: RequestError.self) { try PublishRequest(parsing: text) }
    let message = try #require(error?.message)
    #expect(error?.code == .badPublish)
    #expect(message.hasPrefix("publish \"\(text)\": "))
    let rest = message.dropFirst("publish \"\(text)\": ".count)
    #expect(rest.contains(value) && rest.contains(reason), "\(message)")
  }

  @Test(arguments: ["tcp", "TCP", "Udp", "sctp"])
  func protocolsInAnyCase(_ text: String) throws {
    #expect(try PublishRequest.transport(text).description == text.lowercased())
  }

  @Test(arguments: seeds(300))
  func aWrittenRequestIsReadAgain(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let first = UInt16.random(in: 1...65000, using: &random)
    let ports = PortRange(first, first + random.pick([0, 0, 3, 500]))
    let host = UInt16.random(in: 1...65000, using: &random)
    let hostCount = ports.isSingle ? random.pick([1, 7]) : ports.count
    let request = try PublishRequest(
      hostAddress: random.pick([nil, "0.0.0.0", "127.0.0.1", "::", "2001:db8::10"]),
      hostPorts: random.oneIn(2) ? nil : PortRange(host, host + UInt16(hostCount - 1)), containerPorts: ports,
      transport: random.pick(TransportProtocol.allCases))
    #expect(try PublishRequest(parsing: request.description) == request)
  }
}
