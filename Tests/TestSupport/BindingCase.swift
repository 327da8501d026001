/// A container that starts on a network of a host in a known state, and what must come of it.
///
/// Plain values, so that the same rows can be put to the resolver, the socket, the database and the kernel. Addresses
/// the host needs for a row are in `hostAddresses`; 127.0.0.1 and ::1 are always there.
package struct BindingCase: Sendable, CustomStringConvertible {
  package let name: String
  package let publish: [String]
  package let expose: [String]
  package let publishAll: Bool

  package let network: NetworkUnderTest
  /// The container's addresses. Without one, the network has no subnet of that family either.
  package let ipv4: String?
  package let ipv6: String?

  /// Ports that another container has published.
  package let containers: [PortsInUse]
  /// Ports that another program listens on.
  package let programs: [PortsInUse]
  /// `net.ipv4.ip_local_reserved_ports`, as written there; empty is the kernel's default.
  package let reserved: String
  package var reservedPorts: [ClosedRange<UInt16>] { reserved.split(separator: ",").map(portRange) }
  /// CIDR.
  package let hostAddresses: [String]

  /// As a set: the order is no part of the expectation.
  package let bindings: [ExpectedBinding]
  /// Warning codes, one for each warning.
  package let warnings: [String]
  /// An error code; then nothing is bound.
  package let error: String?

  package struct NetworkUnderTest: Sendable {
    /// `gateway_mode_ipv4` and `_ipv6`.
    package let mode4: String
    package let mode6: String
    /// `host_binding_ipv4`; `nil` = not set.
    package let defaultBind: String?
    package let isInternal: Bool
    /// `false`: the container's gateway is a second network, and `bindings` are those on this one.
    package let isGateway: Bool

    /// With Docker's keys.
    package var options: [String: String] {
      let prefix = "com.docker.network.bridge."
      var options = [prefix + "gateway_mode_ipv4": mode4, prefix + "gateway_mode_ipv6": mode6]
      if let defaultBind { options[prefix + "host_binding_ipv4"] = defaultBind }
      return options
    }
  }

  package var description: String { name }

  init(
    _ name: String, _ publish: [String], v4: String = "nat", v6: String = "nat", bind: String? = nil,
    isInternal: Bool = false, isGateway: Bool = true, ipv4: String? = "172.19.0.2",
    ipv6: String? = "fdf8:b88e:bb5c:3483::2", expose: [String] = [], publishAll: Bool = false,
    containers: [String] = [], programs: [String] = [], reserved: String = "", hostAddresses: [String] = [],
    gives bindings: [String] = [], warns warnings: [String] = [], fails error: String? = nil
  ) {
    (self.name, self.publish, self.expose, self.publishAll) = (name, publish, expose, publishAll)
    network = NetworkUnderTest(
      mode4: v4, mode6: v6, defaultBind: bind, isInternal: isInternal, isGateway: isGateway)
    (self.ipv4, self.ipv6) = (ipv4, ipv6)
    self.containers = containers.map(PortsInUse.init)
    self.programs = programs.map(PortsInUse.init)
    (self.reserved, self.hostAddresses) = (reserved, hostAddresses)
    self.bindings = bindings.map(ExpectedBinding.init)
    (self.warnings, self.error) = (warnings, error)
  }
}

/// `tcp 0.0.0.0:9000-9008`, or `tcp [::]:8080 dual-stack` for a listener on `::` without IPV6_V6ONLY.
package struct PortsInUse: Sendable {
  package let transport: String
  /// Without brackets.
  package let address: String
  package let ports: ClosedRange<UInt16>
  package let isDualStack: Bool

  init(_ text: String) {
    let words = text.split(separator: " ")
    let (address, ports) = socketAddress(words[1])
    transport = String(words[0])
    self.address = address
    self.ports = portRange(ports)
    isDualStack = words.last == "dual-stack"
  }
}

/// A line of `docker port`, `80/tcp -> 0.0.0.0:8080`. No port: a routed family. A letter: an ephemeral port, the same
/// one wherever the letter is.
package struct ExpectedBinding: Sendable, Hashable, CustomStringConvertible {
  package enum HostPort: Sendable, Hashable {
    case none
    case exact(UInt16)
    case ephemeral(Character)
  }
  package let transport: String
  package let containerPort: UInt16
  /// Without brackets.
  package let hostAddress: String
  package let hostPort: HostPort
  package let description: String

  init(_ text: String) {
    let words = text.split(separator: " ")
    let container = words[0].split(separator: "/")
    let (address, port) = socketAddress(words[2])
    containerPort = number(container[0])
    transport = String(container[1])
    hostAddress = address
    hostPort =
      switch port.first {
      case nil: .none
      case let letter? where letter.isLetter: .ephemeral(letter)
      default: .exact(number(port))
      }
    description = text
  }
}

/// What was really bound, in the words of an `ExpectedBinding`.
package struct ActualBinding: Sendable, Hashable, CustomStringConvertible {
  package let transport: String
  package let containerPort: UInt16
  package let hostAddress: String
  /// `nil` for a routed family.
  package let hostPort: UInt16?

  package init(transport: String, containerPort: UInt16, hostAddress: String, hostPort: UInt16?) {
    (self.transport, self.containerPort) = (transport, containerPort)
    (self.hostAddress, self.hostPort) = (hostAddress, hostPort)
  }

  package var description: String {
    let address = hostAddress.contains(":") ? "[\(hostAddress)]" : hostAddress
    return "\(containerPort)/\(transport) -> \(address):\(hostPort.map(String.init) ?? "")"
  }
}

extension BindingCase {
  /// What is missing or extra; empty when `actual` is what the row expects, in whatever order.
  package func mismatches(_ actual: [ActualBinding], ephemeral: ClosedRange<UInt16> = 32768...60999) -> [String] {
    var rest = actual
    var letters: [Character: UInt16] = [:]
    var missing: [String] = []
    let matches = { (expected: ExpectedBinding.HostPort, port: UInt16?) in
      switch (expected, port) {
      case (.none, nil): true
      case (.exact(let wanted), let port?): port == wanted
      case (.ephemeral(let letter), let port?):
        ephemeral.contains(port) && !reservedPorts.contains { $0.contains(port) }
          && letters[letter, default: port] == port
      default: false
      }
    }
    // Ephemeral ones last: what is bound exactly is then out of their way.
    for expected in bindings.filter({ !$0.isEphemeral }) + bindings.filter(\.isEphemeral) {
      let index = rest.firstIndex {
        $0.transport == expected.transport && $0.containerPort == expected.containerPort
          && $0.hostAddress == expected.hostAddress && matches(expected.hostPort, $0.hostPort)
      }
      guard let index else {
        missing.append("missing \(expected)")
        continue
      }
      if case .ephemeral(let letter) = expected.hostPort { letters[letter] = rest[index].hostPort }
      rest.remove(at: index)
    }
    return missing + rest.map { "extra \($0)" }
  }
}

extension ExpectedBinding {
  fileprivate var isEphemeral: Bool {
    if case .ephemeral = hostPort { true } else { false }
  }
}

/// `[::]:8080` → `::`, `8080`.
private func socketAddress(_ text: Substring) -> (String, Substring) {
  guard let colon = text.lastIndex(of: ":") else { preconditionFailure("no port in row: \(text)") }
  return (text[..<colon].filter { $0 != "[" && $0 != "]" }, text[text.index(after: colon)...])
}

private func portRange(_ text: Substring) -> ClosedRange<UInt16> {
  let bounds = text.split(separator: "-").map(number)
  return bounds[0]...bounds[bounds.count - 1]
}

private func number(_ text: Substring) -> UInt16 {
  guard let number = UInt16(text) else { preconditionFailure("not a number in row: \(text)") }
  return number
}
