import PortMaps

// Who reaches whom, and which source address is seen there. Everything here follows from what the modes promise; the
// tests send packets and compare.
//
// A cell is `no`, or the source address that the server sees:
//   own      the client's
//   asked    the address that the client asked: the host talks to itself until its packet is translated
//   gw       the host's on the bridge of the container asked: hairpin or loopback source, or masquerade of another network
//   out      the host's on the interface the packet leaves by: masquerade
//   fixed    `host_ipv4`, `host_ipv6`
//   own/allow    own with `direct_routing = "allow"`, no with "deny"
//
// Columns are networks, each of another mode or option, all on one host:
//   nat          and `mixed`, not shown: IPv4 as here, IPv6 as in `routed`
//   fixed        `host_ipv4`, `host_ipv6` set
//   one-address, loopback   published on one address of the host, on 127.0.0.1 and ::1
//   trusted      `trusted_host_interfaces` names the interface to `remote-routed`
//
// From where: the host; the container itself; one on the same bridge; one of a network with mode nat, with mode routed;
// a remote host that has no route to containers, and one that has.

enum ReachabilityTable {
  static let columns = [
    "nat", "unprotected", "routed", "internal", "isolated", "icc-off", "no-masq", "fixed", "one-address", "loopback",
    "trusted",
  ]

  /// To a container of the column's network: a port published as it was asked for, or on its own address.
  static let inwards = rows(
    """
    from           to          port         nat     unprot  routed  intern  isolat  icc-off     no-masq fixed   one-addr loopb   trusted
    host           address     published    asked   asked   no      no      no      asked       asked   asked   asked    no      asked
    host           loopback    published    gw      gw      no      no      no      gw          gw      gw      no       gw      gw
    host           other       published    asked   asked   no      no      no      asked       asked   asked   no       no      asked
    host           gateway     published    asked   asked   no      no      no      asked       asked   asked   no       no      asked
    host           container   published    gw      gw      gw      gw      no      gw          gw      gw      gw       gw      gw
    host           container   unpublished  gw      gw      gw      gw      no      gw          gw      gw      gw       gw      gw
    host           container   icmp         gw      gw      gw      gw      no      gw          gw      gw      gw       gw      gw
    itself         address     published    gw      gw      no      no      no      gw          gw      gw      gw       no      gw
    itself         loopback    published    no      no      no      no      no      no          no      no      no       no      no
    itself         other       published    gw      gw      no      no      no      gw          gw      gw      no       no      gw
    itself         gateway     published    gw      gw      no      no      no      gw          gw      gw      no       no      gw
    itself         container   published    own     own     own     own     own     own         own     own     own      own     own
    itself         container   unpublished  own     own     own     own     own     own         own     own     own      own     own
    itself         container   icmp         own     own     own     own     own     own         own     own     own      own     own
    neighbour      address     published    gw      gw      no      no      no      gw          gw      gw      gw       no      gw
    neighbour      loopback    published    no      no      no      no      no      no          no      no      no       no      no
    neighbour      other       published    gw      gw      no      no      no      gw          gw      gw      no       no      gw
    neighbour      gateway     published    gw      gw      no      no      no      gw          gw      gw      no       no      gw
    neighbour      container   published    own     own     own     own     own     no          own     own     own      own     own
    neighbour      container   unpublished  own     own     own     own     own     no          own     own     own      own     own
    neighbour      container   icmp         own     own     own     own     own     no          own     own     own      own     own
    nat-net        address     published    gw      gw      no      no      no      gw          gw      gw      gw       no      gw
    nat-net        loopback    published    no      no      no      no      no      no          no      no      no       no      no
    nat-net        other       published    gw      gw      no      no      no      gw          gw      gw      no       no      gw
    nat-net        gateway     published    gw      gw      no      no      no      gw          gw      gw      no       no      gw
    nat-net        container   published    no      no      gw      no      no      no          no      no      no       no      no
    nat-net        container   unpublished  no      no      no      no      no      no          no      no      no       no      no
    nat-net        container   icmp         no      no      gw      no      no      no          no      no      no       no      no
    routed-net     address     published    own     own     no      no      no      own         own     own     own      no      own
    routed-net     loopback    published    no      no      no      no      no      no          no      no      no       no      no
    routed-net     other       published    own     own     no      no      no      own         own     own     no       no      own
    routed-net     gateway     published    own     own     no      no      no      own         own     own     no       no      own
    routed-net     container   published    no      no      own     no      no      no          no      no      no       no      no
    routed-net     container   unpublished  no      no      no      no      no      no          no      no      no       no      no
    routed-net     container   icmp         no      no      own     no      no      no          no      no      no       no      no
    remote         address     published    own     own     no      no      no      own         own     own     own      no      own
    remote         loopback    published    no      no      no      no      no      no          no      no      no       no      no
    remote         other       published    own     own     no      no      no      own         own     own     no       no      own
    remote         gateway     published    no      no      no      no      no      no          no      no      no       no      no
    remote         container   published    no      no      no      no      no      no          no      no      no       no      no
    remote         container   unpublished  no      no      no      no      no      no          no      no      no       no      no
    remote         container   icmp         no      no      no      no      no      no          no      no      no       no      no
    remote-routed  address     published    own     own     no      no      no      own         own     own     own      no      own
    remote-routed  loopback    published    no      no      no      no      no      no          no      no      no       no      no
    remote-routed  other       published    own     own     no      no      no      own         own     own     no       no      own
    remote-routed  gateway     published    own     own     no      no      no      own         own     own     no       no      own
    remote-routed  container   published  own/allow own     own     no      no      own/allow own/allow own/allow own/allow no   own
    remote-routed  container   unpublished  no      own     no      no      no      no          no      no      no       no      no
    remote-routed  container   icmp         no      own     own     no      no      no          no      no      no       no      no
    """)

  /// From a container of the column's network: to a remote host's open port, to a container with a published port, by
  /// the host's address or its own.
  static let outwards = rows(
    """
    to             by          port         nat     unprot  routed  intern  isolat  icc-off     no-masq fixed   one-addr loopb   trusted
    remote-routed  own         published    out     out     own     no      no      out         own     fixed   out      out     out
    remote         own         published    out     out     no      no      no      out         no      fixed   out      out     out
    nat-net        host        published    out     out     own     no      no      out         own     fixed   out      out     out
    nat-net        gateway     published    out     out     own     no      no      out         own     fixed   out      out     out
    nat-net        own         published    no      no      no      no      no      no          no      no      no       no      no
    routed-net     own         published    out     out     own     no      no      out         own     fixed   out      out     out
    routed-net     own         unpublished  no      no      no      no      no      no          no      no      no       no      no
    """)

  struct Row: Sendable {
    /// Where from and to, or to whom and by which of its addresses.
    let ends: (String, String)
    enum Port: String { case published, unpublished, icmp }
    let port: Port
    private let cells: [Substring]

    init(_ line: Substring) {
      let words = line.split(separator: " ")
      precondition(words.count == 3 + ReachabilityTable.columns.count, "wrong number of cells: \(line)")
      guard let port = Port(rawValue: String(words[2])) else { preconditionFailure("not a port: \(line)") }
      self.port = port
      ends = (String(words[0]), String(words[1]))
      cells = Array(words[3...])
    }

    func cell(_ column: String, _ family: AddressFamily) -> Substring {
      let shown = column == "mixed" ? (family == .ipv4 ? "nat" : "routed") : column
      return zip(ReachabilityTable.columns, cells).first { $0.0 == shown }?.1 ?? "?"
    }
  }

  private static func rows(_ table: String) -> [Row] { table.split(separator: "\n").dropFirst().map(Row.init) }
}
