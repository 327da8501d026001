/// A host between a remote client and a container, each a namespace: `c-NAME` 192.0.2.2, `h-NAME` 192.0.2.1 and 10.0.0.1,
/// `s-NAME` 10.0.0.2 on the bridge `br-bench`.
struct TestHost {
  static let container = "10.0.0.2"
  static let port = 8080
  let name: String

  var namespace: String { "h-\(name)" }
  /// For the command `packets`; without translation the client asks the container itself.
  func path(translated: Bool = true) -> String {
    let (address, port) = translated ? ("192.0.2.1", Self.port) : (Self.container, 80)
    return "c-\(name),s-\(name),\(address),\(port),80,\(name)"
  }

  init(_ name: String, _ tools: Tools) throws {
    self.name = name
    let (client, host, server) = ("c-\(name)", "h-\(name)", "s-\(name)")
    for namespace in [client, host, server] { try tools.addNamespace(namespace) }
    let commands = """
      -n \(host) link add br-bench type bridge
      -n \(host) link set br-bench up
      -n \(host) address add 10.0.0.1/8 dev br-bench
      -n \(host) link add v-client type veth peer name eth0 netns \(client)
      -n \(host) address add 192.0.2.1/24 dev v-client
      -n \(host) link set v-client up
      -n \(host) link add v-server type veth peer name eth0 netns \(server)
      -n \(host) link set v-server master br-bench
      -n \(host) link set v-server up
      -n \(client) address add 192.0.2.2/24 dev eth0
      -n \(client) link set eth0 up
      -n \(client) route add default via 192.0.2.1
      -n \(server) address add \(Self.container)/8 dev eth0
      -n \(server) link set eth0 up
      -n \(server) route add default via 10.0.0.1
      """
    for line in commands.split(separator: "\n") { try run(["ip"] + line.split(separator: " ").map(String.init)) }
    try run("ip", "netns", "exec", host, "sysctl", "-qw", "net.ipv4.ip_forward=1")
  }

  func nft(_ rules: String) throws { try run("ip", "netns", "exec", namespace, "nft", "-f", "-", input: rules) }
}
