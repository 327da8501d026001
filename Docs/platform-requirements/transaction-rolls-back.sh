#!/bin/sh
# A transaction that deletes what is not there changes nothing at all.
. "$(dirname "$0")/lib.sh"
nft 'add table inet t; add set inet t s { type inet_service; }; add element inet t s { 80 }'
refused nft 'add element inet t s { 81 }; delete element inet t s { 82 }; delete element inet t s { 80 }'
says 'No such file or directory' cat /run/error
says 'elements = { 80 }' nft list set inet t s
