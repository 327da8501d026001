// What runtimes say, translated into what the feed says. Pure: the same function serves a daemon and a recorded stream.
//
// Docker and Podman speak the same API in different words. What differs:
//
//   the ports       Docker: NetworkSettings.Ports is what was allocated, ephemeral ports included; HostConfig.PortBindings
//                   is what was asked for. Podman: PortBindings is both, and NetworkSettings.Ports repeats the ports of the
//                   container or pod whose network a container shares.
//   the bridge      Docker: an option of the network, or br- and the id's first 12 digits. Podman: only its own API says.
//   a network's id  what Podman 4 calls an id in a container is the network's name.

import Feed
import PortMaps

/// Which words a daemon uses.
struct Dialect: Sendable, Equatable {
  enum Engine: String, Sendable { case docker, podman }

  var engine: Engine
  /// Of the engine: `20.10.24+dfsg1`.
  var version: String
  /// What its API is asked for as: `1.41`.
  var apiVersion: String
}

extension Dialect {
  /// Of Docker's API; nothing later than what this program has been tried with is asked for.
  private static let latest = (1, 51)

  /// Understands the answer to `GET /version`.
  init(version answer: Part) throws(UnexpectedAnswer) {
    version = try answer["Version"].string()
    let names = try answer["Components"].elements().map { (part) throws(UnexpectedAnswer) in try part["Name"].string() }
    engine = names.contains("Podman Engine") ? .podman : .docker
    let text = try answer["ApiVersion"].string()
    let parts = text.split(separator: ".").map { Int($0) }
    guard parts.count == 2, let major = parts[0], let minor = parts[1] else {
      throw answer["ApiVersion"].unexpected("a version like 1.41")
    }
    apiVersion = (major, minor) > Self.latest ? "\(Self.latest.0).\(Self.latest.1)" : text
  }

  var containers: String { "/v\(apiVersion)/containers/json" }
  func container(_ id: String) -> String { "/v\(apiVersion)/containers/\(id.percentEncoded)/json" }
  /// Events since a time: those that happen before the daemon has noted our subscription are repeated.
  func events(since seconds: Int) -> String { "/v\(apiVersion)/events?since=\(seconds)" }
  var networks: String { engine == .docker ? "/v\(apiVersion)/networks" : "/v4.0.0/libpod/networks/json" }
  func network(_ reference: String) -> String {
    engine == .docker
      ? "/v\(apiVersion)/networks/\(reference.percentEncoded)"
      : "/v4.0.0/libpod/networks/\(reference.percentEncoded)/json"
  }
}

/// A network of a runtime.
struct RuntimeNetwork: Sendable, Equatable {
  var id: String
  var name: String
  /// `nil` for drivers that the agent has nothing to do with: `host`, `null`, `overlay`, plugins.
  var network: Network?
}

/// A container of a runtime, as far as it concerns published ports.
struct RuntimeContainer: Sendable, Equatable {
  /// Where it is attached; `network` is what the runtime calls the network here, an id or a name.
  typealias Attachment = Endpoint

  var id: String
  var name: String
  var isRunning: Bool
  /// Nanoseconds since 1970.
  var startedAt: Int64
  var attachments: [Attachment] = []
  var publish: [PublishRequest] = []
  var expose: [ExposedPorts] = []
}

/// One line of a runtime's event stream.
struct RuntimeEvent: Sendable, Equatable {
  enum Kind: Sendable, Equatable {
    case containerStarted(String)
    case containerDied(String)
    /// Something else about it changed: its name, its existence.
    case containerChanged(String)
    /// It joined or left a network; nothing says more reliably than the container itself which.
    case containerReattached(String)
    case networkCreated(String)
    case networkRemoved(String)
    case irrelevant
  }

  var kind: Kind
  /// Nanoseconds since 1970, never negative; 0 when the daemon does not say.
  var time: Int64

  init(parsing line: [UInt8]) throws(UnexpectedAnswer) {
    let event = try Part(parsing: line)
    time = max(0, try event["timeNano"].integer())
    let actor = event["Actor"]
    let id = try actor["ID"].string()
    switch (try event["Type"].string(), try event["Action"].string()) {
    case ("container", "start"): kind = .containerStarted(id)
    case ("container", "die"), ("container", "died"): kind = .containerDied(id)
    case ("container", "destroy"), ("container", "remove"), ("container", "rename"), ("container", "update"):
      kind = .containerChanged(id)
    case ("network", "connect"), ("network", "disconnect"):
      // Docker's actor is the network, Podman's the container.
      let container = try actor["Attributes"]["container"].string()
      kind = .containerReattached(container.isEmpty ? id : container)
    case ("network", "create"): kind = .networkCreated(id)
    case ("network", "destroy"), ("network", "remove"): kind = .networkRemoved(id)
    default: kind = .irrelevant
    }
  }
}

extension String {
  /// For a path of a URL (RFC 3986 §2.3 lists what needs no escape).
  fileprivate var percentEncoded: String {
    utf8.reduce(into: "") { text, byte in
      switch byte {
      case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
        UInt8(ascii: "~"):
        text.unicodeScalars.append(Unicode.Scalar(byte))
      default:
        text += byte < 16 ? "%0" : "%"
        text += String(byte, radix: 16, uppercase: true)
      }
    }
  }
}
