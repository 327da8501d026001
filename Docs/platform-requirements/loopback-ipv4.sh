#!/bin/sh
# 127.0.0.1 of the host leads to a container: translation in output, route_localnet on the bridge, masquerade of the source.
. "$(dirname "$0")/lib.sh"
network 0
nft -f - << 'NFT'
table inet t {
	chain output { type nat hook output priority -99
		ip daddr 127.0.0.1 tcp dport 8080 dnat ip to 172.18.0.2:80
	}
	chain postrouting { type nat hook postrouting priority 101
		ip saddr 127.0.0.0/8 oifname "br0" masquerade
	}
}
NFT
refused ask 127.0.0.1 8080
sysctl -qw net.ipv4.conf.br0.route_localnet=1
says 172.18.0.1 ask 127.0.0.1 8080
