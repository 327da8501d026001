#!/usr/bin/env bash
# A shell on a small container host, to try things out: two bridges, four containers, a remote client, no agent yet.
#
# usage: lab.sh        (root)
#
# Everything lives in namespaces of the shell (network, mount, pid) and ends with it.
#
#   client  192.0.2.2   2001:db8:99::2   remote; the host is 192.0.2.1, 2001:db8:99::1
#   web     172.20.0.2  2001:db8:20::2   on br-front
#   dns     172.20.0.3  2001:db8:20::3   on br-front
#   api     172.21.0.2  2001:db8:21::2   on br-back
#   db      172.22.0.2                   on br-db
#
# Each of them answers on tcp port 80 with its name and the address that asks: ip netns exec client socat -u TCP:172.20.0.2:80 -
set -euo pipefail
set -- "$(realpath "$0")"

if [ "${PMAGENT_LAB:-}" != inside ]; then
  [ "$(id -u)" = 0 ] || { echo "lab: needs root, to make network namespaces: sudo $0" >&2; exit 1; }
  PMAGENT_LAB=inside exec unshare --net --mount --pid --fork --kill-child --mount-proc "$1"
fi
unset PMAGENT_LAB

for directory in /run /var/lib /etc/pmagent; do
  [ ! -d $directory ] || mount -t tmpfs tmpfs $directory
done
mkdir -p /run/netns /run/lab

add_bridge() { # NAME ADDRESS...
  ip link add "$1" type bridge
  ip link set "$1" up
  for address in "${@:2}"; do ip address add "$address" dev "$1" $([[ $address != *:* ]] || echo nodad); done
}
add_node() { # NAME BRIDGE-OR-"" GATEWAYS ADDRESS...
  local name=$1 bridge=$2 gateways=$3; shift 3
  ip netns add "$name"
  ip link add "v-$name" type veth peer name eth0 netns "$name"
  # A container may ask its own published port; with br_netfilter that needs hairpin mode, which runtimes set.
  [ -z "$bridge" ] || { ip link set "v-$name" master "$bridge"; bridge link set dev "v-$name" hairpin on; }
  ip link set "v-$name" up
  ip -n "$name" link set lo up
  ip -n "$name" link set eth0 up
  for address in "$@"; do
    ip -n "$name" address add "$address" dev eth0 $([[ $address != *:* ]] || echo nodad)
  done
  for gateway in $gateways; do ip -n "$name" route add default via "$gateway"; done
}
serve() { # NAME SOCAT-ADDRESS
  local answer="$1 saw \$SOCAT_PEERADDR" log=/run/lab/$1.$2
  ip netns exec "$1" socat -dd "$2,reuseaddr,fork" SYSTEM:"echo $answer" 2> "$log" < /dev/null &
  grep -qm1 listening <(tail -qF -n +1 "$log" 2> /dev/null)
}

ip link set lo up
add_bridge br-front 172.20.0.1/24 2001:db8:20::1/64
add_bridge br-back 172.21.0.1/24 2001:db8:21::1/64
add_bridge br-db 172.22.0.1/24
add_node client "" "192.0.2.1 2001:db8:99::1" 192.0.2.2/24 2001:db8:99::2/64
ip address add 192.0.2.1/24 dev v-client
ip address add 2001:db8:99::1/64 dev v-client nodad
add_node web br-front "172.20.0.1 2001:db8:20::1" 172.20.0.2/24 2001:db8:20::2/64
add_node dns br-front "172.20.0.1 2001:db8:20::1" 172.20.0.3/24 2001:db8:20::3/64
add_node api br-back "172.21.0.1 2001:db8:21::1" 172.21.0.2/24 2001:db8:21::2/64
add_node db br-db 172.22.0.1 172.22.0.2/24
for name in client web dns api db; do
  serve $name TCP4-LISTEN:80
  serve $name TCP6-LISTEN:80,ipv6only=1
done

# Without an installed pmagent, the one that was built here.
export PATH=$PATH:${1%/contrib/lab/lab.sh}/.build/release
exec bash
