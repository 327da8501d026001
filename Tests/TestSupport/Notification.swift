import Glibc

/// A message of sd_notify(3), with the descriptor that came with it.
struct Notification: ~Copyable {
  /// Empty when none came in time.
  var text = ""
  var descriptor: Descriptor?

  init(receivedOn socket: borrowing Descriptor) {
    var bytes = [UInt8](repeating: 0, count: 256)
    // struct cmsghdr with one descriptor: length (8 bytes), level, type, descriptor, padding (4 each).
    var control = [CInt](repeating: -1, count: 6)
    let count = bytes.withUnsafeMutableBytes { bytes in
      control.withUnsafeMutableBytes { control in
        var part = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
        return withUnsafeMutablePointer(to: &part) { part in
          var message = msghdr(
            msg_name: nil, msg_namelen: 0, msg_iov: part, msg_iovlen: 1, msg_control: control.baseAddress,
            msg_controllen: control.count, msg_flags: 0)
          return recvmsg(socket.number, &message, CInt(MSG_CMSG_CLOEXEC))
        }
      }
    }
    if count > 0 { text = String(decoding: bytes.prefix(count), as: UTF8.self) }
    if control[4] >= 0 { descriptor = Descriptor(owning: control[4]) }
  }
}
