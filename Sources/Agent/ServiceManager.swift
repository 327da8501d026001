import Glibc

/// What sd_notify(3) and sd_listen_fds(3) do, without their library: datagrams to the socket that `NOTIFY_SOCKET` names, and
/// descriptors from 3 on that `LISTEN_FDS` counts.
enum ServiceManager {
  // MARK: Telling

  /// Does nothing when no service manager asked for it.
  static func notify(_ state: String) { send(state, descriptor: nil) }

  /// Gives the service manager a copy of `descriptor` to keep until this program runs again (FDSTORE); it then comes back
  /// under `name`. A manager that keeps none ignores it.
  static func store(_ descriptor: CInt, as name: String) {
    // Polling would throw the copy away when the socket reports an error, which netlink sockets do when they overflow.
    send("FDSTORE=1\nFDPOLL=0\nFDNAME=\(name)", descriptor: descriptor)
  }

  /// Makes the service manager close what `store` gave it, and waits until it has, or for `seconds`.
  static func forget(_ name: String, seconds: CInt = 5) {
    guard getenv("NOTIFY_SOCKET") != nil else { return }
    notify("FDSTOREREMOVE=1\nFDNAME=\(name)")
    // BARRIER: the manager closes the descriptor it is sent when it has read everything before it.
    var ends: [CInt] = [-1, -1]
    guard pipe(&ends) == 0 else { return }
    defer { close(ends[0]) }
    send("BARRIER=1", descriptor: ends[1])
    close(ends[1])
    var end = pollfd(fd: ends[0], events: 0, revents: 0)
    while poll(&end, 1, seconds * 1000) < 0, errno == EINTR {}
  }

  private static func send(_ state: String, descriptor: CInt?) {
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
    var control = descriptor.map(controlMessage(passing:)) ?? []
    var text = Array(state.utf8)
    text.withUnsafeMutableBytes { text in
      control.withUnsafeMutableBytes { control in
        withUnsafeMutableBytes(of: &address) { name in
          var part = iovec(iov_base: text.baseAddress, iov_len: text.count)
          withUnsafeMutablePointer(to: &part) { part in
            var message = msghdr(
              msg_name: name.baseAddress, msg_namelen: socklen_t(length), msg_iov: part, msg_iovlen: 1,
              msg_control: control.isEmpty ? nil : control.baseAddress, msg_controllen: control.count, msg_flags: 0)
            // The service manager notices a lost message by its own timeout; there is nobody else to tell.
            _ = sendmsg(socket, &message, CInt(MSG_NOSIGNAL))
          }
        }
      }
    }
  }

  /// `struct cmsghdr` with SCM_RIGHTS (cmsg(3), unix(7)), whose macros do not import: its length as a size_t, then level, type
  /// and the descriptor as ints, then padding to a size_t.
  private static func controlMessage(passing descriptor: CInt) -> [UInt8] {
    let header = MemoryLayout<Int>.size + 2 * MemoryLayout<CInt>.size
    var bytes = withUnsafeBytes(of: header + MemoryLayout<CInt>.size) { Array($0) }
    for field in [SOL_SOCKET, CInt(SCM_RIGHTS), descriptor, 0] {
      bytes += withUnsafeBytes(of: field) { Array($0) }
    }
    return bytes
  }

  // MARK: Inheriting

  /// What the service manager has passed, by name; each comes once, and children of this process get none.
  static func takeDescriptors() -> [(name: String, descriptor: CInt)] {
    func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
    defer { for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { unsetenv(name) } }
    guard variable("LISTEN_PID") == String(getpid()), let count = variable("LISTEN_FDS").flatMap({ CInt($0) }),
      count > 0
    else { return [] }
    let names = (variable("LISTEN_FDNAMES") ?? "").split(separator: ":", omittingEmptySubsequences: false)
    return (0..<count).map { index in
      let descriptor = 3 + index
      _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
      return (Int(index) < names.count ? String(names[Int(index)]) : "", descriptor)
    }
  }
}
