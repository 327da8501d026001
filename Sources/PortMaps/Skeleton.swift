// The static part of `table inet pmagent`.
//
// Goal: a packet of a new flow costs a fixed number of lookups, an established one a single match, and an event adds or
// removes *elements* only. So no rule here names a network, a container or a port, and the number of rules is a constant.
//
// A packet's walk (`Docs/packet-path.md` shows it in the real ruleset):
//   guard        nothing from outside may reach 127.0.0.0/8 or ::1, whatever `route_localnet` says
//   prerouting   a new flow to a local address: publish
//   output       the same for flows of the host itself
//   publish      specific address before any address; restricted ones by their source too. The rules' order is the precedence
//   forward      what may pass between a bridge and the rest; per bridge and family one `to_*` chain, chosen by a verdict map
//   postrouting  hairpin and loopback sources, fixed sources, masquerade
//
// What it does not defend against: other tables (a drop of theirs always wins, an accept of ours ends only our chain),
// and traffic inside one bridge that never reaches the IP layer (see inter-container communication in `forward`).

/// The chains, by their names in the kernel. Each `to_*` decides what may be forwarded to one kind of network.
package enum ChainName: String, Sendable, Hashable, CaseIterable {
  case `guard`, prerouting, output, publish, forward, postrouting
  case toNat = "to_nat"
  case toNatUnprotected = "to_nat_unprotected"
  case toRouted = "to_routed"
  case toInternal = "to_internal"
  case published
}

/// The sets and maps; a trailing 4 or 6 is the family.
package enum SetName: String, Sendable, Hashable, CaseIterable {
  case exact4, any4, restricted4, published4, allowed4
  case toBridge4 = "to_bridge4"
  case masquerade4, source4, hairpin4
  case exact6, any6, restricted6, published6, allowed6
  case toBridge6 = "to_bridge6"
  case masquerade6, source6, hairpin6
  case bridges, `internal`, icc, direct, trusted
  case forwardAllow = "forward_allow"
  case forwardPolicy = "forward_policy"
}

/// `SetName`s of one family, so that nothing is written twice.
package struct FamilySets: Sendable {
  package let exact, any, restricted, published, allowed, toBridge, masquerade, source, hairpin: SetName

  package init(_ family: AddressFamily) {
    switch family {
    case .ipv4:
      (exact, any, restricted, published, allowed) = (.exact4, .any4, .restricted4, .published4, .allowed4)
      (toBridge, masquerade, source, hairpin) = (.toBridge4, .masquerade4, .source4, .hairpin4)
    case .ipv6:
      (exact, any, restricted, published, allowed) = (.exact6, .any6, .restricted6, .published6, .allowed6)
      (toBridge, masquerade, source, hairpin) = (.toBridge6, .masquerade6, .source6, .hairpin6)
    }
  }
}

/// All of the table but its elements: the same on every host, so a table that differs from it is replaced as a whole.
package enum Skeleton {
  package static let family = "inet"
  package static let table = "pmagent"

  /// NF_IP_PRI_NAT_DST is -100, where Docker, kube-proxy and most administrators translate. The first translation wins,
  /// so we come one later: a rule of theirs for the same address and port is meant, ours yields.
  package static let destinationNatPriority: Int32 = -99
  /// One after NF_IP_PRI_NAT_SRC, for the same reason.
  package static let sourceNatPriority: Int32 = 101
  /// NF_IP_PRI_RAW: before connection tracking, so that a guarded packet never becomes a flow.
  package static let guardPriority: Int32 = -300
  package static let filterPriority: Int32 = 0

  // MARK: Sets and maps

  package static let sets: [SetDefinition] =
    AddressFamily.allCases.flatMap { family -> [SetDefinition] in
      let (names, address) = (FamilySets(family), DataType.address(family))
      let port: [DataType] = [.inetProto, .inetService]
      return [
        SetDefinition(names.exact, key: [address] + port, value: .data([address, .inetService]), hasCounter: true),
        SetDefinition(names.any, key: port, value: .data([address, .inetService]), hasCounter: true),
        SetDefinition(
          names.restricted, key: [address, address] + port, value: .data([address, .inetService]), isInterval: true),
        SetDefinition(names.published, key: [address] + port),
        SetDefinition(names.allowed, key: [address, address] + port, isInterval: true),
        SetDefinition(names.toBridge, key: [.ifname], value: .verdict),
        SetDefinition(names.masquerade, key: [.ifname]),
        SetDefinition(names.source, key: [.ifname], value: .data([address])),
        SetDefinition(names.hairpin, key: [.ifname, address], isInterval: true),
      ]
    } + [
      SetDefinition(.bridges, key: [.ifname]),
      SetDefinition(.internal, key: [.ifname]),
      SetDefinition(.icc, key: [.ifname, .ifname]),
      SetDefinition(.direct, key: [.ifname]),
      SetDefinition(.trusted, key: [.ifname, .ifname]),
      SetDefinition(.forwardAllow, key: [.ifname, .ifname]),
      SetDefinition(.forwardPolicy, key: [.nfProto], value: .verdict),
    ]

  /// Every set has a definition; a test asserts it.
  package static func definition(of set: SetName) -> SetDefinition { definitions[set]! }
  private static let definitions = Dictionary(uniqueKeysWithValues: sets.map { ($0.name, $0) })

  // MARK: Chains

  package static let chains: [Chain] = [
    Chain(.guard, BaseChain(.filter, .prerouting, priority: guardPriority), guardRules),
    Chain(
      .prerouting, BaseChain(.nat, .prerouting, priority: destinationNatPriority),
      [Rule(.destinationIsLocal, .verdict(.jump(.publish)))]),
    Chain(
      .output, BaseChain(.nat, .output, priority: destinationNatPriority),
      [Rule(.destinationIsLocal, .verdict(.jump(.publish)))]),
    Chain(.publish, nil, AddressFamily.allCases.flatMap(publishRules)),
    Chain(.forward, BaseChain(.filter, .forward, priority: filterPriority), forwardRules),
    Chain(.toNat, nil, toNatRules),
    Chain(.toNatUnprotected, nil, toNatUnprotectedRules),
    Chain(.toRouted, nil, toRoutedRules),
    Chain(.toInternal, nil, [Rule(.counter, .verdict(.drop), comment: "nothing comes in")]),
    Chain(.published, nil, AddressFamily.allCases.flatMap(publishedRules)),
    Chain(.postrouting, BaseChain(.nat, .postrouting, priority: sourceNatPriority), postroutingRules),
  ]

  /// CVE-2020-8558 and moby#45610: `route_localnet` lets a neighbour reach what was published on 127.0.0.1.
  ///
  /// Every packet of the host passes here, those of established flows too: one with the addresses and ports of a flow of
  /// the loopback interface may be forged. So what is to pass, passes at the first rule of its family, and what is left has
  /// a loopback address.
  private static let guardRules: [Rule] =
    [loopback4, loopback6].map { Rule(.neitherEnd(in: $0), .verdict(.accept)) } + [
      Rule(
        .interface(.iifname, isNot: "lo"), .counter, .verdict(.drop), comment: "loopback addresses are the host's own")
    ]
  package static let loopback4 = IPPrefix(IPAddress(ipv4: 0x7f00_0000), exactly: 8)
  package static let loopback6 = IPPrefix(IPAddress(ipv6: 0, 1))

  private static func publishRules(_ family: AddressFamily) -> [Rule] {
    let sets = FamilySets(family)
    let port: [Selector] = [.l4proto, .thDport]
    return [
      Rule(.family(family), .dnat(family, [.daddr(family)] + port, sets.exact)),
      Rule(.family(family), .dnat(family, port, sets.any)),
    ]
      // One rule a protocol: nft(8) 1.0.6 refuses to load a translation through an interval map without such a match.
      + TransportProtocol.allCases.map { transport in
        Rule(
          .family(family), .transport(transport),
          .dnat(family, [.saddr(family), .daddr(family)] + port, sets.restricted))
      }
  }

  private static let forwardRules: [Rule] = [
    Rule(.established, .verdict(.accept)),
    Rule(.lookup([.iifname, .oifname], .icc), .verdict(.accept), comment: "inter-container communication"),
    Rule(.lookup([.iifname], .internal), .counter, .verdict(.drop), comment: "internal: nothing goes out"),
    Rule(.family(.ipv4), .verdictMap([.oifname], .toBridge4)),
    Rule(.family(.ipv6), .verdictMap([.oifname], .toBridge6)),
    Rule(.lookup([.iifname], .bridges), .verdict(.accept), comment: "containers may go out"),
    // What follows has nothing to do with containers: it is only dropped on a host that was no router before us.
    Rule(.lookup([.iifname, .oifname], .forwardAllow), .verdict(.accept)),
    Rule(.verdictMap([.nfproto], .forwardPolicy)),
  ]

  private static let toNatRules: [Rule] = [
    Rule(.translated, .verdict(.jump(.published))),
    Rule(.lookup([.iifname], .bridges), .counter, .verdict(.drop), comment: "other networks: only host addresses"),
    Rule(.lookup([.oifname], .direct), .verdict(.jump(.published))),
    Rule(.lookup([.iifname, .oifname], .trusted), .verdict(.jump(.published))),
    Rule(.counter, .verdict(.drop)),
  ]

  private static let toNatUnprotectedRules: [Rule] = [
    Rule(.translated, .verdict(.jump(.published))),
    Rule(.lookup([.iifname], .bridges), .counter, .verdict(.drop), comment: "other networks: only host addresses"),
    Rule(.verdict(.accept)),
  ]

  private static let toRoutedRules: [Rule] = [
    Rule(.icmp(.ipv4), .verdict(.accept)),
    Rule(.icmp(.ipv6), .verdict(.accept)),
    Rule(.verdict(.jump(.published))),
    Rule(.counter, .verdict(.drop)),
  ]

  /// Accepts what leads to a published container port; the source is still the original one.
  private static func publishedRules(_ family: AddressFamily) -> [Rule] {
    let sets = FamilySets(family)
    let port: [Selector] = [.daddr(family), .l4proto, .thDport]
    return [
      Rule(.family(family), .lookup(port, sets.published), .verdict(.accept)),
      Rule(.family(family), .lookup([.saddr(family)] + port, sets.allowed), .verdict(.accept)),
    ]
  }

  private static let postroutingRules: [Rule] =
    AddressFamily.allCases.map { family in
      // Keyed on oifname: with br_netfilter a bridged hairpin packet has no iifname here.
      Rule(
        .family(family), .translated, .lookup([.oifname, .saddr(family)], FamilySets(family).hairpin), .masquerade,
        comment: "hairpin: answers must come back through us")
    }
    + [loopback4, loopback6].map { prefix in
      Rule(
        .address(.saddr(prefix.address.family), in: prefix), .lookup([.oifname], .bridges), .masquerade,
        comment: "the host's own loopback")
    } + [
      Rule(.lookup([.iifname, .oifname], .icc), .verdict(.accept))
    ]
    + AddressFamily.allCases.flatMap { family -> [Rule] in
      let sets = FamilySets(family)
      return [
        Rule(.family(family), .snat(family, [.iifname], sets.source)),
        Rule(.family(family), .lookup([.iifname], sets.masquerade), .masquerade),
      ]
    }
}
