#!/bin/sh
# ::1 of the host leads to a container: translation in output, masquerade of the source, and a local route for ::1 on the bridge lets the answers in.
. "$(dirname "$0")/lib.sh"
network 0
nft -f - << 'NFT'
table inet t {
	chain output { type nat hook output priority -99
		ip6 daddr ::1 tcp dport 8080 dnat ip6 to [2001:db8:18::2]:80
	}
	chain postrouting { type nat hook postrouting priority 101
		ip6 saddr ::1 oifname "br0" masquerade
	}
	chain answers { type filter hook prerouting priority -90
		iifname "br0" ip6 daddr ::1 ct status dnat meta mark set meta mark | 0x1000
	}
}
NFT
refused ask '[::1]' 8080
ip -6 route add local ::1/128 dev br0 table local metric 2048
says 2001: ask '[::1]' 8080
