import Feed
import Glibc
import PortMaps
import TestSupport
import Testing

/// The rows that the pure resolver is held to, through socket, database and kernel: real listeners hold the ports of
/// other programs, real containers those of the agent, and afterwards nothing of a row remains.
@Suite struct BindingCaseSystemTests {
  @Test func everyRowHoldsOnARealHost() async throws {
    let host = try NetworkNamespace()
    try await host.command("ip", "link", "set", "lo", "up")
    try await host.command("ip", "link", "add", "br-test", "type", "bridge")
    let agent = try AgentProgram(in: host)
    // The first network turns forwarding on, and with it what the filter drops.
    try agent.succeed(
      #"{"event":"network.create","network":{"id":"first","bridge":"br-first","subnets":["172.29.0.0/16","fd29::/64"]}}"#
    )
    try agent.succeed(#"{"event":"network.remove","network":"first"}"#)
    let empty = try await host.command("nft", "list", "table", "inet", "pmagent")
    for row in BindingCase.all + BindingCase.corners {
      for address in row.hostAddresses {
        try await host.command(
          ["ip", "address", "add", address, "dev", "br-test"] + (address.contains(":") ? ["nodad"] : []))
      }
      if !row.reserved.isEmpty { try await reserve(row.reserved, host) }
      try check(row, agent)
      for address in row.hostAddresses { try await host.command("ip", "address", "del", address, "dev", "br-test") }
      #expect(try agent.succeed(#"{"query":"list"}"#)["mappings"] == .array([]), "\(row)")
      let status = try agent.succeed(#"{"query":"status"}"#)
      #expect(status["held_ports"] == .integer(0) && status["in_sync"] == .bool(true), "\(row): \(status)")
      if !row.reserved.isEmpty { try await reserve("", host) }
    }
    #expect(try await host.command("nft", "list", "table", "inet", "pmagent") == empty)
  }

  private func reserve(_ ports: String, _ host: NetworkNamespace) async throws {
    try await host.command("sysctl", "-qw", "net.ipv4.ip_local_reserved_ports=\(ports)")
  }

  private func check(_ row: BindingCase, _ agent: AgentProgram) throws {
    let programs = try agent.namespace.run { () throws in
      try row.programs.flatMap { used in
        try used.ports.map { port in
          try serverSocket(
            used.transport == "udp" ? .udp : .tcp, try #require(IPAddress(parsing: used.address)), port,
            dualStack: used.isDualStack)
        }
      }
    }
    defer { withExtendedLifetime(programs) {} }
    let before = try createNetworks(row, agent)
    if before["ok"] == .bool(false) {
      #expect(before.errorCode == row.error, "\(row): \(before)")
      return
    }
    try occupy(row.containers, agent)
    let reply = try agent.send(start(row))
    if reply["ok"] == .bool(false) {
      #expect(reply.errorCode == row.error, "\(row): \(reply)")
      #expect(try agent.succeed(#"{"query":"list","container":"web"}"#).mappings == [], "\(row)")
    } else {
      #expect(row.error == nil, "\(row)")
      #expect(row.mismatches(try bound(agent)) == [], "\(row): \(reply)")
      #expect(reply.warningCodes.sorted() == row.warnings.sorted(), "\(row): \(reply)")
      // The same content again gives the same reply and writes nothing.
      #expect(try agent.send(start(row)) == reply, "\(row)")
    }
    for id in ["web", "other"] { try agent.succeed(#"{"event":"container.stop","container":"\#(id)"}"#) }
    for network in ["net", "gateway", "others"] {
      try agent.succeed(#"{"event":"network.remove","network":"\#(network)"}"#)
    }
  }

  private func createNetworks(_ row: BindingCase, _ agent: AgentProgram) throws -> JSON {
    let options = row.network.options.map { #""\#($0.key)":"\#($0.value)""# }.joined(separator: ",")
    let subnets = [row.ipv4 == nil ? nil : #""172.19.0.0/16""#, row.ipv6 == nil ? nil : #""fdf8:b88e:bb5c:3483::/64""#]
    try agent.succeed(
      #"{"event":"network.create","network":{"id":"others","bridge":"br-others","subnets":["172.30.0.0/16","fd30::/64"]}}"#
    )
    try agent.succeed(
      #"{"event":"network.create","network":{"id":"gateway","bridge":"br-gw","subnets":["172.31.0.0/16","fd31::/64"]}}"#
    )
    let reply = try agent.send(
      #"{"event":"network.create","network":{"id":"net","bridge":"br-test","internal":\#(row.network.isInternal),"#
        + #""subnets":[\#(subnets.compactMap(\.self).joined(separator: ","))],"options":{\#(options)}}}"#)
    if reply["ok"] == .bool(false) {
      for network in ["gateway", "others"] { try agent.succeed(#"{"event":"network.remove","network":"\#(network)"}"#) }
    }
    return reply
  }

  private func occupy(_ used: [PortsInUse], _ agent: AgentProgram) throws {
    if used.isEmpty { return }
    let publish = used.flatMap { used in
      used.ports.map { port in
        let address = used.address.contains(":") ? "[\(used.address)]" : used.address
        return #""\#(address):\#(port):\#(port)/\#(used.transport)""#
      }
    }
    try agent.succeed(
      #"{"event":"container.start","container":{"id":"other","networks":"#
        + #"[{"network":"others","ipv4":"172.30.0.2","ipv6":"fd30::2"}],"publish":[\#(publish.joined(separator: ","))]}}"#
    )
  }

  private func start(_ row: BindingCase) -> String {
    let addresses = [row.ipv4.map { #","ipv4":"\#($0)""# }, row.ipv6.map { #","ipv6":"\#($0)""# }]
    var endpoints = [#"{"network":"net"\#(addresses.compactMap(\.self).joined())}"#]
    if !row.network.isGateway {
      endpoints.append(#"{"network":"gateway","ipv4":"172.31.0.2","ipv6":"fd31::2","gateway_priority":1}"#)
    }
    let list = { (texts: [String]) in texts.map { #""\#($0)""# }.joined(separator: ",") }
    return #"{"event":"container.start","container":{"id":"web","networks":[\#(endpoints.joined(separator: ","))],"#
      + #""publish":[\#(list(row.publish))],"expose":[\#(list(row.expose))],"publish_all":\#(row.publishAll)}}"#
  }

  private func bound(_ agent: AgentProgram) throws -> [ActualBinding] {
    let reply = try agent.succeed(#"{"query":"list","container":"web","network":"net"}"#)
    return try #require(reply.mappings).map { mapping in
      guard case .string(let address)? = mapping["host_ip"], case .string(let transport)? = mapping["protocol"],
        case .integer(let port)? = mapping["container_port"]
      else { throw NetworkNamespace.Failure(description: "not a mapping: \(mapping)") }
      var hostPort: UInt16?
      if case .integer(let port)? = mapping["host_port"] { hostPort = UInt16(port) }
      return ActualBinding(
        transport: transport, containerPort: UInt16(port), hostAddress: address, hostPort: hostPort)
    }
  }
}
