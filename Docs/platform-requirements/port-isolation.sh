#!/bin/sh
# Isolated ports of a bridge exchange nothing with each other, and everything with the host.
. "$(dirname "$0")/lib.sh"
network 0
says 172.18.0.3 ask_from two 172.18.0.2 80
for port in v-one v-two; do bridge link set dev $port isolated on; done
refused ask_from two 172.18.0.2 80
refused ask_from two '[2001:db8:18::2]' 80
says 172.18.0.1 ask 172.18.0.2 80
says 192.0.2.2 ask_from remote 172.18.0.3 80
