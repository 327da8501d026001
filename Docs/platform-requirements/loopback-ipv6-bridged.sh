#!/bin/sh
# ::1 of the host leads to a container with br_netfilter too, which translates the answer while it is still being bridged.
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
}
NFT
refused ask '[::1]' 8080
nft -f - << 'NFT'
table ip6 t {
	chain prerouting { type filter hook prerouting priority -90
		ip6 daddr ::1 iifname != "lo" ct direction reply ct original ip6 saddr ::1 fib saddr . iif oif exists ip6 daddr set ct reply ip6 daddr
	}
}
NFT
refused ask '[::1]' 8080
nft -f - << 'NFT'
table ip6 t {
	chain input { type filter hook input priority 101
		ip6 daddr != ::1 ct direction reply ct original ip6 saddr ::1 ip6 daddr set ::1
	}
}
NFT
says 2001: ask '[::1]' 8080
