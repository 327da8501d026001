import Glibc

/// A descriptor that is closed when its owner is done with it.
struct FileDescriptor: ~Copyable {
  let number: Int32

  /// `nil` for the -1 of a call that failed; `errno` is left alone.
  init?(_ number: Int32) {
    guard number >= 0 else { return nil }
    self.number = number
  }

  deinit { close(number) }

  /// Gives the descriptor to somebody else to close.
  consuming func release() -> Int32 {
    let number = number
    discard self
    return number
  }
}

/// The address of a Unix socket in the file system, unix(7).
package struct UnixAddress {
  private var address = sockaddr_un()

  /// `nil` when the path does not fit: 1 to 107 bytes, none of them NUL.
  package init?(_ path: String) {
    let bytes = Array(path.utf8)
    let capacity = MemoryLayout.size(ofValue: address.sun_path)
    guard !bytes.isEmpty, bytes.count < capacity, !bytes.contains(0) else { return nil }
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
  }

  /// The path that `socket` is bound to; `nil` when it has none, or is no Unix socket.
  static func path(of socket: Int32) -> String? {
    var (address, size) = (sockaddr_un(), socklen_t(MemoryLayout<sockaddr_un>.size))
    let status = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket, $0, &size) }
    }
    guard status == 0, address.sun_family == AF_UNIX else { return nil }
    let path = withUnsafeBytes(of: address.sun_path) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    return path.isEmpty ? nil : path
  }

  /// connect(2).
  func connect(_ socket: Int32) -> Int32 { call { Glibc.connect(socket, $0, $1) } }
  /// bind(2).
  func bind(_ socket: Int32) -> Int32 { call { Glibc.bind(socket, $0, $1) } }

  private func call(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
    withUnsafePointer(to: address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
  }
}
