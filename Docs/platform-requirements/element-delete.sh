#!/bin/sh
# Deleting an element goes by its key: the data is ignored. Deletion and addition in one transaction exchange the data.
. "$(dirname "$0")/lib.sh"
nft -f - << 'NFT'
table inet t {
	map m { type inet_service : ipv4_addr; elements = { 80 : 10.0.0.1, 81 : 10.0.0.1 }
	}
}
NFT
nft delete element inet t m '{ 80 : 10.9.9.9 }'
refused nft get element inet t m '{ 80 }'
nft 'delete element inet t m { 81 : 10.0.0.1 }; add element inet t m { 81 : 10.0.0.2 }'
says '81 : 10.0.0.2' nft list map inet t m
