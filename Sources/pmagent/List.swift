import ArgumentParser
import Feed
import PortMaps

extension PMAgent {
  struct List: Command {
    static let configuration = CommandConfiguration(
      commandName: "ls", abstract: "List the mappings.",
      discussion: """
        A mapping is shown as HOST:PORT->CONTAINER-PORT/PROTOCOL, consecutive ones as a range. On a routed network no host \
        port exists: ADDRESS:PORT/PROTOCOL is then the container's own address.
        """,
      aliases: ["list"])

    @Flag(help: "Show ids, modes, container addresses, reasons and warnings, at any width.") var wide = false
    @Flag(help: "Print the mappings as one JSON array, one object a port.") var json = false
    @Flag(name: .shortAndLong, help: "Print the ids of the containers only.") var quiet = false

    @Option(help: "Only of this container.") var container: String?
    @Option(help: "Only of this network, by id or name.") var network: String?
    @Option(help: "Only with this host port.", transform: port(_:)) var port: UInt16?
    @Option(name: .customLong("protocol"), help: "Only of this protocol.") var transport: TransportProtocol?

    @OptionGroup var reading: ReadingOptions

    func validate() throws {
      if [wide, json, quiet].count(where: { $0 }) > 1 {
        throw ValidationError("--wide, --json and --quiet are forms of one listing: give one of them")
      }
    }

    func run(on console: Console) throws {
      let source = try reading.open(console)
      let answer = try source.list(
        MappingFilter(container: container, network: network, hostPort: port, transport: transport))
      if json { return try console.print(answer.text(of: "mappings")) }
      let rows = Mapping.rows(try answer.elements(of: "mappings").map { try Mapping($0) })
      if quiet { return try printContainers(of: rows, on: console) }
      try console.print(wide ? Self.wideTable(rows) : Self.table(rows, width: console.width))
      if wide { try printWarnings(of: rows, source, on: console) }
    }

    static func table(_ rows: [Mapping], width: Int) -> String {
      var table = Table(.cut("CONTAINER"), .cut("NETWORK"), .whole("PORTS"), .whole("STATE"))
      for row in rows { table.append(row.name, row.network, row.ports, row.state.name) }
      return table.text(width: width)
    }

    static func wideTable(_ rows: [Mapping]) -> String {
      var table = Table(
        .whole("CONTAINER"), .whole("ID"), .whole("NETWORK"), .whole("MODE"), .whole("PORTS"), .whole("ADDRESS"),
        .whole("STATE"), .whole("REASON"))
      for row in rows {
        table.append(
          row.name, row.container, row.network, row.binding.mode.rawValue, row.ports,
          row.binding.containerAddress.description, row.state.name, row.state.reason ?? "")
      }
      return table.text(width: .max)
    }

    private func printContainers(of rows: [Mapping], on console: Console) throws {
      var known: Set<String> = []
      let ids = rows.map(\.container).filter { known.insert($0).inserted }
      if !ids.isEmpty { try console.print(ids.joined(separator: "\n")) }
    }

    private func printWarnings(of rows: [Mapping], _ source: Source, on console: Console) throws {
      var known: Set<String> = []
      for row in rows where known.insert(row.container).inserted {
        guard let answer = try source.inspectIfThere(row.container) else { continue }
        for warning in try answer.elements(of: "warnings") {
          guard let code = warning["code"]?.string, let message = warning["message"]?.string else {
            throw UnknownAnswer(part: "warnings")
          }
          try console.print("warning: \(row.name): \(code): \(message)")
        }
      }
    }
  }
}

extension Source {
  /// `nil` for a container that has stopped since it was listed.
  fileprivate func inspectIfThere(_ container: String) throws -> Answer? {
    do {
      return try inspect(container)
    } catch let refusal as RequestRefused where refusal.code == ErrorCode.unknownContainer.rawValue {
      return nil
    }
  }
}
