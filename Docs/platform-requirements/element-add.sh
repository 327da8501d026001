#!/bin/sh
# Adding an element whose key is there: the same data is no error and keeps the old comment, other data is EEXIST.
. "$(dirname "$0")/lib.sh"
nft -f - << 'NFT'
table inet t {
	map m { type inet_proto . inet_service : ipv4_addr . inet_service; elements = { tcp . 80 comment "first" : 10.0.0.1 . 80 }
	}
}
NFT
nft add element inet t m '{ tcp . 80 comment "second" : 10.0.0.1 . 80 }'
says 'comment "first"' nft list map inet t m
refused nft add element inet t m '{ tcp . 80 : 10.0.0.2 . 80 }'
says 'File exists' cat /run/error
