import Glibc
import PortMaps

/// Finds the program that holds a host port, for a refusal: /proc/net's socket tables give uid and inode (proc(5)),
/// a descriptor of some process that points to that inode gives the rest.
///
/// Only read for a refusal or a warning, so its cost does not matter.
enum PortHolder {
  static func description(of port: HostPort) -> String {
    guard let socket = sockets(port).first else { return "another program" }
    guard let process = process(holding: socket.inode) else { return "a program of uid \(socket.uid)" }
    return "\(process.command) (pid \(process.pid), uid \(socket.uid))"
  }

  /// The ports of all udp sockets, whatever their address. A tcp or sctp socket is in its table only once it listens.
  static func udpPorts() -> Set<UInt16> {
    var ports: Set<UInt16> = []
    for table in ["udp", "udp6"] {
      for line in lines(of: "/proc/thread-self/net/\(table)").dropFirst() {
        let columns = line.split(separator: " ", maxSplits: 2)
        // 00000000000000000000000000000000:1F90
        if columns.count == 3, let port = UInt16(columns[1].suffix(4), radix: 16) { ports.insert(port) }
      }
    }
    return ports
  }

  private struct Socket {
    var uid: String
    var inode: String
  }

  private static func sockets(_ port: HostPort) -> [Socket] {
    let tables = port.address.family == .ipv4 ? ["\(port.transport)", "\(port.transport)6"] : ["\(port.transport)6"]
    return tables.flatMap { table in
      // Columns: sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
      lines(of: "/proc/thread-self/net/\(table)").dropFirst().compactMap { line -> Socket? in
        let columns = line.split(separator: " ")
        guard columns.count > 9, let local = address(columns[1]), local.port == port.port else { return nil }
        let overlaps = local.address.isAny || port.address.isAny || local.address == port.address
        return overlaps ? Socket(uid: String(columns[7]), inode: String(columns[9])) : nil
      }
    }
  }

  /// `0100007F:1F90`: 32-bit words of the address in host byte order, then the port.
  private static func address(_ text: Substring) -> (address: IPAddress, port: UInt16)? {
    let parts = text.split(separator: ":")
    guard parts.count == 2, let port = UInt16(parts[1], radix: 16) else { return nil }
    var bytes: [UInt8] = []
    var rest = parts[0]
    while !rest.isEmpty {
      guard let word = UInt32(rest.prefix(8), radix: 16) else { return nil }
      bytes += withUnsafeBytes(of: word) { Array($0) }
      rest = rest.dropFirst(8)
    }
    return IPAddress(bytes: bytes).map { ($0, port) }
  }

  private static func process(holding inode: String) -> (pid: String, command: String)? {
    for pid in entries(of: "/proc") where pid.allSatisfy(\.isNumber) {
      for descriptor in entries(of: "/proc/\(pid)/fd")
      where link("/proc/\(pid)/fd/\(descriptor)") == "socket:[\(inode)]" {
        return (pid, lines(of: "/proc/\(pid)/comm").first.map(String.init) ?? "?")
      }
    }
    return nil
  }

  private static func entries(of directory: String) -> [String] {
    guard let stream = opendir(directory) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }

  private static func link(_ path: String) -> String? {
    var target = [UInt8](repeating: 0, count: 256)
    // 256 bytes are not an empty buffer, so it has a base address.
    let count = target.withUnsafeMutableBytes {
      readlink(path, $0.assumingMemoryBound(to: CChar.self).baseAddress!, $0.count)
    }
    return count < 0 ? nil : String(decoding: target.prefix(count), as: UTF8.self)
  }

  private static func lines(of path: String) -> [Substring] {
    (SystemFile.read(path) ?? "").split(separator: "\n")
  }
}
