import PortMaps

/// The answer to one request.
package enum Reply: Sendable {
  /// To every event; `ports` only to those of a container.
  case changed(revision: Int, ports: PortListing?, warnings: [Warning])
  case hello(Hello)
  case mappings([Mapping])
  /// To `watch`: one line for each mapping there is, then one that says these were all. `Change` lines follow.
  case watching([Mapping])
  case networks([NetworkDescription])
  case inspect(Inspection)
  case status(Status)
  case failed(RequestError)
}

/// Who answers.
package struct Hello: Sendable, Hashable {
  /// Of the wire contract; raised when something in it is changed or removed.
  package static let protocolVersion = 1

  package var agent: String
  package var version: String
  package var revision: Int
  /// The kernel's boot id.
  package var bootID: String

  package init(agent: String, version: String, revision: Int, bootID: String) {
    (self.agent, self.version, self.revision, self.bootID) = (agent, version, revision, bootID)
  }
}

/// A binding with what the operator calls its owner; on the wire a run of n ports is n mappings.
package struct Mapping: Sendable, Hashable {
  package enum State: Sendable, Hashable {
    case live
    /// Stored and waiting for what the reason names.
    case pending(reason: String)
    case degraded(reason: String)
  }

  /// Id of the container.
  package var container: String
  /// Name of the container.
  package var name: String
  /// Name of the network.
  package var network: String
  package var binding: Binding
  package var state: State

  package init(container: String, name: String, network: String, binding: Binding, state: State) {
    (self.container, self.name, self.network) = (container, name, network)
    (self.binding, self.state) = (binding, state)
  }
}

/// What a watcher is told about a mapping after the first listing.
package enum Change: String, Sendable {
  case added, removed, changed
}

/// A network with what its options mean.
package struct NetworkDescription: Sendable, Hashable {
  package var network: Network
  /// `nil` where the network has no subnet of the family.
  package var gatewayModeIPv4: GatewayMode?
  package var gatewayModeIPv6: GatewayMode?
  /// Where requests without a host address go; `nil` where nothing is ever published.
  package var defaultBind: IPAddress?
  /// Attached containers.
  package var containers: Int

  package init(
    network: Network, gatewayModeIPv4: GatewayMode?, gatewayModeIPv6: GatewayMode?, defaultBind: IPAddress?,
    containers: Int
  ) {
    (self.network, self.defaultBind, self.containers) = (network, defaultBind, containers)
    (self.gatewayModeIPv4, self.gatewayModeIPv6) = (gatewayModeIPv4, gatewayModeIPv6)
  }
}

/// A container as stored, and what came of it.
package struct Inspection: Sendable {
  package var container: Container
  package var ports: PortListing
  package var warnings: [Warning]

  package init(container: Container, ports: PortListing, warnings: [Warning]) {
    (self.container, self.ports, self.warnings) = (container, ports, warnings)
  }
}

/// Whether the kernel has what is stored, and what an operator should know besides.
package struct Status: Sendable {
  /// A condition the operator should end.
  package struct Degradation: Sendable, Hashable {
    package var code: String
    package var message: String
    package init(code: String, message: String) { (self.code, self.message) = (code, message) }
  }

  package var inSync: Bool
  package var mappings: Int
  package var containers: Int
  package var networks: Int
  package var revision: Int
  /// The kernel ruleset's generation; `nil` while it is unknown.
  package var generation: UInt32?
  package var degraded: [Degradation]
  /// Fields beyond the contract's, appended in this order.
  package var extra: [(key: String, value: JSON)]

  package init(
    inSync: Bool, mappings: Int, containers: Int, networks: Int, revision: Int, generation: UInt32?,
    degraded: [Degradation] = [], extra: [(key: String, value: JSON)] = []
  ) {
    (self.inSync, self.revision, self.generation) = (inSync, revision, generation)
    (self.mappings, self.containers, self.networks) = (mappings, containers, networks)
    (self.degraded, self.extra) = (degraded, extra)
  }
}
