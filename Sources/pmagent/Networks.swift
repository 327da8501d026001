import ArgumentParser
import Feed

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
          let family = subnet.contains(":") ? "ipv6" : "ipv4"
          let mode = network["gateway_mode_\(family)"]?.string ?? ""
          table.append(
            name, network["bridge"]?.string ?? "(\(driver))", subnet, isInternal ? "internal" : mode,
            network["default_bind"]?.string ?? "", String(containers))
        }
      }
      return table.text(width: width)
    }
  }
}
