import CNetfilter
import Glibc
import PortMaps

/// Another program has changed our table.
package struct ForeignChange: Sendable, Equatable {
  /// In the initial PID namespace; 0 when the kernel does not say.
  package var pid: UInt32
  /// `comm` of proc(5): up to 15 bytes of the program's name.
  package var command: String
}

/// Reads what nf_tables tells of transactions in this network namespace (NFNLGRP_NFTABLES): for each the objects and elements
/// it changed, then NFT_MSG_NEWGEN, which says who did it.
///
/// The kernel builds these messages only while somebody listens, and then for everybody's transactions: an agent whose table
/// is owned has nothing to listen for.
package struct RulesetNotices {
  private var touched = false

  package init() {}

  /// A socket to read from, in the network namespace of the calling thread. Messages come whole, up to 64 KiB; ENOBUFS means
  /// that some were lost.
  package static func openSocket() throws(KernelError) -> Int32 {
    let socket = Glibc.socket(
      AF_NETLINK, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue),
      NETLINK_NETFILTER)
    guard socket >= 0 else { throw .system(operation: "open a netlink socket", errno: errno) }
    var address = sockaddr_nl()
    address.nl_family = sa_family_t(AF_NETLINK)
    address.nl_groups = 1 << (NFNLGRP_NFTABLES.rawValue - 1)
    let status = withUnsafeBytes(of: address) { bytes in
      bind(socket, bytes.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t(bytes.count))
    }
    // A transaction of 10,000 elements is 4 MB of messages.
    var size: Int32 = 32 << 20
    guard status == 0,
      setsockopt(socket, SOL_SOCKET, SO_RCVBUFFORCE, &size, socklen_t(MemoryLayout<Int32>.size)) == 0
    else {
      let number = errno
      close(socket)
      throw .system(operation: "listen to nf_tables", errno: number)
    }
    return socket
  }

  /// Takes in what one read returned, and calls `onChange` for each transaction of another socket than `portID` that touched
  /// our tables. Messages about other tables cost the look at their first attribute.
  package mutating func add(_ bytes: UnsafeRawBufferPointer, own portID: UInt32, _ onChange: (ForeignChange) -> Void) {
    var rest = bytes[...]
    while let message = Message(rest) {
      if message.type == nfTablesType(NFT_MSG_NEWGEN) {
        if touched { onChange(ForeignChange(message.attributes)) }
        touched = false
      } else if message.portID != portID, message.isAboutOurTable {
        touched = true
      }
      rest = rest.dropFirst((message.bytes.count + 3) & ~3)
    }
  }
}

extension ForeignChange {
  fileprivate init(_ attributes: Attributes) {
    self.init(
      pid: attributes[NFTA_GEN_PROC_PID].map { UInt32($0.big) } ?? 0,
      command: attributes[NFTA_GEN_PROC_NAME].flatMap(\.string) ?? "")
  }
}

extension Message {
  /// The table's name is attribute 1 of every message of nf_tables but NEWGEN, and its family is that of `struct nfgenmsg`.
  fileprivate var isAboutOurTable: Bool {
    guard type >> 8 == UInt16(NFNL_SUBSYS_NFTABLES), bytes.count > Self.headerSize,
      [UInt8(NFPROTO_INET), UInt8(NFPROTO_IPV6)].contains(bytes[bytes.startIndex + Self.headerSize])
    else { return false }
    return attributes[NFTA_TABLE_NAME].map { $0.dropLast().elementsEqual(Skeleton.table.utf8) } ?? false
  }
}
