import PortMaps
import TestSupport
import Testing

@Suite struct BindingCaseTests {
  @Test func everyCaseIsThereOnce() {
    #expect(BindingCase.all.count == 115)
    #expect(Set(BindingCase.all.map(\.name)).count == 115)
  }

  @Test(arguments: BindingCase.all + BindingCase.corners)
  func resolves(_ row: BindingCase) throws {
    let host = HostModel()
    host.containers = try row.containers.map(HostModel.Listener.init)
    host.programs = try row.programs.map(HostModel.Listener.init)
    do throws(RequestError) {
      var ephemeral = EphemeralPorts(reserved: row.reservedPorts.map { PortRange($0.lowerBound, $0.upperBound) })
      let (container, networks) = try start(of: row)
      let resolution = try resolve(container, on: networks, ephemeral: &ephemeral, hostPorts: host.hostPorts)
      let here = resolution.bindings.filter { $0.network == "net" }
      #expect(row.mismatches(here.flatMap(\.actual)) == [])
      #expect(resolution.warnings.map(\.code.rawValue).sorted() == row.warnings.sorted())
      #expect(row.error == nil)
    } catch {
      #expect(error.code.rawValue == row.error, "\(error)")
      #expect(host.held == [])
    }
  }

  private func start(of row: BindingCase) throws(RequestError) -> (Container, [ResolvedNetwork]) {
    let (ipv4, ipv6) = (row.ipv4.map(IPAddress.init(stringLiteral:)), row.ipv6.map(IPAddress.init(stringLiteral:)))
    let families = AddressFamily.allCases.filter { ($0 == .ipv4 ? ipv4 : ipv6) != nil }
    var network = Network("net", families: families, isInternal: row.network.isInternal)
    network.options = row.network.options
    var networks = [try ResolvedNetwork(network)]
    var endpoints = [Endpoint(network: "net", ipv4: ipv4, ipv6: ipv6)]
    if !row.network.isGateway {
      let gateway = Network("gateway")
      networks.append(try ResolvedNetwork(gateway))
      endpoints.append(Endpoint(gateway, priority: 1))
    }
    let container = Container(
      source: "default", id: "web", name: "web", endpoints: endpoints,
      publish: try row.publish.map { text throws(RequestError) in try PublishRequest(parsing: text) },
      expose: try row.expose.map { text throws(RequestError) in
        let request = try PublishRequest(parsing: text)
        return ExposedPorts(request.containerPorts, request.transport)
      }, publishAll: row.publishAll)
    return (container, networks)
  }
}

@Suite struct MismatchTests {
  private static let row = BindingCase.all.first { $0.name == "one ephemeral port for two addresses" }
  private static let dual = BindingCase.all.first { $0.name == "both families spelt out" }

  private func binding(_ address: String, _ port: UInt16?, _ transport: String = "tcp") -> ActualBinding {
    ActualBinding(transport: transport, containerPort: 80, hostAddress: address, hostPort: port)
  }

  @Test func missingExtraAndChangedBindingsAreFound() throws {
    let row = try #require(Self.dual)
    let (first, second) = (binding("0.0.0.0", 8080), binding("::", 8080))
    #expect(row.mismatches([second, first]) == [])
    #expect(row.mismatches([first]) == ["missing 80/tcp -> [::]:8080"])
    #expect(row.mismatches([first, second, second]) == ["extra 80/tcp -> [::]:8080"])
    let changes = [binding("::", 8081), binding("::1", 8080), binding("::", nil), binding("::", 8080, "udp")]
    for changed in changes {
      #expect(row.mismatches([first, changed]) == ["missing 80/tcp -> [::]:8080", "extra \(changed)"])
    }
  }

  @Test func ephemeralPortsAreEqualWhereTheLetterIs() throws {
    let row = try #require(Self.row)
    #expect(row.mismatches([binding("127.0.0.1", 40000), binding("192.0.2.10", 40000)]) == [])
    #expect(row.mismatches([binding("127.0.0.1", 40000), binding("192.0.2.10", 40001)]).count == 2)
    #expect(row.mismatches([binding("127.0.0.1", 8080), binding("192.0.2.10", 8080)]).count == 4)
    let reserved = try #require(BindingCase.all.first { !$0.reserved.isEmpty })
    #expect(reserved.mismatches([binding("0.0.0.0", 32769), binding("::", 32769)]).count == 4)
  }
}
