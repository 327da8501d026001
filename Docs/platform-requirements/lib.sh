# Sourced by each script: namespaces of its own, and a small network in them.
#
#   remote 192.0.2.2 ─ 192.0.2.1 host 172.18.0.1, br0 ─ one 172.18.0.2, two 172.18.0.3
#   2001:db8::2        2001:db8::1    2001:db8:18::1       2001:db8:18::2  2001:db8:18::3
#
# The host is the namespace the script runs in. Everybody but the host answers on TCP port 80 with the address that asks.
set -eu

if [ "${PLATFORM_REQUIREMENTS-}" != inside ]; then
  PLATFORM_REQUIREMENTS=inside exec unshare --net --mount --propagation slave --pid --fork --kill-child sh "$0"
fi
mount -t tmpfs tmpfs /run
mkdir /run/netns
ip link set lo up

# NAME, BRIDGE or "", GATEWAYS, ADDRESSES: a namespace at the end of a wire
place() {
  name=$1 bridge=$2 gateway4=$3 gateway6=$4 four=$5 six=$6
  ip netns add "$name"
  ip link add "v-$name" type veth peer name eth0 netns "$name"
  ip -n "$name" link set lo up
  ip netns exec "$name" sysctl -qw net.ipv6.conf.eth0.accept_dad=0
  ip -n "$name" link set eth0 up
  ip -n "$name" address add "$four/24" dev eth0
  ip -n "$name" address add "$six/64" dev eth0 nodad
  if [ "$bridge" ]; then ip link set "v-$name" master "$bridge"; fi
  ip link set "v-$name" up
  ip -n "$name" route add default via "$gateway4"
  ip -n "$name" route add default via "$gateway6"
  ip netns exec "$name" socat TCP4-LISTEN:80,fork,reuseaddr 'SYSTEM:echo $SOCAT_PEERADDR' &
  ip netns exec "$name" socat TCP6-LISTEN:80,fork,reuseaddr,ipv6-v6only=1 'SYSTEM:echo $SOCAT_PEERADDR' &
}

# BR_NETFILTER (0 or 1): the network above
network() {
  sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
  ip link add br0 type bridge
  ip link set br0 up
  ip address add 172.18.0.1/24 dev br0
  ip address add 2001:db8:18::1/64 dev br0 nodad
  # Absent without the module, which then does not do what the sysctl would.
  for sysctl in iptables ip6tables; do
    if [ -e "/proc/sys/net/bridge/bridge-nf-call-$sysctl" ]; then sysctl -qw "net.bridge.bridge-nf-call-$sysctl=$1"; fi
  done
  place one br0 172.18.0.1 2001:db8:18::1 172.18.0.2 2001:db8:18::2
  place two br0 172.18.0.1 2001:db8:18::1 172.18.0.3 2001:db8:18::3
  place remote "" 192.0.2.1 2001:db8::1 192.0.2.2 2001:db8::2
  ip address add 192.0.2.1/24 dev v-remote
  ip address add 2001:db8::1/64 dev v-remote nodad
  for address in 172.18.0.2 172.18.0.3 192.0.2.2 '[2001:db8:18::2]' '[2001:db8:18::3]' '[2001:db8::2]'; do
    until ask "$address" 80; do :; done > /run/warm
  done
}

# ADDRESS PORT: what answers the host, or failure
ask() { socat -u "TCP:$1:$2,connect-timeout=1" - 2> /run/error; }
# NAME ADDRESS PORT: the same from a namespace
ask_from() { ip netns exec "$1" socat -u "TCP:$2:$3,connect-timeout=1" - 2> /run/error; }

fail() {
  echo "$0: $*" >&2
  exit 1
}
# The command must fail.
refused() {
  if "$@" > /run/output 2> /run/error; then fail "did not fail: $*"; fi
}
# TEXT COMMAND…: its output must contain the text.
says() {
  text=$1
  shift
  "$@" > /run/output || fail "failed: $*"
  grep -qF -- "$text" /run/output || fail "expected \"$text\" from $*, got: $(cat /run/output)"
}
