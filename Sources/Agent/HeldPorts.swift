import CLinux
import Feed
import Glibc
import PortMaps

/// Which host ports the agent keeps a socket on, so that no other program can take them (`hold_ports`).
package enum HoldPolicy: String, Sendable, CaseIterable {
  /// Single ports and ranges of up to 256; larger ranges are only checked when they are published.
  case auto
  case all
  /// For feeds whose runtime holds the ports itself.
  case none

  func holds(rangeOf count: Int) -> Bool {
    switch self {
    case .auto: count <= 256
    case .all: true
    case .none: false
    }
  }
}

/// The sockets that hold host ports.
///
/// A held socket is bound and nothing else: it never listens, and for udp a filter attached *before* bind drops whatever is
/// queued to it. No SO_REUSEADDR and no SO_REUSEPORT: with either, a program that sets it too would get in.
final class HeldPorts {
  /// Why a port that should be held is not.
  struct Waiting: Equatable {
    enum Reason: String {
      /// Its address is not on this host; held as soon as it is.
      case addressNotLocal = "address-not-local"
      /// Another program took it; held as soon as that program lets go.
      case hostPortInUse = "host-port-in-use"
    }
    var reason: Reason
    var text: String
    var note: PortNote { PortNote(reason == .addressNotLocal ? .addressNotLocal : .portNotHeld, text) }
  }

  private var sockets: [HostPort: CInt] = [:]
  private(set) var waiting: [HostPort: Waiting] = [:]
  private(set) var localAddresses: Set<IPAddress> = []

  var count: Int { sockets.count }
  /// Held, or to be held as soon as that is possible.
  func isTaken(_ port: HostPort) -> Bool { sockets[port] != nil || waiting[port] != nil }

  /// The held ports whose sockets exclude one of `port`. Looks at all of them: for a port that could not be had.
  func overlapping(_ port: HostPort) -> [HostPort] {
    sockets.keys.filter {
      $0.transport == port.transport && $0.port == port.port && $0.address.overlaps(port.address)
    }
  }

  deinit { for socket in sockets.values { close(socket) } }

  /// Takes `port`, or with `keeping: false` only checks that it could be taken.
  func hold(_ port: HostPort, keeping: Bool) -> HoldOutcome {
    if sockets[port] != nil { return .taken(nil) }
    if port.address.isMulticast || port.address == .limitedBroadcast {
      return .impossible(
        RequestError(
          .addressNotAvailable,
          "host address \(port.address) is a multicast or broadcast address and can never be one of this host: "
            + "publish on an address of this host"))
    }
    switch Self.bound(port, dropping: keeping) {
    case .success(let socket):
      if keeping { sockets[port] = socket } else { close(socket) }
      return .taken(nil)
    case .failure(let error):
      // The kernel has no such protocol or family, so no program can hold the port either.
      if [EPROTONOSUPPORT, ESOCKTNOSUPPORT, EAFNOSUPPORT].contains(error.code) {
        return .taken(note(ifNotLocal: port))
      }
      let outcome = Self.outcome(of: error.code, port)
      if keeping, case .taken(let note?) = outcome, note.code == .addressNotLocal {
        waiting[port] = Waiting(reason: .addressNotLocal, text: note.text)
      }
      return outcome
    }
  }

  /// Takes a port whose mapping exists already; where another program has it, the mapping works and the port waits.
  func retake(_ port: HostPort) {
    let before = waiting.removeValue(forKey: port)
    guard case .inUse(let holder) = hold(port, keeping: true) else { return }
    // Who has it is found by a walk through /proc, which a port that is tried again and again is not worth.
    waiting[port] =
      before?.reason == .hostPortInUse
      ? before : Waiting(reason: .hostPortInUse, text: "in use by \(holder()); the mapping works but is not held")
  }

  /// The host's addresses are these now: ports on an address that has gone wait for it. Returns the ports whose state
  /// changed.
  func addressesChanged(to addresses: Set<IPAddress>) -> [HostPort] {
    let gone = localAddresses.subtracting(addresses)
    localAddresses = addresses
    let lost = gone.isEmpty ? [] : sockets.keys.filter { gone.contains($0.address) }
    for port in lost {
      release(port)
      waiting[port] = Waiting(reason: .addressNotLocal, text: Self.notLocal(port).text)
    }
    return lost + retryWaiting()
  }

  /// What is to be known of a port on an address this host does not have, where the port is not held.
  func note(ifNotLocal port: HostPort) -> PortNote? {
    port.address.isAny || port.address.isLoopback || localAddresses.contains(port.address) ? nil : Self.notLocal(port)
  }

  private static func notLocal(_ port: HostPort) -> PortNote {
    PortNote(.addressNotLocal, "\(port.address) is not an address of this host; the mapping waits until it is")
  }

  /// Tries again for every port that waits; returns those whose state changed.
  func retryWaiting() -> [HostPort] {
    let before = waiting
    for port in before.keys { retake(port) }
    return before.keys.filter { waiting[$0] != before[$0] }
  }

  /// The binding in parts that have one state each.
  func states(of binding: Binding) -> [(binding: Binding, state: Mapping.State)] {
    guard let ports = binding.hostPorts else { return [(binding, .live)] }
    let first = HostPort(binding.hostAddress, binding.transport, ports.first)
    if waiting.isEmpty, note(ifNotLocal: first) == nil { return [(binding, .live)] }
    let states = binding.allHostPorts.map(state)
    return Array(states.indices).chunked { states[$0] == states[$1] }.map {
      (binding.part(from: $0.startIndex, count: $0.count), states[$0.startIndex])
    }
  }

  private func state(of port: HostPort) -> Mapping.State {
    if let waiting = waiting[port] {
      return waiting.reason == .addressNotLocal ? .pending(reason: waiting.text) : .degraded(reason: waiting.text)
    }
    if sockets[port] == nil, let note = note(ifNotLocal: port) { return .pending(reason: note.text) }
    return .live
  }

  /// Why ports wait, for `pmagent status`: of consecutive ones it is said once.
  var degradations: [Status.Degradation] {
    var notes: [Waiting.Reason: PortNotes] = [:]
    for (port, waiting) in waiting.sorted(by: { $0.key.port < $1.key.port }) {
      notes[waiting.reason, default: PortNotes()].add(waiting.note, about: port)
    }
    return notes.flatMap { reason, notes in
      notes.warnings.map { Status.Degradation(code: reason.rawValue, message: $0.message) }
    }.sorted { $0.message < $1.message }
  }

  func release(_ port: HostPort) {
    // Of a large range, none is.
    if !waiting.isEmpty { waiting[port] = nil }
    if !sockets.isEmpty, let socket = sockets.removeValue(forKey: port) { close(socket) }
  }

  private static func outcome(of code: CInt, _ port: HostPort) -> HoldOutcome {
    switch code {
    case EADDRINUSE: .inUse { PortHolder.description(of: port) }
    case EADDRNOTAVAIL, EINVAL: .taken(notLocal(port))
    default:
      .taken(
        PortNote(
          .portNotHeld, "the mapping works but is not held: \(String(cString: strerror(code))) (errno \(code))"))
    }
  }

  private static func bound(_ port: HostPort, dropping: Bool) -> Result<CInt, Errno> {
    let type = port.transport == .udp ? SOCK_DGRAM : SOCK_STREAM
    let family = port.address.family == .ipv4 ? AF_INET : AF_INET6
    let socket = Glibc.socket(
      family, CInt(type.rawValue) | CInt(SOCK_CLOEXEC.rawValue), CInt(port.transport.rawValue))
    guard socket >= 0 else { return .failure(Errno()) }
    do throws(Errno) {
      // The kernel gives the lowest free number, so a high one means that few are left.
      guard Int(socket) + descriptorReserve() < descriptorLimit() else { throw Errno(code: EMFILE) }
      // The kernel compiles each filter: too dear for a socket that is closed at once, and void for one of a protocol with
      // connections, to which nothing is delivered unless it listens.
      if dropping, port.transport == .udp { try Errno.check(clinux_drop_everything(socket)) }
      if family == AF_INET6 {
        var yes: CInt = 1
        try Errno.check(
          setsockopt(socket, CInt(IPPROTO_IPV6), IPV6_V6ONLY, &yes, socklen_t(MemoryLayout<CInt>.size)))
      }
      try bind(socket, to: port)
      return .success(socket)
    } catch {
      close(socket)
      return .failure(error)
    }
  }

  private static func bind(_ socket: CInt, to port: HostPort) throws(Errno) {
    let result =
      switch port.address.family {
      case .ipv4:
        withUnsafeBytes(of: sockaddr_in(port)) { bytes in
          Glibc.bind(socket, bytes.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t(bytes.count))
        }
      case .ipv6:
        withUnsafeBytes(of: sockaddr_in6(port)) { bytes in
          Glibc.bind(socket, bytes.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t(bytes.count))
        }
      }
    try Errno.check(result)
  }
}

/// A system call's error number.
struct Errno: Error, Equatable, CustomStringConvertible {
  var code: CInt = errno
  var description: String { "\(String(cString: strerror(code))) (errno \(code))" }

  static func check(_ result: CInt) throws(Errno) {
    if result < 0 { throw Errno() }
  }
}

extension IPAddress {
  fileprivate static let limitedBroadcast = IPAddress(ipv4: .max)
}

extension sockaddr_in {
  fileprivate init(_ port: HostPort) {
    self.init()
    sin_family = sa_family_t(AF_INET)
    sin_port = port.port.bigEndian
    sin_addr.s_addr = UInt32(truncatingIfNeeded: port.address.low).bigEndian
  }
}

extension sockaddr_in6 {
  fileprivate init(_ port: HostPort) {
    self.init()
    sin6_family = sa_family_t(AF_INET6)
    sin6_port = port.port.bigEndian
    withUnsafeMutableBytes(of: &sin6_addr) { $0.copyBytes(from: port.address.bytes) }
  }
}
