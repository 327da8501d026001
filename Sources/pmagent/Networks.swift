import ArgumentParser
import Feed
import PortMaps

extension PMAgent {
  struct Networks: Command {
    static let configuration = CommandConfiguration(abstract: "List the networks, one line a subnet.")

    @Flag(help: "Print the networks as one JSON array.") var json = false
    @OptionGroup var reading: ReadingOptions

    func run(on console: Console) throws {
      let answer = try reading.open(console).networks()
      if json { return try console.print(answer.text(of: "networks")) }
      try console.print(Self.table(try answer.elements(of: "networks"), width: console.width))
    }

    static func table(_ networks: [JSON], width: Int) throws -> String {
      var table = Table(
        .cut("NETWORK"), .cut("BRIDGE"), .whole("SUBNET"), .whole("MODE"), .whole("BIND"), .whole("CONTAINERS"))
      for network in networks {
        guard let name = network["name"]?.string, let driver = network["driver"]?.string,
          let isInternal = network["internal"]?.bool, let containers = network["containers"]?.integer
        else { throw UnknownAnswer(part: "networks") }
        let subnets = network["subnets"]?.elements.compactMap(\.string) ?? []
        for subnet in subnets.isEmpty ? [""] : subnets {
          let family = IPPrefix(parsing: subnet)?.address.family
          let mode = family.flatMap { network["gateway_mode_\($0.name)"]?.string } ?? ""
          let bind = network["default_bind"]?.string.flatMap { IPAddress(parsing: $0) }
          table.append(
            name, network["bridge"]?.string ?? "(\(driver))", subnet, isInternal ? "internal" : mode,
            Self.address(family, boundBy: bind)?.description ?? "", String(containers))
        }
      }
      return table.text(width: width)
    }

    /// Where a port without a host address is published: `0.0.0.0` stands for both families, other addresses for theirs.
    private static func address(_ family: AddressFamily?, boundBy bind: IPAddress?) -> IPAddress? {
      guard let family, let bind else { return nil }
      if bind.family == family { return bind }
      return bind == .any(.ipv4) ? .any(family) : nil
    }
  }
}
