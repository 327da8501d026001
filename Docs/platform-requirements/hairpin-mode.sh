#!/bin/sh
# With br_netfilter a container reaches its own translated port only when its port of the bridge is in hairpin mode.
. "$(dirname "$0")/lib.sh"
network 1
nft -f - << 'NFT'
table inet t {
	chain prerouting { type nat hook prerouting priority -99
		ip daddr 172.18.0.1 tcp dport 8080 dnat ip to 172.18.0.2:80
	}
	chain postrouting { type nat hook postrouting priority 101
		ip saddr 172.18.0.0/24 ip daddr 172.18.0.0/24 ct status dnat masquerade
	}
}
NFT
says 172.18.0.1 ask_from two 172.18.0.1 8080
refused ask_from one 172.18.0.1 8080
bridge link set dev v-one hairpin on
says 172.18.0.1 ask_from one 172.18.0.1 8080
