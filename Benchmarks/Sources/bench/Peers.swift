import Foundation

/// How others publish ports, on the same work: each has 10,000 mappings when it is measured. The rules are ours, made after
/// what these programs install.
struct Peer {
  var name: String
  var title: String
  /// Installs `mappings` at once.
  var install: (TestHost, [Mapping]) throws -> Void
  /// The command that adds one more, and whatever it reads.
  var add: (Mapping) throws -> String
  /// Mappings it is measured beside.
  var count = 10_000

  struct Mapping {
    var number: Int
    var port: Int { 10_000 + number }
    var address: String { "10.1.\(number / 250).\(number % 250 + 2)" }
    /// The one that packets are sent through: the last.
    static let measured = (port: TestHost.port, address: TestHost.container)
  }

  static func all(_ tools: Tools) -> [Peer] {
    ["nft", "legacy"].map { iptables($0) } + [
      nft("nft-linear", linear), nft("verdict-maps", verdictMaps), proxy(tools),
    ]
  }

  // MARK: iptables, as Docker until 28: three rules a mapping, three programs started for them

  private static func iptables(_ kind: String) -> Peer {
    Peer(
      name: "iptables-\(kind)", title: "iptables-\(kind), three rules a mapping",
      install: { host, mappings in
        let all = mappings.map { rules($0.port, $0.address) } + [rules(Mapping.measured.port, Mapping.measured.address)]
        let text =
          "*nat\n:DOCKER - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n"
          + all.map { "\($0.translation)\n\($0.masquerade)\n" }.joined()
          + "COMMIT\n*filter\n:DOCKER - [0:0]\n-A FORWARD -o br-bench -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
          + "-A FORWARD -o br-bench -j DOCKER\n" + all.map { "\($0.accept)\n" }.joined() + "COMMIT\n"
        try run("ip", "netns", "exec", host.namespace, "iptables-\(kind)-restore", input: text)
      },
      add: { mapping in
        let rules = rules(mapping.port, mapping.address)
        let program = "iptables-\(kind) --wait"
        return
          "\(program) -t nat \(rules.translation) ; \(program) -t nat \(rules.masquerade) ; \(program) \(rules.accept)"
      })
  }

  private static func rules(_ port: Int, _ address: String) -> (translation: String, masquerade: String, accept: String)
  {
    (
      "-A DOCKER ! -i br-bench -p tcp -m tcp --dport \(port) -j DNAT --to-destination \(address):80",
      "-A POSTROUTING -s \(address)/32 -d \(address)/32 -p tcp -m tcp --dport 80 -j MASQUERADE",
      "-A DOCKER -d \(address)/32 ! -i br-bench -o br-bench -p tcp -m tcp --dport 80 -j ACCEPT"
    )
  }

  // MARK: nftables by nft(8)

  private struct Design: Sendable {
    var title: String
    /// What does not depend on the mappings.
    var frame: String
    /// What a host port and a container address add.
    var one: @Sendable (Int, String) -> String
  }

  private static func nft(_ name: String, _ design: Design) -> Peer {
    Peer(
      name: name, title: design.title,
      install: { host, mappings in
        let all = mappings.map { ($0.port, $0.address) } + [Mapping.measured]
        try host.nft(design.frame + all.map { design.one($0.0, $0.1) }.joined())
      },
      add: { mapping in
        let path = "/run/bench/nft-\(mapping.number)"
        try design.one(mapping.port, mapping.address).write(toFile: path, atomically: false, encoding: .utf8)
        return "nft -f \(path)"
      })
  }

  /// As Docker 29: a rule a port.
  private static let linear = Design(
    title: "nftables, a rule a port, by nft(8)",
    frame: """
      table ip peer {
        chain ports { }
        chain forward_in { }
        chain prerouting { type nat hook prerouting priority -100; fib daddr type local jump ports; }
        chain forward {
          type filter hook forward priority 0;
          ct state established,related accept
          oifname "br-bench" jump forward_in
          oifname "br-bench" drop
        }
      }

      """,
    one: { (port: Int, address: String) in
      """
      add rule ip peer ports iifname != "br-bench" tcp dport \(port) counter dnat to \(address):80
      add rule ip peer forward_in ip daddr \(address) tcp dport 80 counter accept

      """
    }
  )

  /// As kube-proxy's nftables mode: a port leads to a chain by a verdict map, which leads to a chain of its endpoint.
  private static let verdictMaps = Design(
    title: "nftables, chains behind a verdict map, by nft(8)",
    frame: """
      table ip peer {
        map ports { type inet_proto . inet_service : verdict; }
        chain services { meta l4proto . th dport vmap @ports; }
        chain prerouting { type nat hook prerouting priority -100; fib daddr type local jump services; }
      }

      """,
    one: { (port: Int, address: String) in
      """
      add chain ip peer endpoint_\(port)
      add rule ip peer endpoint_\(port) meta l4proto tcp dnat to \(address):80
      add chain ip peer service_\(port)
      add rule ip peer service_\(port) numgen random mod 1 vmap { 0 : goto endpoint_\(port) }
      add element ip peer ports { tcp . \(port) : goto service_\(port) }

      """
    }
  )

  // MARK: A process a port

  /// A hundred are enough to tell what one costs, which does not depend on their number.
  private static func proxy(_ tools: Tools) -> Peer {
    let real = ["/usr/bin/docker-proxy", "/usr/sbin/docker-proxy", "/usr/libexec/docker/docker-proxy"]
      .first { FileManager.default.isExecutableFile(atPath: $0) }
    return Peer(
      name: "proxy", title: "a userland proxy, a process a port: \(real == nil ? "ours, in C" : "docker-proxy")",
      install: { host, _ in
        let measured = Mapping.measured
        try run("ip", "netns", "exec", host.namespace, tools.floor, "proxy", "\(measured.port)", measured.address, "80")
      },
      add: { "\(tools.floor) proxy \($0.port) \($0.address) 80 \(real ?? "")" }, count: 100)
  }
}
