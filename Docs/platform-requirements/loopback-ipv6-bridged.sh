#!/bin/sh
# ::1 of the host leads to a container: translation in output, masquerade of the source, and with br_netfilter the answer has to be put on `lo` as well.
. "$(dirname "$0")/lib.sh"
network 1
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
refused ask '[::1]' 8080
nft -f - << 'NFT'
table netdev t {
	chain ingress { type filter hook ingress device "br0" priority -500
		ip6 daddr ::1 meta mark & 0x1000 != 0 ether daddr set 00:00:00:00:00:00 fwd to "lo"
	}
}
NFT
says 2001: ask '[::1]' 8080
