// What a container's publish requests mean on its networks (Docker's `addPortMappings` of the bridge driver).
//
//   requests × families → demands → sorted → groups → ports → bindings
//
// A *demand* is one container port of one family. NAT demands that agree in all but the address form a *group*, which
// gets one host port free on all of its addresses: that is how the IPv4 and IPv6 mappings of `-p 80` share their port.
// Nothing here touches the world: which ports other programs hold, the caller's `hold` knows.

/// The bindings the kernel will honour, with what the operator should know about them.
package struct Resolution: Sendable, Equatable {
  package var bindings: [Binding]
  package var warnings: [Warning]
}

/// One container port of one family, before its host port is chosen.
struct Demand: Hashable {
  /// The order is the sort order, and all but the addresses is what makes a group.
  struct Group: Hashable, Comparable {
    var isRouted: Bool
    /// `nil` = ephemeral.
    var hostPorts: PortRange?
    var containerPort: ContainerPort

    var isExact: Bool { hostPorts?.isSingle ?? false }

    static func < (a: Self, b: Self) -> Bool { a.sortKey < b.sortKey }
    private var sortKey: (Int, Int, ContainerPort, UInt16, UInt16) {
      (isRouted ? 1 : 0, isExact ? 0 : 1, containerPort, hostPorts?.first ?? 0, hostPorts?.last ?? 0)
    }
  }

  var group: Group
  var network: String
  var mode: GatewayMode
  var hostAddress: IPAddress
  var containerAddress: IPAddress
  var request: Int?
  /// One of several ports of its request.
  var isOfRange: Bool
  var allowFrom: [IPPrefix]

  func hostPort(_ port: UInt16) -> HostPort { HostPort(hostAddress, group.containerPort.transport, port) }

  func binding(hostPort: UInt16?) -> Binding {
    Binding(
      network: network, mode: mode, transport: group.containerPort.transport, hostAddress: hostAddress,
      hostPorts: hostPort.map(PortRange.init), containerAddress: containerAddress,
      containerPorts: PortRange(group.containerPort.port), request: request, allowFrom: allowFrom)
  }
}

/// The demands of a container, sorted, and the warnings they give.
struct Demands {
  private(set) var sorted: [Demand] = []
  private(set) var warnings: [Warning] = []

  /// `networks[i]` is the network of `container.endpoints[i]`.
  init(of container: Container, on networks: [ResolvedNetwork]) throws(RequestError) {
    let attachments = zip(container.endpoints, networks).map { Attachment(endpoint: $0, resolved: $1) }
    for (index, request) in try container.allRequests().enumerated() {
      let position = index < container.publish.count ? index : nil
      for family in AddressFamily.allCases {
        add(request, position, family, attachments)
      }
    }
    sorted.sort { ($0.group, $0.hostAddress) < ($1.group, $1.hostAddress) }
  }

  private struct Attachment {
    var endpoint: Endpoint
    var resolved: ResolvedNetwork

    /// In the choice of the gateway: by priority, then by name.
    func precedes(_ other: Attachment) -> Bool {
      (other.endpoint.gatewayPriority, resolved.network.name)
        < (endpoint.gatewayPriority, other.resolved.network.name)
    }
  }

  private mutating func add(
    _ request: PublishRequest, _ position: Int?, _ family: AddressFamily, _ attachments: [Attachment]
  ) {
    let candidates = attachments.filter { $0.resolved.canBeGateway && $0.endpoint.address(family) != nil }
    let gateway = candidates.min { $0.precedes($1) }
    if candidates.isEmpty, family == .ipv6 { warnAboutMissingIPv6(request, attachments) }
    for attachment in candidates where attachment.resolved.isFiltered {
      let (network, options) = (attachment.resolved.network, attachment.resolved.options)
      let mode = options.mode(family)
      guard mode == .routed || network.id == gateway?.resolved.network.id,
        let address = attachment.endpoint.address(family),
        let hostAddress = Self.hostAddress(request.hostAddress, options.defaultBind, family)
      else { continue }
      if mode == .routed { warnAboutIgnored(request, family, network) }
      for pair in request.expanded {
        sorted.append(
          Demand(
            group: .init(
              isRouted: mode == .routed, hostPorts: mode == .routed ? nil : pair.hostPorts,
              containerPort: ContainerPort(pair.containerPort, request.transport)),
            network: network.id, mode: mode, hostAddress: mode == .routed ? .any(family) : hostAddress,
            containerAddress: address, request: position, isOfRange: !request.containerPorts.isSingle,
            allowFrom: request.allowFrom))
      }
    }
  }

  /// The table of "which families a request reaches"; `nil` = not this family.
  private static func hostAddress(
    _ requested: IPAddress?, _ defaultBind: IPAddress, _ family: AddressFamily
  ) -> IPAddress? {
    if let requested { return requested.family == family ? requested : nil }
    if defaultBind == .any(.ipv4) { return .any(family) }
    return defaultBind.family == family ? defaultBind : nil
  }

  private mutating func warnAboutIgnored(_ request: PublishRequest, _ family: AddressFamily, _ network: Network) {
    let what = "\(request.containerPortsText) on network \(network.name) (\(family.title))"
    if let address = request.hostAddress, !address.isAny {
      warnings.append(
        Warning(
          .routedHostAddressIgnored,
          "\(what): host address \(address) is not used, the gateway mode is routed"))
    }
    if let ports = request.hostPorts {
      let unused = ports.isSingle ? "host port \(ports) is" : "host ports \(ports) are"
      warnings.append(
        Warning(.routedHostPortIgnored, "\(what): \(unused) not used, the gateway mode is routed"))
    }
  }

  /// An IPv6 host address leads nowhere for a container that has no IPv6 address.
  private mutating func warnAboutMissingIPv6(_ request: PublishRequest, _ attachments: [Attachment]) {
    let candidates = attachments.filter { $0.resolved.canBeGateway && $0.resolved.isFiltered }
    guard attachments.allSatisfy({ $0.endpoint.ipv6 == nil }), let gateway = candidates.min(by: { $0.precedes($1) })
    else {
      return
    }
    // Where its IPv4 ports are, or would be.
    let reached = candidates.map(\.resolved).filter {
      $0.network.id == gateway.resolved.network.id || $0.options.mode(.ipv4) == .routed
    }
    if let address = request.hostAddress {
      guard address.family == .ipv6 else { return }
      warnings.append(
        Warning(
          .ipv6HostIPv4Container,
          "\(request.containerPortsText): host address \(address) is not used, the container has no IPv6 address"))
      return
    }
    for network in reached where network.options.defaultBind.family == .ipv6 {
      warnings.append(
        Warning(
          .defaultBindIPv6IPv4Container,
          "\(request.containerPortsText) on network \(network.network.name): default bind "
            + "\(network.options.defaultBind) is not used, the container has no IPv6 address"))
    }
  }
}

extension PublishRequest {
  fileprivate var containerPortsText: String {
    "\(containerPorts.isSingle ? "port" : "ports") \(containerPorts)/\(transport)"
  }

  /// One container port with the host ports it may take; `nil` = ephemeral.
  struct Pair: Hashable {
    var hostPorts: PortRange?
    var containerPort: UInt16
  }

  /// Equal ranges pair up in order; a host range for one container port stays whole.
  var expanded: [Pair] {
    containerPorts.ports.map { port in
      guard let hostPorts, !containerPorts.isSingle else { return Pair(hostPorts: hostPorts, containerPort: port) }
      return Pair(hostPorts: PortRange(hostPorts.first + (port - containerPorts.first)), containerPort: port)
    }
  }
}

extension Container {
  /// `publish`, then, with `publish_all`, an ephemeral port for each exposed port that no request publishes yet.
  func allRequests() throws(RequestError) -> [PublishRequest] {
    guard publishAll else { return publish }
    var requests = publish
    var published = Set(
      publish.flatMap { request in
        request.containerPorts.ports.map { ContainerPort($0, request.transport) }
      })
    for exposed in expose {
      for port in exposed.ports.ports where published.insert(ContainerPort(port, exposed.transport)).inserted {
        requests.append(try PublishRequest(containerPorts: PortRange(port), transport: exposed.transport))
      }
    }
    return requests
  }
}
