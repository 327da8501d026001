import Glibc

/// One agent for a network namespace: two with different databases would each take the other's elements for foreign ones.
///
/// An abstract Unix socket (unix(7)) belongs to the network namespace, as the table does, and is gone with its process.
struct NamespaceLock: ~Copyable {
  private static let name = "pmagent-table"
  private let socket: CInt

  deinit { close(socket) }

  struct Taken: Error, CustomStringConvertible {
    let description =
      "another pmagent already manages table inet pmagent of this network namespace: stop it first, or run this one with "
      + "firewall = false"
  }

  consuming func release() {}

  /// Fails with `Taken` while another process has it.
  static func take() throws -> NamespaceLock {
    let socket = Glibc.socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    try Errno.check(socket)
    let lock = NamespaceLock(socket: socket)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    // The leading NUL is what makes the name abstract.
    withUnsafeMutableBytes(of: &address.sun_path) { $0[1...].copyBytes(from: Array(name.utf8)) }
    let length = MemoryLayout<sa_family_t>.size + 1 + name.utf8.count
    let status = withUnsafeBytes(of: address) { bytes in
      bind(socket, bytes.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t(length))
    }
    if status < 0, errno == EADDRINUSE { throw Taken() }
    try Errno.check(status)
    return lock
  }
}
