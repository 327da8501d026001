// The projection: which elements a network and a container have in the kernel. The kernel's table is the skeleton plus
// the projection of the database, always.

/// The settings of the agent that decide elements.
package struct FilterPolicy: Sendable, Equatable {
  /// Remote hosts with a route may reach published ports at the container's own address (`direct_routing = "allow"`).
  package var allowsDirectRouting: Bool
  /// Families whose forwarding the agent turned on: what does not involve its bridges is then dropped, as it was before.
  package var closedForwarding: Set<AddressFamily>
  /// Interfaces from and to which such packets pass all the same (`forward_allow`).
  package var forwardAllow: [InterfacePair]

  package struct InterfacePair: Sendable, Hashable {
    package var from: String
    package var to: String
    package init(from: String, to: String) { (self.from, self.to) = (from, to) }
  }

  package init(
    allowsDirectRouting: Bool = true, closedForwarding: Set<AddressFamily> = [], forwardAllow: [InterfacePair] = []
  ) {
    self.allowsDirectRouting = allowsDirectRouting
    self.closedForwarding = closedForwarding
    self.forwardAllow = forwardAllow
  }

  /// What belongs to no network.
  package var elements: [Element] {
    forwardAllow.map { Element(.forwardAllow, .interfaces($0.from, $0.to), comment: "forward_allow") }
      + closedForwarding.sorted().map {
        Element(.forwardPolicy, .family($0), .verdict(.drop), comment: "forwarding was off before pmagent")
      }
  }
}

extension ResolvedNetwork {
  /// One element a set at most, whatever the number of containers; none for drivers other than `bridge`.
  package func elements(_ policy: FilterPolicy) -> [Element] {
    guard isFiltered, let bridge = network.bridge else { return [] }
    var elements: [Element] = []
    let add = { (set: SetName, key: Element.Key, value: Element.Value) in
      elements.append(Element(set, key, value, comment: Element.comment(network.name)))
    }
    add(.bridges, .interface(bridge), .none)
    if network.isInternal { add(.internal, .interface(bridge), .none) }
    if options.allowsInterContainerCommunication { add(.icc, .interfaces(bridge, bridge), .none) }
    if policy.allowsDirectRouting { add(.direct, .interface(bridge), .none) }
    for trusted in Set(options.trustedInterfaces).sorted() { add(.trusted, .interfaces(trusted, bridge), .none) }
    for family in AddressFamily.allCases {
      let sets = FamilySets(family)
      // A family that the network does not have is closed: what its containers listen on there, nobody published.
      let isClosed = network.isInternal || !network.has(family)
      add(sets.toBridge, .interface(bridge), .verdict(.goto(isClosed ? .toInternal : options.mode(family).chain)))
      guard !isClosed, options.mode(family).translates else { continue }
      for subnet in network.subnets.filter({ $0.address.family == family }).withoutCovered {
        add(sets.hairpin, .interfacePrefix(bridge, subnet), .none)
      }
      guard options.masquerades else { continue }
      if let source = options.sources[family] {
        add(sets.source, .interface(bridge), .address(source))
      } else {
        add(sets.masquerade, .interface(bridge), .none)
      }
    }
    return elements
  }
}

extension GatewayMode {
  /// Whether host ports exist and outgoing packets take a host address.
  package var translates: Bool { self == .nat || self == .natUnprotected }

  fileprivate var chain: ChainName {
    switch self {
    case .nat: .toNat
    case .natUnprotected: .toNatUnprotected
    case .routed: .toRouted
    case .isolated: .toInternal
    }
  }
}

extension Binding {
  /// `comment`: for people who read `nft list`.
  fileprivate func addElements(_ comment: String, to elements: inout [Element]) {
    let sets = FamilySets(family)
    let sources = allowFrom.isEmpty ? [] : allowFrom.filter { $0.address.family == family }.withoutCovered
    func add(_ set: SetName, _ key: Element.Key, _ value: Element.Value) {
      elements.append(Element(set, key, value, comment: comment))
    }
    for offset in 0..<UInt16(containerPorts.count) {
      let inner = containerPorts.first + offset
      if let outer = hostPorts.map({ $0.first + offset }) {
        let destination = Element.Value.destination(containerAddress, inner)
        if allowFrom.isEmpty {
          hostAddress.isAny
            ? add(sets.any, .port(transport, outer), destination)
            : add(sets.exact, .addressPort(hostAddress, transport, outer), destination)
        }
        for source in sources {
          add(sets.restricted, .sourceAddressPort(source, hostPrefix, transport, outer), destination)
        }
      }
      // What is published on a loopback address is for the host itself, whose packets are never forwarded.
      guard !hostAddress.isLoopback else { continue }
      if allowFrom.isEmpty { add(sets.published, .addressPort(containerAddress, transport, inner), .none) }
      for source in sources {
        add(sets.allowed, .sourceAddressPort(source, IPPrefix(containerAddress), transport, inner), .none)
      }
    }
  }

  private var hostPrefix: IPPrefix { hostAddress.isAny ? IPPrefix(all: family) : IPPrefix(hostAddress) }
}

extension [Binding] {
  /// The elements of all bindings of a container with that name; twice what two requests for one container port have both.
  package func elements(name: String) -> [PortMaps.Element] {
    var elements: [PortMaps.Element] = []
    addElements(name: name, to: &elements)
    elements.removeCoveredSources()
    return elements
  }

  /// The same beside those of other containers: `removeCoveredSources` is for them all together.
  package func addElements(name: String, to elements: inout [PortMaps.Element]) {
    let comment = PortMaps.Element.comment(name)
    for binding in self { binding.addElements(comment, to: &elements) }
  }
}

extension [Element] {
  /// Two requests for one container port, of one container or of two with its address, may differ in their sources, and an
  /// interval set refuses elements that overlap: the wider source stands for both.
  package mutating func removeCoveredSources() {
    var sources: [PortMaps.Element.Identity: Set<IPPrefix>] = [:]
    for element in self {
      if let (source, rest) = element.sourceAndRest { sources[rest, default: []].insert(source) }
    }
    if sources.isEmpty { return }
    removeAll { element in
      guard let (source, rest) = element.sourceAndRest, let others = sources[rest] else { return false }
      return (0..<source.length).contains { others.contains(IPPrefix(source.address, exactly: $0)) }
    }
  }
}

extension Element {
  /// The source of an element that has one, and the element for every source.
  fileprivate var sourceAndRest: (IPPrefix, Identity)? {
    guard case .sourceAddressPort(let source, let destination, let transport, let port) = key else { return nil }
    let everyone = IPPrefix(all: source.address.family)
    return (source, Identity(set: set, key: .sourceAddressPort(everyone, destination, transport, port)))
  }
}

extension IPPrefix {
  /// The prefix of that one address.
  package init(_ address: IPAddress) { self.init(address, exactly: address.family.bitWidth) }
  /// `0.0.0.0/0` or `::/0`.
  package init(all family: AddressFamily) { self.init(.any(family), exactly: 0) }
}

extension [IPPrefix] {
  /// Each address once: an interval set refuses elements that overlap.
  var withoutCovered: [IPPrefix] {
    let unique = Set(self).sorted()
    return unique.filter { prefix in
      !unique.contains { $0.length < prefix.length && $0.contains(prefix.address) }
    }
  }
}

extension Element {
  /// The kernel keeps 127 bytes of a comment and a NUL; cut between characters, without what nft(8) cannot quote and
  /// without control characters.
  static func comment(_ text: String) -> String {
    // Names of containers are plain, nearly all of them, and there may be thousands of elements.
    let isPlain = text.utf8.allSatisfy { 0x20 <= $0 && $0 < 0x7f && $0 != UInt8(ascii: "\"") }
    if isPlain, text.utf8.count <= 127 { return text }
    var comment = ""
    for character in text where character.unicodeScalars.allSatisfy({ $0 >= " " && $0 != "\u{7f}" && $0 != "\"" }) {
      if comment.utf8.count + character.utf8.count > 127 { break }
      comment.append(character)
    }
    return comment
  }
}
