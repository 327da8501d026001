import PortMaps

// The addresses of all tests, from the documentation ranges of RFC 5737 and RFC 3849 where they stand for the outside.
//
//   host        192.0.2.1    2001:db8::1          the machine that publishes
//   clients     198.51.100.0/24                   remote sources
//   br-web      172.18.0.0/16  2001:db8:18::/64   a bridge network; its container has host part 2

package enum Plan {
  package static let host4: IPAddress = "192.0.2.1"
  package static let host6: IPAddress = "2001:db8::1"
  package static let clients4: IPPrefix = "198.51.100.0/24"
  package static let clients6: IPPrefix = "2001:db8:100::/48"
  package static let subnet4: IPPrefix = "172.18.0.0/16"
  package static let subnet6: IPPrefix = "2001:db8:18::/64"
  package static let container4: IPAddress = "172.18.0.2"
  package static let container6: IPAddress = "2001:db8:18::2"
  package static let bridge = "br-web"
}
