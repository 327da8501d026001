import ArgumentParser
import Feed
import PortMaps

extension PMAgent {
  struct Inspect: Command {
    static let configuration = CommandConfiguration(
      abstract: "Show containers as JSON, in the form of docker inspect.")

    @Argument(help: "Ids, names, or prefixes of them.") var containers: [String]
    @OptionGroup var reading: ReadingOptions

    func run(on console: Console) throws {
      let source = try reading.open(console)
      var networkNames: [String: String] = [:]
      for network in try source.networks().elements(of: "networks") {
        if let id = network["id"]?.string { networkNames[id] = network["name"]?.string }
      }
      var found: [JSON] = []
      var status = ExitStatus.ok
      for container in containers {
        do {
          found.append(try Self.document(source.inspect(container), networkNames))
        } catch let refusal as RequestRefused {
          console.warn(refusal.message)
          status = ExitStatus(of: refusal)
        }
      }
      try console.print(JSON.array(found).pretty(indent: 4))
      if status != .ok { throw status }
    }

    /// Docker's keys with Docker's meaning, and ours where Docker has none: `Source`, `Generation`, `Publish`,
    /// `Warnings`.
    static func document(_ answer: Answer, _ networkNames: [String: String]) throws -> JSON {
      let container = try answer.value(of: "container")
      guard let name = container["name"]?.string, let endpoints = container["networks"]?.elements else {
        throw UnknownAnswer(part: "container")
      }
      let networks = endpoints.map { endpoint -> (key: String, value: JSON) in
        let id = endpoint["network"]?.string ?? ""
        return (networkNames[id] ?? id, network(endpoint, id))
      }
      let warnings = try answer.elements(of: "warnings").map {
        JSON(["Code": $0["code"], "Message": $0["message"]])
      }
      return JSON([
        "Id": container["id"],
        "Name": .string("/" + name),
        "Source": try answer.value(of: "source"),
        "Generation": container["generation"],
        "HostConfig": JSON(["Publish": container["publish"], "PublishAllPorts": container["publish_all"]]),
        "NetworkSettings": JSON([
          "Ports": try answer.value(of: "ports"),
          "Networks": .object(networks.sorted { $0.key < $1.key }),
        ]),
        "Warnings": .array(warnings),
      ])
    }

    private static func network(_ endpoint: JSON, _ id: String) -> JSON {
      JSON([
        "IPAddress": endpoint["ipv4"] ?? "",
        "GlobalIPv6Address": endpoint["ipv6"] ?? "",
        "NetworkID": .string(id),
        "GwPriority": endpoint["gateway_priority"],
      ])
    }
  }
}
