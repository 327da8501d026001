#!/bin/sh
# One rule a family translates by a map of address and port (IPv6: Linux 5.8); an element's counter counts new flows; forward
# knows by `ct status dnat` what was translated.
. "$(dirname "$0")/lib.sh"
network 0
nft -f - << 'NFT'
table inet t {
	map four { type inet_proto . inet_service : ipv4_addr . inet_service; counter; elements = { tcp . 8080 : 172.18.0.2 . 80 }
	}
	map six { type inet_proto . inet_service : ipv6_addr . inet_service; elements = { tcp . 8080 : 2001:db8:18::2 . 80 }
	}
	chain prerouting {
		type nat hook prerouting priority -99
		fib daddr type local meta nfproto ipv4 dnat ip to meta l4proto . th dport map @four
		fib daddr type local meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @six
	}
	chain forward {
		type filter hook forward priority 0
		oifname "br0" ct state new ct status & dnat == 0 drop
	}
}
NFT
says 192.0.2.2 ask_from remote 192.0.2.1 8080
says 192.0.2.2 ask_from remote 192.0.2.1 8080
says 2001: ask_from remote '[2001:db8::1]' 8080
says 'counter packets 2 ' nft list map inet t four
refused ask_from remote 172.18.0.2 80
