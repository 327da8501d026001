import Glibc
import PortMaps

/// A system call that failed in a test's own code.
package struct SystemError: Error, CustomStringConvertible {
  package let description: String
  package init(_ call: String) { description = "\(call): \(String(cString: strerror(errno)))" }
}

/// A descriptor that is closed with its owner.
package final class Descriptor: Sendable {
  package let number: CInt
  package init(_ number: CInt, _ call: String) throws(SystemError) {
    guard number >= 0 else { throw SystemError(call) }
    self.number = number
  }
  init(owning number: CInt) { self.number = number }
  deinit { close(number) }
}

/// A bound socket; listening when it is TCP. Opened in the calling thread's network namespace.
package func serverSocket(
  _ transport: TransportProtocol, _ address: IPAddress, _ port: UInt16, dualStack: Bool = false
) throws(SystemError) -> Descriptor {
  let family = address.family == .ipv4 ? AF_INET : AF_INET6
  let type = transport == .udp ? SOCK_DGRAM : SOCK_STREAM
  let socket = try Descriptor(Glibc.socket(family, CInt(type.rawValue) | O_CLOEXEC, CInt(transport.rawValue)), "socket")
  if family == AF_INET6 {
    var only: CInt = dualStack ? 0 : 1
    setsockopt(socket.number, CInt(IPPROTO_IPV6), IPV6_V6ONLY, &only, 4)
  }
  let what = "bind \(HostPort(address, transport, port))"
  guard withSocketAddress(address, port, { bind(socket.number, $0, $1) }) == 0 else { throw SystemError(what) }
  if transport == .tcp, listen(socket.number, 64) < 0 { throw SystemError("listen") }
  return socket
}

/// Calls `body` with the address as the kernel wants it.
package func withSocketAddress<R>(
  _ address: IPAddress, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R
) -> R {
  var storage = sockaddr_storage()
  return withUnsafeMutablePointer(to: &storage) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
      switch address.family {
      case .ipv4:
        return pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { inet in
          inet.pointee.sin_family = sa_family_t(AF_INET)
          inet.pointee.sin_port = port.bigEndian
          inet.pointee.sin_addr.s_addr = UInt32(truncatingIfNeeded: address.low).bigEndian
          return body(generic, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
      case .ipv6:
        return pointer.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { inet in
          inet.pointee.sin6_family = sa_family_t(AF_INET6)
          inet.pointee.sin6_port = port.bigEndian
          withUnsafeMutableBytes(of: &inet.pointee.sin6_addr) { $0.copyBytes(from: address.bytes) }
          return body(generic, socklen_t(MemoryLayout<sockaddr_in6>.size))
        }
      }
    }
  }
}

private func ipAddress(_ storage: sockaddr_storage) -> IPAddress? {
  let isIPv4 = CInt(storage.ss_family) == AF_INET
  let bytes = withUnsafeBytes(of: storage) { raw in Array(isIPv4 ? raw[4..<8] : raw[8..<24]) }
  // A dual-stack socket names its IPv4 peers ::ffff:192.0.2.1.
  let isMapped = bytes.starts(with: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff])
  return IPAddress(bytes: isMapped ? Array(bytes[12...]) : bytes)
}

/// Answers on one port, TCP and UDP, IPv4 and IPv6, with `NAME saw PEER: PAYLOAD`, until it is released.
package final class EchoServer {
  private let stop: Descriptor
  private var thread = pthread_t()

  private final class Work {
    let name: String
    let (tcp, udp, stop): (Descriptor, Descriptor, Descriptor)
    init(_ name: String, _ tcp: Descriptor, _ udp: Descriptor, stop: Descriptor) {
      (self.name, self.tcp, self.udp, self.stop) = (name, tcp, udp, stop)
    }
  }

  package init(_ name: String, in namespace: NetworkNamespace, port: UInt16) throws {
    let sockets = try namespace.run { () throws(SystemError) in
      (
        try serverSocket(.tcp, .any(.ipv6), port, dualStack: true),
        try serverSocket(.udp, .any(.ipv6), port, dualStack: true)
      )
    }
    var ends: [CInt] = [0, 0]
    guard pipe(&ends) == 0 else { throw SystemError("pipe") }
    stop = try Descriptor(ends[1], "pipe")
    let work = Work(name, sockets.0, sockets.1, stop: try Descriptor(ends[0], "pipe"))
    pthread_create(
      &thread, nil,
      { argument in
        // Retained for this thread when it was created.
        if let argument { EchoServer.serve(Unmanaged<Work>.fromOpaque(argument).takeRetainedValue()) }
        return nil
      }, Unmanaged.passRetained(work).toOpaque())
  }

  deinit {
    _ = [0].withUnsafeBytes { write(stop.number, $0.baseAddress, 1) }
    pthread_join(thread, nil)
  }

  private static func serve(_ work: Work) {
    var connections: [CInt] = []
    while true {
      var polled = ([work.stop.number, work.tcp.number, work.udp.number] + connections).map {
        pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
      }
      guard poll(&polled, nfds_t(polled.count), -1) > 0, polled[0].revents == 0 else { break }
      for ready in polled where ready.revents != 0 {
        if ready.fd == work.tcp.number {
          connections.append(accept(work.tcp.number, nil, nil))
        } else if !answer(ready.fd, work.name), ready.fd != work.udp.number {
          connections.removeAll { $0 == ready.fd }
          close(ready.fd)
        }
      }
    }
    for connection in connections { close(connection) }
  }

  /// Returns whether a connection is still good. A datagram that has no way back concerns no other.
  private static func answer(_ socket: CInt, _ name: String) -> Bool {
    var (peer, length) = (sockaddr_storage(), socklen_t(MemoryLayout<sockaddr_storage>.size))
    var payload = [UInt8](repeating: 0, count: 2048)
    return withUnsafeMutablePointer(to: &peer) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
        let count = recvfrom(socket, &payload, payload.count, 0, generic, &length)
        guard count > 0 else { return false }
        let isConnected = length == 0 || CInt(pointer.pointee.ss_family) == AF_UNSPEC
        if isConnected {
          length = socklen_t(MemoryLayout<sockaddr_storage>.size)
          getpeername(socket, generic, &length)
        }
        let from = ipAddress(pointer.pointee).map { "\($0)" } ?? "?"
        let reply = Array("\(name) saw \(from): \(String(decoding: payload[..<count], as: UTF8.self))".utf8)
        return sendto(
          socket, reply, reply.count, CInt(MSG_NOSIGNAL), isConnected ? nil : generic, isConnected ? 0 : length)
          == reply.count
      }
    }
  }
}

/// What came of asking a port.
package enum Answer: Equatable, Sendable {
  case text(String)
  /// An RST or an ICMP error.
  case refused(CInt)
  /// Nothing within the time.
  case silence

  package var text: String? {
    if case .text(let text) = self { text } else { nil }
  }
  package var isText: Bool { text != nil }
}

/// An open flow, so that a test can see whether it survives.
package final class Flow {
  private let socket: Descriptor

  /// Connects in `namespace`. Fails when the other end refuses or stays silent for `seconds`.
  package init(
    _ transport: TransportProtocol, to address: IPAddress, _ port: UInt16, from namespace: NetworkNamespace,
    seconds: Int = 3
  ) throws(SystemError) {
    socket = try namespace.run { () throws(SystemError) in
      let family = address.family == .ipv4 ? AF_INET : AF_INET6
      let type = transport == .udp ? SOCK_DGRAM : SOCK_STREAM
      let socket = try Descriptor(Glibc.socket(family, CInt(type.rawValue) | O_CLOEXEC, 0), "socket")
      var limit = timeval(tv_sec: seconds, tv_usec: 0)
      for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
        setsockopt(socket.number, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
      }
      guard withSocketAddress(address, port, { connect(socket.number, $0, $1) }) == 0 else {
        throw SystemError("connect")
      }
      return socket
    }
  }

  package func ask(_ payload: String) -> Answer {
    let bytes = Array(payload.utf8)
    guard send(socket.number, bytes, bytes.count, CInt(MSG_NOSIGNAL)) == bytes.count else { return Self.failure() }
    var reply = [UInt8](repeating: 0, count: 4096)
    let count = recv(socket.number, &reply, reply.count, 0)
    return count > 0 ? .text(String(decoding: reply[..<count], as: UTF8.self)) : Self.failure()
  }

  static func failure() -> Answer {
    switch errno {
    case EAGAIN, EINPROGRESS, ETIMEDOUT: .silence
    case let number: .refused(number)
    }
  }
}

/// Sends one payload from `namespace` and returns what came back.
package func ask(
  _ transport: TransportProtocol, _ address: IPAddress, _ port: UInt16, from namespace: NetworkNamespace,
  seconds: Int = 3
) -> Answer {
  do throws(SystemError) {
    return try Flow(transport, to: address, port, from: namespace, seconds: seconds).ask("hello")
  } catch {
    return Flow.failure()
  }
}
