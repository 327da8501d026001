import Glibc

/// The part of sd_notify(3) that needs no library: one datagram to the socket that `NOTIFY_SOCKET` names.
enum ServiceManager {
  /// Does nothing when no service manager asked for it.
  static func notify(_ state: String) {
    guard let path = getenv("NOTIFY_SOCKET").map({ String(cString: $0) }) else { return }
    var address = sockaddr_un()
    let bytes = Array(path.utf8)
    guard !bytes.isEmpty, bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return }
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { field in
      field.copyBytes(from: bytes)
      // "@" stands for the NUL that begins an abstract name (unix(7)).
      if bytes[0] == UInt8(ascii: "@") { field[0] = 0 }
    }
    let socket = Glibc.socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0 else { return }
    defer { close(socket) }
    let length = MemoryLayout.offset(of: \sockaddr_un.sun_path).map { $0 + bytes.count } ?? 0
    withUnsafeBytes(of: address) { raw in
      // The service manager notices a lost message by its own timeout; there is nobody else to tell.
      _ = state.withCString { text in
        sendto(
          socket, text, strlen(text), CInt(MSG_NOSIGNAL),
          raw.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t(length))
      }
    }
  }
}
