import CNetfilter
import Glibc
import PortMaps

// Ends tracked flows (ctnetlink): a dump, then one delete for each flow that matches, by its original tuple and its id, so that
// a flow that took over the tuple meanwhile is left alone. An id is made of the flow's address in the kernel's memory and its
// tuple (nf_ct_get_id), so only one that also lies where the old one lay is taken for it.
//
// Each dump walks through the kernel's whole hash table, empty buckets too, which takes 5 ms where there are 262,144 of them: run
// it off the reply path. Few flows are dumped all at once. Of many the kernel is asked for some: by protocol and, where only one
// port is wanted, by port, in a dump for each family, as it filters for one at a time.

/// The connection tracking table of the calling thread's network namespace.
package struct Conntrack: ~Copyable {
  private let socket: OpaquePointer

  deinit { mnl_socket_close(socket) }

  private init(_ socket: OpaquePointer) { self.socket = socket }

  /// Fails with `system` where the kernel lacks connection tracking, which then has no flows to end either.
  package static func open() throws(KernelError) -> Conntrack {
    guard let socket = mnl_socket_open2(NETLINK_NETFILTER, Int32(SOCK_CLOEXEC.rawValue)) else {
      throw .system(operation: "open a conntrack socket", errno: errno)
    }
    guard mnl_socket_bind(socket, 0, 0) >= 0 else {
      let number = errno
      mnl_socket_close(socket)
      throw .system(operation: "bind a conntrack socket", errno: number)
    }
    return Conntrack(socket)
  }

  /// Ends every flow that is one of `stale`; returns how many there were.
  ///
  /// - Parameter isLocal: Whether an address is one of this host.
  package func end(_ stale: [StaleFlows], isLocal: (IPAddress) -> Bool) throws(KernelError) -> Int {
    let count = try self.count()
    if count == 0 { return 0 }
    var ended = 0
    for (filter, stale) in count <= Self.few ? [(nil, stale)] : Self.filters(for: stale) {
      let flows = try dump(filter) { transport, destination, source in
        stale.contains { $0.contains(transport, destination: destination, source: source, isLocal: isLocal) }
      }
      for flow in flows where try delete(flow) { ended += 1 }
    }
    return ended
  }

  /// As many as are dumped in the time of another walk, 2 µs each.
  private static let few: UInt32 = 1000

  private static func filters(for stale: [StaleFlows]) -> [(Filter?, [StaleFlows])] {
    Dictionary(grouping: stale) { Filter(transport: $0.transport, family: $0.hostAddress.family) }.map {
      filter, stale in
      var filter = filter
      if stale.count == 1, stale[0].hostPorts.isSingle { filter.port = stale[0].hostPorts.first }
      return (filter, stale)
    }
  }

  struct Filter: Hashable {
    var transport: TransportProtocol
    var family: AddressFamily
    /// Original destination port; `nil` = any.
    var port: UInt16?
  }

  typealias Side = (address: IPAddress, port: UInt16)

  /// A flow as libnetfilter_conntrack has it.
  final class Flow {
    let pointer: OpaquePointer
    init?() {
      guard let pointer = nfct_new() else { return nil }
      self.pointer = pointer
    }
    deinit { nfct_destroy(pointer) }

    var family: AddressFamily { nfct_get_attr_u8(pointer, ATTR_ORIG_L3PROTO) == AF_INET ? .ipv4 : .ipv6 }
    var transport: TransportProtocol? { TransportProtocol(rawValue: nfct_get_attr_u8(pointer, ATTR_ORIG_L4PROTO)) }

    func side(_ ipv4: nf_conntrack_attr, _ ipv6: nf_conntrack_attr, _ port: nf_conntrack_attr) -> Side? {
      let attribute = family == .ipv4 ? ipv4 : ipv6
      guard nfct_attr_is_set(pointer, attribute) > 0, nfct_attr_is_set(pointer, port) > 0,
        let bytes = nfct_get_attr(pointer, attribute),
        let address = IPAddress(
          bytes: UnsafeRawBufferPointer(start: bytes, count: family == .ipv4 ? 4 : 16))
      else { return nil }
      return (address, UInt16(bigEndian: nfct_get_attr_u16(pointer, port)))
    }
  }

  // MARK: Messages

  /// How many flows there are.
  private func count() throws(KernelError) -> UInt32 {
    try withMessage(IPCTNL_MSG_CT_GET_STATS, NLM_F_ACK, nil) { _ in
    } receive: { (answer) throws(KernelError) in
      var count: UInt32?
      try answer.forEach("count the tracked flows") { message in
        let (header, attributeSize) = (MemoryLayout<nfgenmsg>.size, MemoryLayout<nlattr>.size + 4)
        guard mnl_nlmsg_get_payload_len(message) >= header + attributeSize,
          let first = mnl_nlmsg_get_payload_offset(message, header)?.assumingMemoryBound(to: nlattr.self),
          mnl_attr_get_type(first) == CTA_STATS_GLOBAL_ENTRIES.rawValue
        else { return }
        count = UInt32(bigEndian: mnl_attr_get_u32(first))
      }
      // A kernel that does not say has as many as there may be.
      return count ?? .max
    }
  }

  //  nlmsghdr | nfgenmsg | CTA_TUPLE_ORIG { CTA_TUPLE_PROTO { CTA_PROTO_NUM, CTA_PROTO_DST_PORT } } | CTA_FILTER { flags }
  func dump(
    _ filter: Filter?, _ wanted: (TransportProtocol, Side, Side) -> Bool
  ) throws(KernelError) -> [Flow] {
    let operation = "read the tracked \(filter.map { "\($0.transport) " } ?? "")flows"
    return try withMessage(IPCTNL_MSG_CT_GET, NLM_F_DUMP, filter?.family) { message in
      guard let filter else { return }
      // CTA_FILTER_F_CTA_PROTO_NUM and …_DST_PORT of net/netfilter/nf_internals.h. Kernels before 5.8 ignore the filter.
      var flags: UInt32 = 1 << 3
      let tuple = mnl_attr_nest_start(message, UInt16(CTA_TUPLE_ORIG.rawValue))
      let proto = mnl_attr_nest_start(message, UInt16(CTA_TUPLE_PROTO.rawValue))
      mnl_attr_put_u8(message, UInt16(CTA_PROTO_NUM.rawValue), filter.transport.rawValue)
      if let port = filter.port {
        flags |= 1 << 5
        mnl_attr_put_u16(message, UInt16(CTA_PROTO_DST_PORT.rawValue), port.bigEndian)
      }
      mnl_attr_nest_end(message, proto)
      mnl_attr_nest_end(message, tuple)
      let nest = mnl_attr_nest_start(message, UInt16(CTA_FILTER.rawValue))
      mnl_attr_put_u32(message, UInt16(CTA_FILTER_ORIG_FLAGS.rawValue), flags)
      mnl_attr_nest_end(message, nest)
    } receive: { (answer) throws(KernelError) in
      var flows: [Flow] = []
      try answer.forEach(operation) { message in
        guard let flow = Flow(), nfct_nlmsg_parse(message, flow.pointer) >= 0, let transport = flow.transport,
          let destination = flow.side(ATTR_ORIG_IPV4_DST, ATTR_ORIG_IPV6_DST, ATTR_ORIG_PORT_DST),
          let source = flow.side(ATTR_REPL_IPV4_SRC, ATTR_REPL_IPV6_SRC, ATTR_REPL_PORT_SRC),
          wanted(transport, destination, source)
        else { return }
        flows.append(flow)
      }
      return flows
    }
  }

  /// Returns false when it had ended by itself.
  func delete(_ flow: Flow) throws(KernelError) -> Bool {
    let operation = "end a tracked flow"
    return try withMessage(IPCTNL_MSG_CT_DELETE, NLM_F_ACK, flow.family) { (message) throws(KernelError) in
      // Without its tuple the message would end every flow there is.
      guard nfct_nlmsg_build(message, flow.pointer) >= 0 else { throw .system(operation: operation, errno: EINVAL) }
      // Which that leaves out. The kernel compares the bytes it has told, which libnetfilter_conntrack has swapped.
      mnl_attr_put_u32(message, UInt16(CTA_ID.rawValue), nfct_get_attr_u32(flow.pointer, ATTR_ID).bigEndian)
    } receive: { (answer) throws(KernelError) in
      do throws(KernelError) {
        try answer.forEach(operation) { _ in }
        return true
      } catch {
        if case .system(_, let number) = error, number == ENOENT { return false }
        throw error
      }
    }
  }

  /// What the kernel answers to one message.
  private struct Answer {
    let socket: OpaquePointer
    let sequence: UInt32

    /// Calls `body` with each message of a dump, until the last or an acknowledgement.
    func forEach(_ operation: String, _ body: (UnsafePointer<nlmsghdr>) -> Void) throws(KernelError) {
      var buffer = [UInt8](repeating: 0, count: 65536)
      while true {
        let count = mnl_socket_recvfrom(socket, &buffer, buffer.count)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { throw .system(operation: operation, errno: errno) }
        if try consume(buffer, count, operation, body) { return }
      }
    }

    /// Returns whether the answer is complete.
    private func consume(
      _ buffer: [UInt8], _ count: Int, _ operation: String, _ body: (UnsafePointer<nlmsghdr>) -> Void
    ) throws(KernelError) -> Bool {
      var failure: Int32 = 0
      let isComplete = buffer.withUnsafeBytes { bytes in
        var rest = Int32(count)
        var next = bytes.baseAddress?.assumingMemoryBound(to: nlmsghdr.self)
        while let message = next, mnl_nlmsg_ok(message, rest) {
          if message.pointee.nlmsg_seq == sequence {
            switch Int32(message.pointee.nlmsg_type) {
            case NLMSG_DONE: return true
            case NLMSG_ERROR:
              failure = -UnsafeRawPointer(message).loadUnaligned(
                fromByteOffset: MemoryLayout<nlmsghdr>.size, as: Int32.self)
              return true
            default: body(message)
            }
          }
          next = UnsafePointer(mnl_nlmsg_next(message, &rest))
        }
        return false
      }
      guard failure == 0 else { throw .system(operation: operation, errno: failure) }
      return isComplete
    }
  }

  /// `family`: `nil` for both.
  private func withMessage<Value>(
    _ type: cntl_msg_types, _ flags: Int32, _ family: AddressFamily?,
    build: (UnsafeMutablePointer<nlmsghdr>) throws(KernelError) -> Void,
    receive: (Answer) throws(KernelError) -> Value
  ) throws(KernelError) -> Value {
    var buffer = [UInt8](repeating: 0, count: 8192)
    let sequence = UInt32.random(in: 1...UInt32.max)
    let sent = try buffer.withUnsafeMutableBytes { bytes in
      Result { () throws(KernelError) in
        // The buffer is not empty, so it has a base address; mnl_nlmsg_put_header needs nothing else.
        guard let base = bytes.baseAddress, let message = mnl_nlmsg_put_header(base) else { return -1 }
        message.pointee.nlmsg_type = UInt16(NFNL_SUBSYS_CTNETLINK) << 8 | UInt16(type.rawValue)
        message.pointee.nlmsg_flags = UInt16(NLM_F_REQUEST | flags)
        message.pointee.nlmsg_seq = sequence
        let header = mnl_nlmsg_put_extra_header(message, MemoryLayout<nfgenmsg>.size)
        header?.assumingMemoryBound(to: nfgenmsg.self).pointee.nfgen_family =
          UInt8(family.map { $0 == .ipv4 ? AF_INET : AF_INET6 } ?? AF_UNSPEC)
        try build(message)
        return mnl_socket_sendto(socket, message, Int(message.pointee.nlmsg_len))
      }
    }.get()
    guard sent >= 0 else { throw .system(operation: "send to conntrack", errno: errno) }
    return try receive(Answer(socket: socket, sequence: sequence))
  }
}
