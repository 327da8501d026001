import ArgumentParser
import Feed
import PortMaps

/// Sends one event made of its arguments.
protocol EventCommand: Command {
  var options: EventOptions { get }
  var name: String { get }
  var fields: KeyValuePairs<String, JSON?> { get }
}

struct EventOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The feed that speaks (default: default).", valueName: "name")) var source: String?
  @Flag(help: "Print the line instead of sending it.") var dryRun = false
  @OptionGroup var agent: AgentOptions
}

extension EventCommand {
  var line: [UInt8] {
    let head: KeyValuePairs<String, JSON?> = ["event": .string(name), "source": options.source.map(JSON.string)]
    return Array(JSON.object(JSON(head).members + JSON(fields).members).description.utf8)
  }

  /// What the agent would refuse whatever its state is a mistake of the command line.
  func validate() throws { try validateEvent() }

  func validateEvent() throws {
    if case .failed(_, let error, _) = Request.decode(line: line) { throw ValidationError(error.message) }
  }

  func run(on console: Console) throws {
    if options.dryRun { return try console.print(line) }
    let agent = try options.agent.connect(limit: nil)
    try agent.send(line)
    let answer = Answer(line: try agent.receive())
    try console.print(answer.line)
    do { try answer.check() } catch is RequestRefused { throw ExitStatus.failed }
  }
}

/// Where a container is attached.
struct EndpointOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The container's IPv4 address there.", valueName: "address")) var ipv4: String?
  @Option(help: ArgumentHelp("The container's IPv6 address there.", valueName: "address")) var ipv6: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The network with the highest is the container's gateway.", valueName: "number"))
  var gatewayPriority: Int64?

  var isEmpty: Bool { ipv4 == nil && ipv6 == nil && gatewayPriority == nil }

  func endpoint(_ network: String) -> JSON {
    JSON([
      "network": .string(network), "ipv4": ipv4.map(JSON.string), "ipv6": ipv6.map(JSON.string),
      "gateway_priority": gatewayPriority.map(JSON.integer),
    ])
  }
}

extension PMAgent.Emit {
  struct Start: EventCommand {
    static let configuration = CommandConfiguration(abstract: "A container has started: publish its ports.")

    @Argument(help: "The container's name.") var container: String
    @Option(help: "The container's id (default: its name).") var id: String?
    @Option(help: ArgumentHelp("Grows with every start.", valueName: "number")) var generation: Int64?
    @Option(help: "A network it is attached to, by id or name.") var network: String?
    @OptionGroup var endpoint: EndpointOptions
    @Option(
      name: .shortAndLong,
      help: ArgumentHelp("A port to publish, in Docker's form. May be repeated.", valueName: "[ip:][host:]port[/proto]")
    )
    var publish: [String] = []
    @Option(help: ArgumentHelp("A port the image exposes. May be repeated.", valueName: "port[/proto]"))
    var expose: [String] = []
    @Flag(name: [.customShort("P"), .long], help: "Publish exposed ports at free host ports.") var publishAll = false
    @OptionGroup var options: EventOptions

    var name: String { "container.start" }
    var fields: KeyValuePairs<String, JSON?> {
      [
        "container": JSON([
          "id": .string(id ?? container), "name": .string(container), "generation": generation.map(JSON.integer),
          "networks": network.map { .array([endpoint.endpoint($0)]) },
          "publish": .strings(publish), "expose": .strings(expose), "publish_all": publishAll ? .bool(true) : nil,
        ])
      ]
    }

    func validate() throws {
      if network == nil, !endpoint.isEmpty { throw ValidationError("an address needs the --network it belongs to") }
      try validateEvent()
    }
  }

  struct Stop: EventCommand {
    static let configuration = CommandConfiguration(abstract: "A container has stopped: withdraw its ports.")

    @Argument(help: "The container's id.") var container: String
    @Option(help: ArgumentHelp("The start that has ended; that of an older one is ignored.", valueName: "number"))
    var generation: Int64?
    @Flag(help: "End its established TCP connections too.") var reset = false
    @OptionGroup var options: EventOptions

    var name: String { "container.stop" }
    var fields: KeyValuePairs<String, JSON?> {
      [
        "container": .string(container), "generation": generation.map(JSON.integer),
        "reset": reset ? .bool(true) : nil,
      ]
    }
  }

  struct Connect: EventCommand {
    static let configuration = CommandConfiguration(abstract: "A running container joins a network.")

    @Argument(help: "The container's id.") var container: String
    @Argument(help: "The network, by id or name.") var network: String
    @OptionGroup var endpoint: EndpointOptions
    @OptionGroup var options: EventOptions

    var name: String { "container.connect" }
    var fields: KeyValuePairs<String, JSON?> {
      ["container": .string(container), "endpoint": endpoint.endpoint(network)]
    }
  }

  struct Disconnect: EventCommand {
    static let configuration = CommandConfiguration(abstract: "A running container leaves a network.")

    @Argument(help: "The container's id.") var container: String
    @Argument(help: "The network, by id or name.") var network: String
    @OptionGroup var options: EventOptions

    var name: String { "container.disconnect" }
    var fields: KeyValuePairs<String, JSON?> { ["container": .string(container), "network": .string(network)] }
  }

  struct Publish: EventCommand {
    static let configuration = CommandConfiguration(abstract: "Publish further ports of a running container.")

    @Argument(help: "The container's id.") var container: String
    @Argument(help: ArgumentHelp("Ports in Docker's form.", valueName: "[ip:][host:]port[/proto]"))
    var ports: [String]
    @OptionGroup var options: EventOptions

    var name: String { "container.publish" }
    var fields: KeyValuePairs<String, JSON?> { ["container": .string(container), "publish": .strings(ports)] }
  }

  struct Unpublish: EventCommand {
    static let configuration = CommandConfiguration(abstract: "Withdraw ports of a running container.")

    @Argument(help: "The container's id.") var container: String
    @Argument(help: ArgumentHelp("Ports as they were published.", valueName: "[ip:][host:]port[/proto]"))
    var ports: [String]
    @OptionGroup var options: EventOptions

    var name: String { "container.unpublish" }
    var fields: KeyValuePairs<String, JSON?> { ["container": .string(container), "publish": .strings(ports)] }
  }

  struct NetworkCreate: EventCommand {
    static let configuration = CommandConfiguration(
      commandName: "network-create", abstract: "A network exists, or has other options now.")

    @Argument(help: "The network's name.") var network: String
    @Option(help: "The network's id (default: its name).") var id: String?
    @Option(help: "bridge, macvlan, ipvlan, host or none (default: bridge).") var driver: String?
    @Option(help: ArgumentHelp("The bridge's interface name.", valueName: "interface")) var bridge: String?
    @Option(help: ArgumentHelp("A subnet. May be repeated.", valueName: "cidr")) var subnet: [String] = []
    @Flag(help: "Nothing leaves it and nothing is published.") var `internal` = false
    @Option(
      name: .shortAndLong,
      help: ArgumentHelp("A driver option with Docker's key. May be repeated.", valueName: "key=value"),
      transform: keyValue(_:))
    var option: [(key: String, value: String)] = []
    @OptionGroup var options: EventOptions

    var name: String { "network.create" }
    var fields: KeyValuePairs<String, JSON?> {
      [
        "network": JSON([
          "id": .string(id ?? network), "name": .string(network), "driver": driver.map(JSON.string),
          "bridge": bridge.map(JSON.string), "internal": `internal` ? .bool(true) : nil,
          "subnets": .strings(subnet),
          "options": option.isEmpty ? nil : .object(option.map { ($0.key, .string($0.value)) }),
        ])
      ]
    }
  }

  struct NetworkRemove: EventCommand {
    static let configuration = CommandConfiguration(
      commandName: "network-remove", abstract: "A network exists no more.")

    @Argument(help: "The network, by id or name.") var network: String
    @OptionGroup var options: EventOptions

    var name: String { "network.remove" }
    var fields: KeyValuePairs<String, JSON?> { ["network": .string(network)] }
  }
}

extension JSON {
  /// `nil` for none.
  fileprivate static func strings(_ texts: [String]) -> JSON? { texts.isEmpty ? nil : .array(texts.map(JSON.string)) }
}

private func keyValue(_ text: String) throws -> (key: String, value: String) {
  let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
  guard parts.count == 2, !parts[0].isEmpty else { throw ValidationError("option \"\(text)\" is not KEY=VALUE") }
  return (String(parts[0]), String(parts[1]))
}
