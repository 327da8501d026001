import CLinux
import Glibc
import Logging
import NIOCore
import PortMaps

/// The addresses this host or one interface has now, in the network namespace of the calling thread (getifaddrs(3)).
func localAddresses(of interface: String? = nil) throws(Errno) -> Set<IPAddress> {
  var list: UnsafeMutablePointer<ifaddrs>?
  try Errno.check(getifaddrs(&list))
  defer { freeifaddrs(list) }
  var addresses: Set<IPAddress> = []
  var next = list
  while let entry = next?.pointee {
    next = entry.ifa_next
    guard let address = entry.ifa_addr else { continue }
    if let interface, String(cString: entry.ifa_name) != interface { continue }
    let raw = UnsafeRawPointer(address)
    switch CInt(address.pointee.sa_family) {
    case AF_INET: addresses.insert(raw, at: MemoryLayout<sockaddr_in>.offset(of: \.sin_addr), count: 4)
    case AF_INET6: addresses.insert(raw, at: MemoryLayout<sockaddr_in6>.offset(of: \.sin6_addr), count: 16)
    default: break
    }
  }
  return addresses
}

extension Set<IPAddress> {
  fileprivate mutating func insert(_ socketAddress: UnsafeRawPointer, at offset: Int?, count: Int) {
    guard let offset else { return }
    let bytes = UnsafeRawBufferPointer(start: socketAddress + offset, count: count)
    if let address = IPAddress(bytes: bytes) { insert(address) }
  }
}

/// A change of the host that the agent reacts to.
enum HostEvent: Equatable {
  /// An interface appeared or changed; a bridge that is made anew has lost its settings, and so has a new port of one.
  case link(name: String, master: String?)
  /// An interface has gone, or is no port of a bridge any more.
  case linkRemoved(name: String)
  case addressAdded(IPAddress)
  case addressRemoved(IPAddress)
  /// Messages were lost: anything may have changed.
  case unknown
}

/// Tells when an interface or an address of the host comes or goes (rtnetlink(7)).
///
/// Link-local addresses are left out: every container's veth has one, and no port can be published on them.
enum HostEvents {
  /// `onEvent` is called on `loop`.
  static func listener(
    on loop: any EventLoop, log: Logger, onEvent: @escaping (HostEvent) -> Void
  ) -> NetlinkListener {
    NetlinkListener(
      of: "the host's interfaces and addresses", on: loop, log: log, openSocket: openSocket,
      onMessages: { for event in events(in: $0) { onEvent(event) } }, onLoss: { onEvent(.unknown) })
  }

  private static func openSocket() throws(Errno) -> CInt {
    let socket = Glibc.socket(
      AF_NETLINK, CInt(SOCK_RAW.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue),
      CInt(NETLINK_ROUTE))
    try Errno.check(socket)
    var address = sockaddr_nl()
    address.nl_family = sa_family_t(AF_NETLINK)
    address.nl_groups = UInt32(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR)
    let status = withUnsafeBytes(of: address) { bytes in
      bind(socket, bytes.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t(bytes.count))
    }
    guard status == 0 else {
      let error = Errno()
      close(socket)
      throw error
    }
    return socket
  }

  /// The events in the messages of one read, netlink(7): each a header of 16 bytes, then
  /// `struct ifinfomsg` (16 bytes) or `struct ifaddrmsg` (8 bytes), then attributes; all in host byte order.
  static func events(in buffer: ByteBuffer) -> [HostEvent] {
    var (buffer, events) = (buffer, [HostEvent]())
    while let length: UInt32 = buffer.getInteger(at: buffer.readerIndex, endianness: .host), length >= 16,
      var message = buffer.readSlice(length: min(Int(length), buffer.readableBytes))
    {
      buffer.moveReaderIndex(forwardBy: min((4 - Int(length) % 4) % 4, buffer.readableBytes))
      message.moveReaderIndex(forwardBy: 4)
      let type: UInt16 = message.readInteger(endianness: .host) ?? 0
      message.moveReaderIndex(forwardBy: 10)
      if let event = event(Int(type), &message) { events.append(event) }
    }
    return events
  }

  private static func event(_ type: Int, _ message: inout ByteBuffer) -> HostEvent? {
    switch type {
    case RTM_NEWLINK, RTM_DELLINK:
      let found = attributes(&message, after: 16)
      guard let bytes = found[UInt16(IFLA_IFNAME)] else { return nil }
      let name = String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      if type == RTM_DELLINK { return .linkRemoved(name: name) }
      return .link(name: name, master: found[UInt16(IFLA_MASTER)].flatMap(interfaceName))
    case RTM_NEWADDR, RTM_DELADDR:
      let found = attributes(&message, after: 8)
      // IFA_ADDRESS is the other end of a point-to-point link.
      guard let bytes = found[UInt16(IFA_LOCAL)] ?? found[UInt16(IFA_ADDRESS)], let address = IPAddress(bytes: bytes),
        !address.isLinkLocal
      else { return nil }
      return type == RTM_NEWADDR ? .addressAdded(address) : .addressRemoved(address)
    default: return nil
    }
  }

  /// `index`: 4 bytes in host byte order.
  private static func interfaceName(_ index: [UInt8]) -> String? {
    guard index.count == 4 else { return nil }
    var name = [CChar](repeating: 0, count: Int(IF_NAMESIZE))
    guard if_indextoname(index.withUnsafeBytes { $0.loadUnaligned(as: UInt32.self) }, &name) != nil else { return nil }
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  private static func attributes(_ message: inout ByteBuffer, after header: Int) -> [UInt16: [UInt8]] {
    guard message.readableBytes >= header else { return [:] }
    message.moveReaderIndex(forwardBy: header)
    var attributes: [UInt16: [UInt8]] = [:]
    while let length: UInt16 = message.readInteger(endianness: .host), length >= 4,
      let type: UInt16 = message.readInteger(endianness: .host), let value = message.readBytes(length: Int(length) - 4)
    {
      attributes[type] = value
      message.moveReaderIndex(forwardBy: min((4 - Int(length) % 4) % 4, message.readableBytes))
    }
    return attributes
  }
}

extension IPAddress {
  /// 169.254.0.0/16 or fe80::/10.
  var isLinkLocal: Bool { family == .ipv4 ? low >> 16 == 0xa9fe : high >> 54 == 0x3fa }
}
