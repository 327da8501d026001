import Feed
import Glibc
import PortMaps
import TestSupport
import Testing

/// ufw and firewalld themselves beside the agent: what `Docs/operations.md` says of them.
@Suite(.serialized, .timeLimit(.minutes(5))) struct FirewallTests {
  @Test(arguments: [false, true])
  func ufwHasToLetContainersThrough(bridgeNetfilter: Bool) async throws {
    let (topology, agent) = try await published(bridgeNetfilter: bridgeNetfilter)
    let ufw = try Firewall(in: topology.host.namespace, Self.ufw)
    try await ufw.command("ufw allow \(Topology.hostPort)")
    let tables = try await installed(topology)
    try await ufw.command("ufw --force enable")
    try await expect(
      topology, remote: false, outgoing: false, routed: false, neighbours: bridgeNetfilter ? [] : AddressFamily.allCases
    )

    for family in AddressFamily.allCases {
      try await ufw.command("ufw route allow proto tcp to \(topology.web.address(family)) port \(Topology.port)")
    }
    // With br_netfilter the port is open to the neighbour too, but over IPv6 it cannot ask who has the address.
    let neighbours = bridgeNetfilter ? [.ipv4] : AddressFamily.allCases
    try await expect(topology, remote: true, outgoing: false, routed: false, neighbours: neighbours)
    for bridge in [Plan.bridge, BridgeNetwork.back.bridge] {
      try await ufw.command("ufw route allow in on \(bridge)")
    }
    for family in AddressFamily.allCases {
      try await ufw.command("ufw route allow proto tcp to \(topology.other.address(family)) port \(Topology.port)")
    }
    try await expect(topology, remote: true, outgoing: true, routed: true, neighbours: AddressFamily.allCases)
    try await ufw.command("ufw reload")
    try await expect(topology, remote: true, outgoing: true, routed: true, neighbours: AddressFamily.allCases)
    try await ufw.command("ufw --force disable")
    try await expect(topology, remote: true, outgoing: true, routed: true, neighbours: AddressFamily.allCases)
    expectSameLines(try await installed(topology), tables)
    #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))
  }

  @Test(arguments: [false, true])
  func firewalldAcceptsWhatWasTranslated(bridgeNetfilter: Bool) async throws {
    let (topology, agent) = try await published(bridgeNetfilter: bridgeNetfilter)
    let tables = try await installed(topology)
    let firewalld = try Firewall(in: topology.host.namespace, Self.firewalld)
    for transport in ["tcp", "udp"] {
      try await firewalld.command("firewall-cmd --permanent --add-port=\(Topology.hostPort)/\(transport)")
    }
    try await firewalld.command("firewall-cmd --reload")
    try await expect(
      topology, remote: true, outgoing: false, routed: false, neighbours: bridgeNetfilter ? [] : AddressFamily.allCases)

    for bridge in [Plan.bridge, BridgeNetwork.back.bridge] {
      try await firewalld.command("firewall-cmd --permanent --zone=trusted --add-interface=\(bridge)")
    }
    try await firewalld.command("firewall-cmd --reload")
    try await expect(topology, remote: true, outgoing: true, routed: false, neighbours: AddressFamily.allCases)
    for options in [
      "--new-policy=containers", "--policy=containers --add-ingress-zone=ANY",
      "--policy=containers --add-egress-zone=trusted", "--policy=containers --set-target=ACCEPT",
    ] {
      try await firewalld.command("firewall-cmd --permanent \(options)")
    }
    try await firewalld.command("firewall-cmd --complete-reload")
    try await expect(topology, remote: true, outgoing: true, routed: true, neighbours: AddressFamily.allCases)
    expectSameLines(try await installed(topology), tables)
    #expect(try agent.succeed(#"{"query":"status"}"#)["in_sync"] == .bool(true))
  }

  // MARK: Who reaches what

  private func published(bridgeNetfilter: Bool) async throws -> (Topology, AgentProgram) {
    let topology = try await Topology(bridgeNetfilter: bridgeNetfilter)
    let agent = try AgentProgram(in: topology.host.namespace, configuration: "owner = false")
    try agent.create(.web)
    try agent.start(topology.web, publish: ["8080:80"])
    try agent.create(.back, options: ["gateway_mode_ipv4": "routed", "gateway_mode_ipv6": "routed"])
    try agent.start(topology.other, on: .back, publish: ["80"])
    return (topology, agent)
  }

  private func installed(_ topology: Topology) async throws -> String {
    var text = ""
    for family in ["inet", "ip6"] {
      text += try await topology.host.namespace.command("nft", "-s", "list", "table", family, "pmagent")
    }
    return text
  }

  private func expect(
    _ topology: Topology, remote: Bool, outgoing: Bool, routed: Bool, neighbours: [AddressFamily],
    at location: SourceLocation = #_sourceLocation
  ) async throws {
    let (host, web, neighbour) = (topology.host, topology.web, topology.neighbour)
    // A firewall that drops neighbour solicitations leaves failed entries, which would answer for a while after it has opened.
    for node in [web, neighbour] { try await node.namespace.command("ip", "neighbour", "flush", "dev", "eth0") }
    var cells: [(Question, Bool)] = []
    let add = { (from: Node, address: IPAddress, port: UInt16, isOpen: Bool) in
      cells.append((Question(from, Target(.tcp, address, port), mustAnswer: isOpen), isOpen))
    }
    for family in AddressFamily.allCases {
      // The controls.
      add(topology.remote, host.address(family), Topology.hostPort, true)
      add(web, BridgeNetwork.web.gateway(family), Topology.hostPort, true)
      add(host, host.address(family), 8080, true)
      add(host, family == .ipv4 ? "127.0.0.1" : "::1", 8080, true)
      add(host, web.address(family), Topology.port, true)
      add(topology.remote, host.address(family), 8080, remote)
      add(web, topology.remote.address(family), Topology.port, outgoing)
      add(topology.routed, topology.other.address(family), Topology.port, routed)
      add(neighbour, web.address(family), Topology.port, neighbours.contains(family))
    }
    for ((question, isOpen), answer) in zip(cells, try ask(cells.map(\.0))) {
      #expect(
        (answer.text != nil) == isOpen, "\(question.from) → \(question.target): \(answer)", sourceLocation: location)
    }
  }

  // MARK: Programs

  /// Both keep their files in directories that only they see.
  private static let directories = """
    set -e
    mount -t tmpfs tmpfs /mnt
    mount -t tmpfs tmpfs /run
    for directory in /etc/ufw /etc/default /etc/firewalld; do
      mkdir -p /mnt$directory
      cp -a $directory/. /mnt$directory
      mount --bind /mnt$directory $directory
    done

    """

  private static let ufw = directories

  /// On a bus of its own, under the address of the system bus.
  private static let firewalld =
    directories + """
      mkdir /run/dbus
      mkfifo /run/bus
      dbus-daemon --session --nofork --nopidfile --address=unix:path=/run/dbus/system_bus_socket --print-address > /run/bus &
      read address < /run/bus
      firewalld --nofork --nopid --log-target console > /run/log 2>&1 &
      until firewall-cmd --state > /run/state 2>&1; do kill -0 $! || { cat /run/log >&2; exit 1; }; done

      """
}

/// A firewall program with mounts of its own in a network namespace; it ends with this object.
private final class Firewall {
  private let namespace: NetworkNamespace
  private let process: pid_t
  /// Its standard input and output; it waits for more of the former.
  private let console: Descriptor

  /// Runs `setup`, a shell script, and keeps the mounts and programs that it has made.
  init(in namespace: NetworkNamespace, _ setup: String) throws {
    self.namespace = namespace
    var ends: [CInt] = [-1, -1]
    guard socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue) | O_CLOEXEC, 0, &ends) == 0 else { throw SystemError("pair") }
    console = try Descriptor(ends[0], "pair")
    process = try Self.spawn(
      ["unshare", "--mount", "--propagation", "private", "sh", "-c", setup + "echo ready; exec cat"], in: namespace,
      console: try Descriptor(ends[1], "pair"))
    var answer = [UInt8](repeating: 0, count: 64)
    guard Glibc.read(console.number, &answer, answer.count) > 0, answer.starts(with: "ready".utf8) else {
      throw NetworkNamespace.Failure(description: "the firewall did not start")
    }
  }

  /// As a group of its own, which `deinit` ends.
  private static func spawn(_ arguments: [String], in namespace: NetworkNamespace, console: Descriptor) throws -> pid_t
  {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for standard: CInt in [0, 1] { posix_spawn_file_actions_adddup2(&actions, console.number, standard) }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
    let words = arguments.map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var pid = pid_t()
    let status = namespace.run { posix_spawnp(&pid, arguments[0], &actions, &attributes, words, environ) }
    guard status == 0 else { throw NetworkNamespace.Failure(description: "spawn \(arguments[0]): error \(status)") }
    return pid
  }

  deinit {
    kill(-process, SIGKILL)
    waitpid(process, nil, 0)
  }

  /// `line`: words with blanks between them.
  func command(_ line: String) async throws {
    try await namespace.command(
      ["nsenter", "--mount=/proc/\(process)/ns/mnt"] + line.split(separator: " ").map(String.init))
  }
}
