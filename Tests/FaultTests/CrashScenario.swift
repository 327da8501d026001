import Feed
import Netfilter
import PortMaps
import TestSupport

/// What an agent is asked to do while it is killed: each step is one round, whose events stand or fall together.
enum CrashScenario {
  static let steps: [[String]] = [
    [network("web", options: "")],
    [network("db", subnet: 19, options: "")],
    [start("web", 2, "8080:80", "127.0.0.1:8081:81")],
    [start("db", 3, on: "db", "192.0.2.7:5432:5432")],
    [start("dns", 4, "5353:53/udp", "5353:53")],
    [
      start("a", 10, "9001:80"), start("b", 11, "9002:80"), start("refused", 12, "9001:80"),
      start("c", 13, "9003-9006:90-93"),
    ],
    [#"{"event":"container.publish","container":"web","publish":["8082:82"]}"#],
    [#"{"event":"container.unpublish","container":"web","publish":["8080:80"]}"#],
    [#"{"event":"container.connect","container":"dns","endpoint":{"network":"db","ipv4":"172.19.0.9"}}"#],
    [#"{"event":"container.disconnect","container":"dns","network":"web"}"#],
    [stop("a"), start("d", 14, "9001:80")],
    [start("b", 21, "9002:81", "9010:80")],
    [network("web", options: #""com.docker.network.bridge.enable_icc":"false""#)],
    [network("late", subnet: 20, options: #""com.docker.network.bridge.gateway_mode_ipv4":"routed""#)],
    [start("routed", 3, on: "late", "80")],
    [stop("db"), stop("dns")],
    [#"{"event":"network.remove","network":"db"}"#],
    [
      #"{"event":"snapshot.begin"}"#, network("web", options: ""), start("web", 2, "9001:80"),
      start("b", 21, "9002:81"),
      #"{"event":"snapshot.end"}"#,
    ],
    [stop("web")],
  ]
  static var events: Int { steps.map(\.count).reduce(0, +) }

  private static func network(_ id: String, subnet: Int = 18, options: String) -> String {
    #"{"event":"network.create","network":{"id":"\#(id)","bridge":"br-\#(id)","#
      + #""subnets":["172.\#(subnet).0.0/16","2001:db8:\#(subnet)::/64"],"options":{\#(options)}}}"#
  }

  private static func start(_ id: String, _ host: Int, on network: String = "web", _ publish: String...) -> String {
    let subnet = ["web": 18, "db": 19][network] ?? 20
    return #"{"event":"container.start","container":{"id":"\#(id)","networks":[{"network":"\#(network)","#
      + #""ipv4":"172.\#(subnet).0.\#(host)","ipv6":"2001:db8:\#(subnet)::\#(host)"}],"#
      + #""publish":[\#(publish.map { "\"\($0)\"" }.joined(separator: ","))]}}"#
  }

  private static func stop(_ id: String) -> String { #"{"event":"container.stop","container":"\#(id)"}"# }
}

/// What there is to see of an agent from outside: what it lists, and what is in the kernel.
struct Visible: Equatable {
  var list: JSON
  var elements: Set<Element>
  var isInSync: Bool

  init(_ agent: AgentProgram) throws {
    list = try agent.succeed(#"{"query":"list"}"#)["mappings"] ?? .null
    let installed = try agent.namespace.run { try KernelRuleset.open().read() }
    elements = Set(installed?.elements ?? [])
    isInSync = try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true)
  }
}
