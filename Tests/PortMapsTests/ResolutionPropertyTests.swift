import TestSupport
import Testing

@testable import PortMaps

/// What holds for every start, whatever is asked for and whatever the host looks like.
@Suite struct ResolutionPropertyTests {
  @Test(arguments: seeds(1000))
  func aStartTakesWhatItBindsOrNothing(seed: UInt64) throws {
    let world = try World(seed: seed)
    let host = world.host
    var ephemeral = world.ephemeral
    do throws(RequestError) {
      let resolution = try resolve(world, on: host, &ephemeral)
      #expect(Set(resolution.bindings.flatMap(\.allHostPorts)) == Set(host.held))
      #expect(resolution.bindings.flatMap(\.allHostPorts).count == host.held.count)
    } catch {
      #expect(host.held == [])
      #expect(ephemeral == world.ephemeral)
      #expect(error.field == nil || error.field?.hasPrefix("publish[") == true)
    }
    #expect(host.strayReleases == [])
  }

  @Test(arguments: seeds(1000))
  func noHostPortHasTwoOwners(seed: UInt64) throws {
    let world = try World(seed: seed)
    guard case .success(let resolution) = outcome(world) else { return }
    let keys = resolution.bindings.flatMap(\.allHostPorts)
    for (index, key) in keys.enumerated() {
      #expect(!(world.containers + world.programs).contains { $0.occupies(key) }, "\(key)")
      for other in keys.dropFirst(index + 1) where key.transport == other.transport && key.port == other.port {
        #expect(!key.address.overlaps(other.address), "\(key) and \(other)")
      }
    }
  }

  @Test(arguments: seeds(1000))
  func theOrderOfRequestsAndEndpointsDoesNotMatter(seed: UInt64) throws {
    let world = try World(seed: seed)
    var random = SeededGenerator(seed: ~seed)
    var shuffled = world
    let requests = Array(world.container.publish.indices).shuffled(using: &random)
    shuffled.container.publish = requests.map { world.container.publish[$0] }
    let order = Array(world.networks.indices).shuffled(using: &random)
    shuffled.container.endpoints = order.map { world.container.endpoints[$0] }
    shuffled.networks = order.map { world.networks[$0] }
    switch (outcome(world), outcome(shuffled)) {
    case (.success(let one), .success(let other)):
      let renamed = other.bindings.flatMap(\.expanded).map { binding in
        var binding = binding
        binding.request = binding.request.map { requests[$0] }
        return binding
      }
      #expect(renamed.counted == one.bindings.flatMap(\.expanded).counted)
      #expect(one.warnings.counted == other.warnings.counted)
    case (.failure(let one), .failure(let other)): #expect(one.code == other.code)
    case (let one, let other): Issue.record("\(one) in one order, \(other) in another")
    }
  }

  @Test(arguments: seeds(1000))
  func aRestartedContainerKeepsItsPorts(seed: UInt64) throws {
    let world = try World(seed: seed)
    guard case .success(let first) = outcome(world) else { return }
    var ephemeral = world.ephemeral
    ephemeral.last = [.tcp: 8007, .udp: 8003]
    let before = ephemeral
    let again = try resolve(world, on: HostModel(), previous: first.bindings, &ephemeral)
    #expect(again == first)
    #expect(ephemeral == before)
  }

  @Test(arguments: seeds(1000))
  func theFamiliesOfARequestShareTheirPort(seed: UInt64) throws {
    let world = try World(seed: seed)
    guard case .success(let resolution) = outcome(world) else { return }
    let singles = resolution.bindings.flatMap(\.expanded).filter { $0.mode.translates }
    let ports = Dictionary(grouping: singles) {
      "\($0.request, default: "publish_all") \($0.containerPorts)/\($0.transport)"
    }
    for (name, bindings) in ports { #expect(Set(bindings.map(\.hostPorts)).count == 1, "\(name)") }
  }

  @Test(arguments: seeds(1000))
  func everyDemandBecomesOneBindingOfItsPorts(seed: UInt64) throws {
    let world = try World(seed: seed)
    guard case .success(let resolution) = outcome(world) else { return }
    let singles = resolution.bindings.flatMap(\.expanded)
    var demands = try Demands(of: world.container, on: world.networks).sorted
    for binding in singles {
      let index = demands.firstIndex { demand in
        demand.binding(hostPort: binding.hostPorts?.first) == binding
          && (demand.group.hostPorts ?? world.ephemeral.range).ports.contains(binding.hostPorts?.first ?? 8003)
      }
      demands.remove(at: try #require(index, "\(binding) was not asked for"))
    }
    #expect(demands == [])
  }

  @Test(arguments: seeds(1000))
  func modesKeepTheirPromises(seed: UInt64) throws {
    let world = try World(seed: seed)
    guard case .success(let resolution) = outcome(world) else { return }
    for binding in resolution.bindings {
      let network = try #require(world.networks.first { $0.network.id == binding.network })
      #expect(network.network.driver == .bridge && !network.network.isInternal)
      #expect(binding.mode == network.options.mode(binding.family))
      #expect((binding.hostPorts == nil) == (binding.mode == .routed))
      #expect(binding.hostAddress.isAny || binding.mode != .routed)
      #expect(binding.hostAddress.family == binding.family)
    }
  }

  @Test func theWorldsAreVariedEnough() throws {
    var outcomes: [String: Int] = [:]
    for seed in seeds(1000) {
      switch outcome(try World(seed: seed)) {
      case .success(let resolution): outcomes[resolution.bindings.isEmpty ? "empty" : "bound", default: 0] += 1
      case .failure(let error): outcomes[error.code.rawValue, default: 0] += 1
      }
    }
    #expect(Set(outcomes.keys) == ["empty", "bound", "port-already-allocated", "host-port-in-use", "ports-exhausted"])
    #expect(outcomes["bound", default: 0] > 300, "\(outcomes)")
  }

  private func resolve(
    _ world: World, on host: HostModel, previous: [Binding] = [], _ ephemeral: inout EphemeralPorts
  ) throws(RequestError) -> Resolution {
    try PortMaps.resolve(
      world.container, on: world.networks, previous: previous, ephemeral: &ephemeral, hostPorts: host.hostPorts)
  }

  private func outcome(_ world: World) -> Result<Resolution, RequestError> {
    var ephemeral = world.ephemeral
    do throws(RequestError) {
      return .success(try resolve(world, on: world.host, &ephemeral))
    } catch {
      return .failure(error)
    }
  }
}

extension Sequence where Element: Hashable {
  /// As a multiset.
  fileprivate var counted: [Element: Int] { Dictionary(map { ($0, 1) }, uniquingKeysWith: +) }
}
