import CNetfilter
import Glibc

/// Settings of the ports of bridges, over rtnetlink(7): what `bridge link set dev PORT isolated on hairpin on` sets.
///
/// ```
/// struct ifinfomsg  family:u8 pad:u8 type:u16 index:i32 flags:u32 change:u32                     host byte order
/// read              IFLA_IFNAME, IFLA_MASTER, IFLA_LINKINFO { IFLA_INFO_SLAVE_DATA { IFLA_BRPORT_* } }
/// write             family AF_BRIDGE, IFLA_PROTINFO { IFLA_BRPORT_* }
/// ```
package final class BridgePorts {
  var socket: NetlinkSocket
  private init(_ socket: consuming NetlinkSocket) { self.socket = socket }

  /// `nil`: left as it is.
  package struct Settings: Sendable, Equatable {
    /// Exchanges no frames with other isolated ports, only with the bridge itself.
    package var isIsolated: Bool?
    /// Frames may leave by the port they came from.
    package var isHairpin: Bool?
    package init(isIsolated: Bool? = nil, isHairpin: Bool? = nil) {
      (self.isIsolated, self.isHairpin) = (isIsolated, isHairpin)
    }
    package var isEmpty: Bool { self == Settings() }
  }

  private struct Port {
    var index: UInt32
    var name: String
    var master: UInt32
    var settings: Settings
  }

  /// In the network namespace of the calling thread.
  package static func open() throws(KernelError) -> BridgePorts { BridgePorts(try NetlinkSocket.open(to: .rtnetlink)) }

  /// Nothing happens when it is a port of no bridge, or of another one.
  package func set(_ settings: Settings, of port: String, on bridge: String) throws(KernelError) {
    let index = if_nametoindex(port)
    if index == 0 { return }
    try change(try ports(flags: 0, index) { _ in }, of: if_nametoindex(bridge), to: settings)
  }

  package func set(_ settings: Settings, ofPortsOf bridge: String) throws(KernelError) {
    let master = if_nametoindex(bridge)
    if master == 0 { return }
    try change(
      try ports(flags: NLM_F_DUMP, 0) { $0.attribute(link(IFLA_MASTER)) { $0.native(master) } }, of: master,
      to: settings)
  }

  /// A change is told to everybody who listens, us too: nothing is written that is there.
  private func change(_ ports: [Port], of master: UInt32, to settings: Settings) throws(KernelError) {
    for port in ports where port.master == master {
      let isolated = settings.isIsolated.flatMap { $0 == port.settings.isIsolated ? nil : $0 }
      let hairpin = settings.isHairpin.flatMap { $0 == port.settings.isHairpin ? nil : $0 }
      if isolated == nil, hairpin == nil { continue }
      let sequence = socket.nextSequence
      var writer = MessageWriter()
      writer.message(UInt16(RTM_SETLINK), flags: NLM_F_REQUEST | NLM_F_ACK, sequence: sequence) {
        $0.interface(UInt8(AF_BRIDGE), port.index)
        $0.nested(link(IFLA_PROTINFO)) {
          if let isolated { $0.attribute(link(IFLA_BRPORT_ISOLATED)) { $0.append(isolated ? 1 : 0) } }
          if let hairpin { $0.attribute(link(IFLA_BRPORT_MODE)) { $0.append(hairpin ? 1 : 0) } }
        }
      }
      let answers = try socket.exchange(writer.bytes, sequences: sequence...sequence)
      // It has left meanwhile.
      guard let failure = answers.errors.first, ![ENODEV, EOPNOTSUPP].contains(failure.errno) else { continue }
      throw .system(operation: "set the bridge port \(port.name)", errno: failure.errno)
    }
  }

  private func ports(
    flags: Int32, _ index: UInt32, _ filter: (inout MessageWriter) -> Void
  ) throws(KernelError) -> [Port] {
    let operation = "read bridge ports"
    while true {
      var ports: [Port] = []
      let sequence = socket.nextSequence
      var writer = MessageWriter()
      writer.message(UInt16(RTM_GETLINK), flags: NLM_F_REQUEST | flags, sequence: sequence) {
        $0.interface(UInt8(AF_UNSPEC), index)
        filter(&$0)
      }
      let answers = try socket.ask(operation, writer.bytes, sequence: sequence) { message in
        if let port = Self.port(message) { ports.append(port) }
      }
      if let failure = answers.errors.first, failure.errno != ENODEV {
        throw .system(operation: operation, errno: failure.errno)
      }
      if !answers.wasInterrupted { return ports }
    }
  }

  /// `nil` when the link is a port of no bridge.
  private static func port(_ message: Message) -> Port? {
    let header = message.bytes.dropFirst(Message.headerSize)
    guard header.count >= 16 else { return nil }
    let attributes = Attributes(header.dropFirst(16))
    guard let name = attributes[link(IFLA_IFNAME)]?.string, let master = attributes[link(IFLA_MASTER)],
      master.count == 4,
      let info = attributes[link(IFLA_LINKINFO)].map(Attributes.init),
      info[link(IFLA_INFO_SLAVE_KIND)]?.string == "bridge",
      let data = info[link(IFLA_INFO_SLAVE_DATA)].map(Attributes.init)
    else { return nil }
    return Port(
      index: header.native(UInt32.self, at: 4), name: name, master: master.native(UInt32.self, at: 0),
      settings: Settings(
        isIsolated: data[link(IFLA_BRPORT_ISOLATED)]?.first.map { $0 != 0 },
        isHairpin: data[link(IFLA_BRPORT_MODE)]?.first.map { $0 != 0 }))
  }
}

/// The headers number link attributes in enums without a name.
private struct LinkAttribute: RawRepresentable { var rawValue: UInt32 }
private func link(_ attribute: Int) -> LinkAttribute { LinkAttribute(rawValue: UInt32(attribute)) }

extension MessageWriter {
  fileprivate mutating func interface(_ family: UInt8, _ index: UInt32) {
    append([family, 0, 0, 0])
    native(index)
    append([UInt8](repeating: 0, count: 8))
  }
}
