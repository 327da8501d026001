import Glibc
import PortMaps

/// Small files of /proc and /sys, which are read and written whole.
enum SystemFile {
  /// `nil` when the file cannot be opened or read, which for these files means that the kernel has no such thing.
  /// `chunk`: bytes asked for at a time.
  static func read(_ path: String, chunk: Int = 65536) -> String? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes: [UInt8] = []
    while true {
      var result = 0
      bytes += [UInt8](unsafeUninitializedCapacity: chunk) { buffer, count in
        result = Glibc.read(file, buffer.baseAddress, chunk)
        count = max(result, 0)
      }
      if result < 0 { return nil }
      if result == 0 { return String(decoding: bytes, as: UTF8.self) }
    }
  }

  static func write(_ text: String, to path: String) throws(Errno) {
    let file = open(path, O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { throw Errno() }
    defer { close(file) }
    let bytes = Array(text.utf8)
    guard Glibc.write(file, bytes, bytes.count) == bytes.count else { throw Errno() }
  }
}

/// A sysctl by its path below /proc/sys, `net/ipv4/ip_forward`: an interface name may contain dots, so the dotted
/// spelling would be ambiguous (sysctl(8) accepts this one too).
struct Sysctl: Hashable {
  let name: String
  init(path: String) { name = path }

  /// `nil` when the kernel does not have it.
  ///
  /// The kernel makes a buffer as large as the reader's and, of a list of ports, tells the rest to nobody who comes back for it
  /// (`proc_do_large_bitmap`): so a small buffer first, and a large one for what nearly fills it.
  var value: String? {
    let (path, small) = ("/proc/sys/" + name, 1024)
    guard var text = SystemFile.read(path, chunk: small) else { return nil }
    if text.utf8.count > small - 16 { text = SystemFile.read(path) ?? text }
    return String(text.prefix { $0 != "\n" })
  }
  func set(_ value: String) throws(Errno) { try SystemFile.write(value, to: "/proc/sys/" + name) }

  /// Without it no packet of the family reaches a container.
  static func forwarding(_ family: AddressFamily) -> Sysctl {
    Sysctl(path: family == .ipv4 ? "net/ipv4/ip_forward" : "net/ipv6/conf/all/forwarding")
  }
  static let loopbackIPv6Disabled = Sysctl(path: "net/ipv6/conf/lo/disable_ipv6")
  /// Whether frames that a bridge forwards pass the packet filter of IP; absent without br_netfilter.
  static func bridgeNetfilter(_ family: AddressFamily) -> Sysctl {
    Sysctl(path: "net/bridge/bridge-nf-call-\(family == .ipv4 ? "iptables" : "ip6tables")")
  }
  static let localPortRange = Sysctl(path: "net/ipv4/ip_local_port_range")
  static let localReservedPorts = Sysctl(path: "net/ipv4/ip_local_reserved_ports")
  /// Lets packets for 127.0.0.0/8 be routed to `interface`: what makes `127.0.0.1:8080` reach a container.
  static func routeLocalnet(_ interface: String) -> Sysctl {
    Sysctl(path: "net/ipv4/conf/\(interface)/route_localnet")
  }
}
