#!/bin/sh
# A udp flow that is tracked goes on past rules that are gone, until its entry is deleted.
. "$(dirname "$0")/lib.sh"
network 0
ip netns exec one socat UDP4-LISTEN:53 PIPE &
# The rule in forward keeps connection tracking on when the translation goes.
nft 'add table inet t; add chain inet t c { type nat hook prerouting priority -99; };
  add rule inet t c udp dport 53 dnat ip to 172.18.0.2;
  add chain inet t f { type filter hook forward priority 0; }; add rule inet t f ct state established accept'
ask_udp() {
  echo one | ip netns exec remote socat -t1 - UDP:192.0.2.1:53,bind=192.0.2.2:5353,reuseaddr 2> /run/error
}
until [ "$(ask_udp)" = one ]; do :; done
nft flush chain inet t c
[ "$(ask_udp)" = one ] || fail "the flow does not go on: $(cat /run/error)"
conntrack -D -p udp --orig-port-dst 53 > /run/output 2>&1
[ "$(ask_udp)" != one ] || fail "the flow goes on without its entry"
