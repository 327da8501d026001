#!/bin/sh
# An accept ends its own base chain only, a drop in any chain of the hook is final.
. "$(dirname "$0")/lib.sh"
network 0
nft 'add table inet a; add chain inet a f { type filter hook forward priority -10; }; add rule inet a f accept'
says 192.0.2.2 ask_from remote 172.18.0.2 80
nft 'add table inet b; add chain inet b f { type filter hook forward priority 10; }; add rule inet b f ip daddr 172.18.0.2 drop'
refused ask_from remote 172.18.0.2 80
says 192.0.2.2 ask_from remote 172.18.0.3 80
