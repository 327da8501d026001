import Feed
import Logging
import Netfilter
import PortMaps

@testable import Agent
@testable import Storage

/// Tests of the core on a kernel that does what it is told.
protocol MapperSuite {
  var store: Store { get }
}

extension MapperSuite {
  func start(
    _ kernel: any RulesetStore, restore: Agent.Configuration.RestorePolicy = .apply,
    ipForward: Agent.Configuration.IPForward = .check
  ) throws -> PortMapper {
    var configuration = Agent.Configuration()
    configuration.restore = restore
    configuration.holdPorts = .none
    configuration.ipForward = ipForward
    return try PortMapper.start(
      configuration, store, kernel: kernel, lock: nil, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  func send(_ line: String, _ mapper: PortMapper) -> Reply { mapper.replies(to: [incoming(line)])[0] }

  func incoming(_ line: String) -> PortMapper.Incoming {
    .init(connection: ConnectionID(number: 1), decoded: Request.decode(line: Array(line.utf8)))
  }

  var network: String {
    #"{"event":"network.create","network":{"id":"n","bridge":"br-n","subnets":["172.18.0.0/16"]}}"#
  }
  func web(_ n: Int, port: Int? = nil) -> String {
    #"{"event":"container.start","container":{"id":"c\#(n)","networks":[{"network":"n","ipv4":"172.18.0.\#(n)"}],"#
      + #""publish":["\#(port ?? 8000 + n):80"]}}"#
  }

  func isOK(_ reply: Reply) -> Bool { if case .changed = reply { true } else { false } }
}
