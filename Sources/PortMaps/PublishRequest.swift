/// One `--publish`: what a person asked for, before families, modes and ports are decided.
///
/// The syntax is Docker's (`nat.ParsePortSpec` of docker/go-connections, and the `key=value` form of docker/cli):
/// `[hostIP:][hostPort[-hostPort]:]containerPort[-containerPort][/proto]`, split by `:` from the right.
package struct PublishRequest: Sendable, Hashable {
  /// `nil` when none was given, which is not the same as `0.0.0.0`: the network's default bind then decides.
  package var hostAddress: IPAddress?
  /// `nil` = an ephemeral port for each container port.
  package var hostPorts: PortRange?
  package var containerPorts: PortRange
  package var transport: TransportProtocol
  /// Only these sources may use the mapping; empty = everyone.
  package var allowFrom: [IPPrefix]

  /// Fails with `bad-publish` where the two ranges do not fit together: equal sizes pair up, and one container port
  /// takes any one port of a host range.
  package init(
    hostAddress: IPAddress? = nil, hostPorts: PortRange? = nil, containerPorts: PortRange,
    transport: TransportProtocol = .tcp, allowFrom: [IPPrefix] = []
  ) throws(RequestError) {
    if let hostPorts, hostPorts.count != containerPorts.count, !containerPorts.isSingle {
      throw RequestError(
        .badPublish,
        "host ports \(hostPorts) and container ports \(containerPorts) do not pair up: give ranges of one size, or a "
          + "single container port that may take any one of the host ports")
    }
    self.hostAddress = hostAddress
    self.hostPorts = hostPorts
    self.containerPorts = containerPorts
    self.transport = transport
    self.allowFrom = allowFrom
  }

  /// Accepted and refused spellings are rows of `PublishRequestTests`. Fails with `bad-publish`.
  package init(parsing text: String) throws(RequestError) {
    do {
      try self.init(short: text.utf8.contains(UInt8(ascii: "=")) ? Self.shortForm(ofKeyValues: text) : text)
    } catch {
      throw RequestError(error.code, "publish \"\(text)\": \(error.message)", field: error.field)
    }
  }

  /// `target=80,published=8080,protocol=udp`; other keys are ignored, the last of equal keys counts.
  private static func shortForm(ofKeyValues text: String) throws(RequestError) -> String {
    var values: [Substring: Substring] = ["protocol": "tcp"]
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard pair.count == 2, !pair[0].isEmpty else {
        throw RequestError(
          .badPublish, "\"\(part)\" is not key=value; expected target=PORT, published=PORT, protocol=tcp|udp|sctp")
      }
      values[pair[0]] = pair[1]
    }
    return "\(values["published"] ?? ""):\(values["target"] ?? "")/\(values["protocol"] ?? "")"
  }

  private init(short text: String) throws(RequestError) {
    let parts = text.parts(between: UInt8(ascii: ":"))
    let last = parts[parts.count - 1].parts(between: UInt8(ascii: "/"))
    guard last.count <= 2 else {
      throw RequestError(.badPublish, "one protocol is expected after \"/\": tcp, udp or sctp")
    }
    guard let containerText = last.first, !containerText.isEmpty else {
      throw RequestError(
        .badPublish, "the container port is missing; the form is [ip:][hostPort:]containerPort[/proto]")
    }
    guard let containerPorts = try Self.ports(containerText, "container port") else {
      throw RequestError(.badPublish, "container port \"\(containerText)\" is not in 1-65535")
    }
    try self.init(
      hostAddress: parts.count < 3 ? nil : Self.address(parts.dropLast(2).joined(separator: ":")),
      hostPorts: parts.count < 2 ? nil : Self.hostPorts(parts[parts.count - 2], for: containerPorts),
      containerPorts: containerPorts,
      transport: last.count == 2 ? Self.transport(String(last[1])) : .tcp)
  }

  /// `tcp`, `udp`, `sctp` in any case; empty is tcp. Fails with `bad-publish`.
  package static func transport(_ text: String) throws(RequestError) -> TransportProtocol {
    if text.isEmpty { return .tcp }
    guard let transport = TransportProtocol(parsing: text) else {
      throw RequestError(.badPublish, "protocol \"\(text)\" is not one of tcp, udp, sctp")
    }
    return transport
  }

  /// A literal of either family, brackets optional; empty = not given. Fails with `bad-publish`.
  package static func address(_ text: String) throws(RequestError) -> IPAddress? {
    if text.isEmpty { return nil }
    let bracketed = text.utf8.count >= 2 && text.hasPrefix("[") && text.hasSuffix("]")
    guard let address = IPAddress(parsing: bracketed ? text.dropFirst().dropLast() : text[...]) else {
      throw RequestError(
        .badPublish,
        "host address \"\(text)\" is not an IPv4 or IPv6 literal (host names and zone ids are not accepted)")
    }
    return address
  }

  /// Host ports for `containerPorts`: empty, `0` and, for one container port, `0-0` are ephemeral (`nil`).
  package static func hostPorts(
    _ text: some StringProtocol, for containerPorts: PortRange
  ) throws(RequestError) -> PortRange? {
    if text.isEmpty { return nil }
    let ports = try Self.ports(text, "host port")
    // Docker compares the sizes of the two ranges before it looks at the 0.
    if ports == nil, !containerPorts.isSingle {
      throw RequestError(
        .badPublish,
        "host port \"\(text)\" and container ports \(containerPorts) do not pair up: leave the host port out for "
          + "one ephemeral port each")
    }
    return ports
  }

  /// `80` or `8000-8010` as decimals, leading zeros allowed; `0` and `0-0` give `nil`. Fails with `bad-publish`.
  package static func ports(_ text: some StringProtocol, _ what: String) throws(RequestError) -> PortRange? {
    let text = Substring(text)
    func number(_ bound: Substring) throws(RequestError) -> UInt16 {
      guard !bound.isEmpty, bound.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
        throw RequestError(.badPublish, "\(what) \"\(text)\" is not a decimal port or a range FIRST-LAST")
      }
      guard let number = UInt16(bound) else {
        throw RequestError(.badPublish, "\(what) \"\(text)\" is not in 1-65535")
      }
      return number
    }
    let dash = text.utf8.firstIndex(of: UInt8(ascii: "-")) ?? text.endIndex
    let first = try number(text[..<dash])
    let last = dash == text.endIndex ? first : try number(text[dash...].dropFirst())
    if first == 0, last == 0 { return nil }
    guard first >= 1 else { throw RequestError(.badPublish, "\(what) \"\(text)\": a range cannot start at 0") }
    guard first <= last else {
      throw RequestError(.badPublish, "\(what) \"\(text)\": the range is reversed, \(last)-\(first) is accepted")
    }
    return PortRange(first, last)
  }
}

extension PublishRequest: CustomStringConvertible {
  /// Docker's short form.
  package var description: String {
    let host = hostAddress.map { $0.bracketed + ":" } ?? ""
    let ports = hostPorts.map { "\($0):" } ?? (hostAddress == nil ? "" : ":")
    return "\(host)\(ports)\(containerPorts)/\(transport)"
  }
}
