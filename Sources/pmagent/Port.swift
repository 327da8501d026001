import ArgumentParser
import Feed
import PortMaps

extension PMAgent {
  struct Port: Command {
    static let configuration = CommandConfiguration(
      abstract: "Show the published ports of a container, as docker port does.",
      discussion: "On a routed network there is no host port: nothing follows the last colon.")

    @Argument(help: "Id, name, or a prefix of one.") var container: String
    @Argument(help: ArgumentHelp("A container port.", valueName: "port[/proto]"), transform: ContainerPort.init(text:))
    var port: ContainerPort?
    @OptionGroup var reading: ReadingOptions

    func run(on console: Console) throws {
      let ports = try reading.open(console).inspect(container).value(of: "ports")
      let lines = try Self.lines(ports, only: port)
      if let port, lines.isEmpty { throw NotPublished(port: port, container: container) }
      if !lines.isEmpty { try console.print(lines.joined(separator: "\n")) }
    }

    /// `80/tcp -> 0.0.0.0:8080`, or `0.0.0.0:8080` when one port is asked for; sorted as Docker's command sorts them.
    static func lines(_ ports: JSON, only port: ContainerPort?) throws -> [String] {
      var lines: [String] = []
      for (key, bindings) in ports.members where port == nil || key == port?.description {
        for binding in bindings.elements {
          guard let address = binding["HostIp"]?.string.flatMap({ IPAddress(parsing: $0) }),
            let hostPort = binding["HostPort"]?.string
          else { throw UnknownAnswer(part: "ports") }
          let host = "\(address.bracketed):\(hostPort)"
          lines.append(port == nil ? "\(key) -> \(host)" : host)
        }
      }
      return lines.sorted(by: naturallyPrecedes)
    }
  }
}

struct NotPublished: Error, CustomStringConvertible {
  let port: ContainerPort
  let container: String
  var description: String { "no public port '\(port)' published for \(container)" }
}

extension ContainerPort {
  /// `80` or `80/udp`. Fails with `ValidationError`.
  init(text: String) throws {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard let number = parts.first.flatMap({ UInt16($0) }), number > 0,
      let transport = parts.count == 1 ? .tcp : TransportProtocol(parsing: parts[1])
    else { throw ValidationError("port \"\(text)\" is not 1-65535, with /tcp, /udp or /sctp behind it or nothing") }
    self.init(number, transport)
  }
}

/// Natural order: runs of digits compare as the numbers they are, and before anything else. Docker sorts so.
func naturallyPrecedes(_ a: String, _ b: String) -> Bool {
  var (a, b) = (a.utf8[...], b.utf8[...])
  while let x = a.first, let y = b.first {
    if x.isDigit && y.isDigit {
      let (m, n) = (takeNumber(&a), takeNumber(&b))
      if m != n { return m < n }
    } else if x != y {
      return x.isDigit != y.isDigit ? x.isDigit : x < y
    } else {
      a.removeFirst()
      b.removeFirst()
    }
  }
  return a.isEmpty && !b.isEmpty
}

/// No number in a line of ours has more digits than a port or a group of an address.
private func takeNumber(_ text: inout Substring.UTF8View) -> Int {
  var number = 0
  while let digit = text.first, digit.isDigit {
    number = number * 10 + Int(digit - 0x30)
    text.removeFirst()
  }
  return number
}

extension UInt8 {
  fileprivate var isDigit: Bool { (0x30...0x39).contains(self) }
}
