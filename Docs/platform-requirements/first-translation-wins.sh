#!/bin/sh
# Of two nat chains the one with the lower priority translates, although the other was there first.
. "$(dirname "$0")/lib.sh"
network 0
ip netns exec two socat TCP4-LISTEN:81,fork,reuseaddr 'SYSTEM:echo two' &
until ask 172.18.0.3 81 > /run/warm; do :; done
nft 'add table inet late; add chain inet late c { type nat hook prerouting priority -99; };
  add rule inet late c tcp dport 8080 dnat ip to 172.18.0.2:80'
says 192.0.2.2 ask_from remote 192.0.2.1 8080
nft 'add table inet early; add chain inet early c { type nat hook prerouting priority -100; };
  add rule inet early c tcp dport 8080 dnat ip to 172.18.0.3:81'
says two ask_from remote 192.0.2.1 8080
