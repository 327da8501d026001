import CNetfilter
import Glibc
import PortMaps

/// The routes of `LoopbackPath`, over rtnetlink(7): what `ip -6 route add local ::1/128 dev BRIDGE table local metric 2048
/// proto 112` adds.
///
/// ```
/// struct rtmsg  family:u8 dst_len:u8 src_len:u8 tos:u8 table:u8 protocol:u8 scope:u8 type:u8 flags:u32   host byte order
/// attributes    RTA_DST, RTA_OIF, RTA_PRIORITY
/// ```
struct LoopbackRoutes: ~Copyable {
  private var socket: NetlinkSocket

  /// Behind the kernel's own routes, whose metric is 0: what comes from `lo` or goes to it never sees ours.
  private static let metric: UInt32 = 2048
  /// rtm_protocol says who made a route. The kernel gives no meaning to numbers above RTPROT_STATIC, and this one is free
  /// in iproute2's list of names.
  private static let `protocol`: UInt8 = 112

  static func open() throws(KernelError) -> LoopbackRoutes {
    let socket = try NetlinkSocket.open(NETLINK_ROUTE)
    // The kernel then lists the routes asked for, not the routing table of the Internet.
    try socket.option(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1, "NETLINK_GET_STRICT_CHK")
    return LoopbackRoutes(socket: socket)
  }

  /// Adds a route that says what the kernel's own does, and removes it.
  mutating func probe() throws(KernelError) {
    try add("lo")
    try remove("lo")
  }

  /// Nothing happens when it is there, or the interface is not, or is down.
  ///
  /// NLM_F_APPEND, for NLM_F_EXCL would see the same route in that of another bridge.
  mutating func add(_ interface: String) throws(KernelError) {
    try change(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND, interface, ignoring: [EEXIST, ENODEV, ENETDOWN])
  }

  /// Nothing happens when it is not there.
  mutating func remove(_ interface: String) throws(KernelError) {
    try change(RTM_DELROUTE, 0, interface, ignoring: [ESRCH, ENODEV])
  }

  private mutating func change(
    _ type: Int, _ flags: Int32, _ interface: String, ignoring ignored: [Int32]
  ) throws(KernelError) {
    let index = if_nametoindex(interface)
    if index == 0 { return }
    let sequence = socket.nextSequence
    var writer = MessageWriter()
    writer.message(UInt16(type), flags: NLM_F_REQUEST | NLM_F_ACK | flags, sequence: sequence) {
      $0.route(prefixLength: 128, protocol: Self.protocol)
      $0.attribute(RTA_DST) { $0.append(Skeleton.loopback6.address.bytes) }
      $0.attribute(RTA_OIF) { $0.native(index) }
      $0.attribute(RTA_PRIORITY) { $0.native(Self.metric) }
    }
    let answers = try socket.exchange(writer.bytes, sequences: sequence...sequence)
    guard let failure = answers.errors.first, !ignored.contains(failure.errno) else { return }
    let verb = type == RTM_NEWROUTE ? "add" : "delete"
    throw .system(operation: "route \(verb) local ::1/128 dev \(interface)", errno: failure.errno)
  }

  /// The interfaces that have the route.
  mutating func bridges() throws(KernelError) -> Set<String> {
    while true {
      var indices: [UInt32] = []
      let sequence = socket.nextSequence
      var writer = MessageWriter()
      writer.message(UInt16(RTM_GETROUTE), flags: NLM_F_REQUEST | NLM_F_DUMP, sequence: sequence) {
        $0.route(prefixLength: 0, protocol: Self.protocol)
      }
      let answers = try socket.exchange(writer.bytes, sequences: sequence...sequence) { message in
        if let index = Self.interface(message) { indices.append(index) }
      }
      // No IPv6, no routes of it.
      if let failure = answers.errors.first, failure.errno != EOPNOTSUPP {
        throw .system(operation: "list routes", errno: failure.errno)
      }
      if !answers.wasInterrupted { return Set(indices.compactMap(name)) }
    }
  }

  /// `nil` when the route is none of ours.
  private static func interface(_ message: Message) -> UInt32? {
    let header = message.bytes.dropFirst(Message.headerSize)
    guard header.count >= 12, header.dropFirst(5).first == `protocol` else { return nil }
    let attributes = Attributes(header.dropFirst(12))
    guard attributes[RTA_DST]?.elementsEqual(Skeleton.loopback6.address.bytes) == true else { return nil }
    return attributes[RTA_OIF]?.native(UInt32.self, at: 0)
  }
}

private func name(_ index: UInt32) -> String? {
  withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(IF_NAMESIZE)) { buffer in
    buffer.baseAddress.flatMap { if_indextoname(index, $0) }.map { String(cString: $0) }
  }
}

extension MessageWriter {
  /// The header of a message about IPv6 routes of type local in the table of that name.
  fileprivate mutating func route(prefixLength: UInt8, protocol: UInt8) {
    append([UInt8(AF_INET6), prefixLength, 0, 0, UInt8(RT_TABLE_LOCAL.rawValue), `protocol`])
    append([UInt8(RT_SCOPE_UNIVERSE.rawValue), UInt8(RTN_LOCAL)])
    native(UInt32(0))
  }
}
