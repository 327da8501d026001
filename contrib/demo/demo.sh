#!/usr/bin/env bash
# Shows pmagent's main job, live: containers are announced, packets arrive, the agent is killed and nothing is lost.
#
# usage: demo.sh PATH-OF-PMAGENT [docker|podman]        (root; `make demo` builds and calls it)
#
# Everything happens in namespaces of its own (network, mount, pid) and ends with them: nothing of it remains. A wrong
# answer ends the demo with exit code 1.
set -euo pipefail

if [ "${PMAGENT_DEMO_INSIDE:-}" != yes ]; then
  [ "$(id -u)" = 0 ] || { echo "demo: needs root, to make network namespaces: sudo make demo" >&2; exit 1; }
  [ -x "${1:-}" ] || { echo "usage: $0 PATH-OF-PMAGENT [docker|podman]" >&2; exit 2; }
  [ -z "${2:-}" ] || exec "$(dirname "$(realpath "$0")")/runtime.sh" "$1" "$2"
  PMAGENT_DEMO_INSIDE=yes exec unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$(realpath "$1")"
fi

PMAGENT=$1
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/demo
cd /run/demo

# --- What it looks like ------------------------------------------------------------------------------------------------

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'; else bold= dim= green= red= plain=; fi
say() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
ok() { printf '   %sok%s  %s\n' "$green" "$plain" "$*"; }
fail() { printf '   %sWRONG%s  %s\n' "$red" "$plain" "$*"; sed 's/^/   agent: /' agent.log | tail -20; exit 1; }
show() { printf '   %s$ %s%s\n' "$dim" "pmagent ${*}" "$plain"; "$PMAGENT" "$@" 2>&1 | sed 's/^/   /'; }

# expect WANTED-PATTERN WHAT COMMAND...   the command's output must match the pattern
expect() {
  local pattern=$1 what=$2 answer; shift 2
  answer=$("$@" 2>&1) || true
  [[ $answer =~ $pattern ]] || fail "$what: expected /$pattern/, got: ${answer:-nothing}"
  ok "$what -> $answer"
}
# refused WHAT COMMAND...   the command must fail
refused() {
  local what=$1 answer; shift
  if answer=$("$@" 2>&1); then fail "$what: expected no answer, got: $answer"; fi
  ok "$what -> no answer"
}

# --- A host, two bridges, three containers, a remote client -------------------------------------------------------------

address() { ip -n "$1" address add "$3" dev "$2" ${4:-}; }
# host NAME LINK BRIDGE-OR-"" ADDRESS... : a namespace on the other end of a veth pair
attach() {
  local name=$1 bridge=$2; shift 2
  ip netns add "$name"
  ip link add "v-$name" type veth peer name eth0 netns "$name"
  [ -z "$bridge" ] || ip link set "v-$name" master "$bridge"
  ip link set "v-$name" up
  ip -n "$name" link set lo up
  ip -n "$name" link set eth0 up
  for a in "$@"; do ip -n "$name" address add "$a" dev eth0 $([[ $a == *:* ]] && echo nodad); done
}
serve() { # NAME WORD: a TCP server on port 80 and a UDP server on port 53, IPv4 and IPv6, telling who asks
  cat > "$1.tcp" <<S
printf 'HTTP/1.0 200 OK\r\n\r\n%s says hello to %s\n' $1 "\$SOCAT_PEERADDR"
S
  echo "read -r line; echo \"$1 heard \$line from \$SOCAT_PEERADDR\"" > "$1.udp"
  local v
  for v in 4 "6 ipv6only=1"; do
    set -- "$1" $v
    ip netns exec "$1" socat "TCP$2-LISTEN:80,reuseaddr,fork${3:+,$3}" SYSTEM:"sh /run/demo/$1.tcp" &
    ip netns exec "$1" socat "UDP$2-RECVFROM:53,fork${3:+,$3}" SYSTEM:"sh /run/demo/$1.udp" 2>/dev/null &
    ip netns exec "$1" socat "TCP$2-LISTEN:7,reuseaddr,fork${3:+,$3}" EXEC:cat &
  done
}

ip link set lo up
for bridge in br-front br-back; do ip link add "$bridge" type bridge; ip link set "$bridge" up; done
ip address add 172.20.0.1/24 dev br-front
ip address add 2001:db8:20::1/64 dev br-front nodad
ip address add 172.21.0.1/24 dev br-back
ip address add 2001:db8:21::1/64 dev br-back nodad
attach web br-front 172.20.0.2/24 2001:db8:20::2/64
attach dns br-front 172.20.0.3/24 2001:db8:20::3/64
attach api br-back 172.21.0.2/24 2001:db8:21::2/64
for c in web dns; do ip -n $c route add default via 172.20.0.1; ip -n $c route add default via 2001:db8:20::1; done
ip -n api route add default via 172.21.0.1; ip -n api route add default via 2001:db8:21::1
attach client "" 192.0.2.2/24 2001:db8:99::2/64
ip address add 192.0.2.1/24 dev v-client
ip address add 2001:db8:99::1/64 dev v-client nodad
ip -n client route add 2001:db8:21::/64 via 2001:db8:99::1
for c in web dns api; do serve $c; done

client() { ip netns exec client "$@"; }
page() { curl -sS --max-time 3 -g "$@"; }
datagram() { echo "$1" | timeout 3 socat -t1 - "$2"; }

start_agent() {
  "$PMAGENT" run --socket /run/demo/pmagent.sock --database /run/demo/state.db 2>> agent.log &
  AGENT=$!
  until [ -S pmagent.sock ] && "$PMAGENT" status --socket pmagent.sock >/dev/null 2>&1; do
    kill -0 $AGENT 2>/dev/null || fail "the agent did not start"
    read -rt 0.02 <> <(:) || true
  done
}
pm() { show "$@" --socket pmagent.sock; }
emit() { "$PMAGENT" emit --socket pmagent.sock; }

say "The agent starts on an empty SQLite file"
start_agent
ok "pid $AGENT, socket and database in a directory of the demo"

say "A runtime announces two networks and three containers (NDJSON on the Unix socket)"
cat > events.ndjson <<'J'
{"event":"network.create","network":{"id":"n-front","name":"front","bridge":"br-front","subnets":["172.20.0.0/24","2001:db8:20::/64"]}}
{"event":"network.create","network":{"id":"n-back","name":"back","bridge":"br-back","subnets":["172.21.0.0/24","2001:db8:21::/64"],"options":{"com.docker.network.bridge.gateway_mode_ipv6":"routed"}}}
{"event":"container.start","container":{"id":"c-web","name":"web","networks":[{"network":"front","ipv4":"172.20.0.2","ipv6":"2001:db8:20::2"}],"publish":["8080:80","7007:7"]}}
{"event":"container.start","container":{"id":"c-dns","name":"dns","networks":[{"network":"front","ipv4":"172.20.0.3","ipv6":"2001:db8:20::3"}],"publish":["192.0.2.1:5353:53/udp","[2001:db8:99::1]:5353:53/udp","[::]::80"]}}
{"event":"container.start","container":{"id":"c-api","name":"api","networks":[{"network":"back","ipv4":"172.21.0.2","ipv6":"2001:db8:21::2"}],"publish":["8081:80"]}}
J
sed 's/^/   > /' events.ndjson | cut -c1-118
emit < events.ndjson > replies.ndjson
sed 's/^/   < /' replies.ndjson | cut -c1-240
expect routed-host-port-ignored "a warning: host port 8081 is not used where the gateway mode is routed" \
  grep -o routed-host-port-ignored replies.ndjson

say "What is mapped now"
pm ls
V6PORT=$("$PMAGENT" port dns 80/tcp --socket pmagent.sock | sed 's/.*://')
expect '^\[::\]:[0-9]+$' "'[::]::80' is an IPv6-only mapping" "$PMAGENT" port dns 80/tcp --socket pmagent.sock

say "From a remote client, through the host's addresses"
expect '^web says hello to 192\.0\.2\.2$' "IPv4, tcp, any address" client curl -sS --max-time 3 http://192.0.2.1:8080/
expect '^web says hello to \[2001:0db8:0099:.*:0002\]$' "IPv6, tcp, any address" client curl -sS --max-time 3 -g 'http://[2001:db8:99::1]:8080/'
expect '^dns heard hi from ' "IPv4, udp, one address" client bash -c 'echo hi | timeout 3 socat -t1 - UDP:192.0.2.1:5353'
expect '^dns heard hi from ' "IPv6, udp, one address" client bash -c 'echo hi | timeout 3 socat -t1 - "UDP:[2001:db8:99::1]:5353"'
expect '^dns says hello' "IPv6-only mapping over IPv6" client curl -sS --max-time 3 -g "http://[2001:db8:99::1]:$V6PORT/"
refused "IPv6-only mapping over IPv4" client curl -sS --max-time 1 "http://192.0.2.1:$V6PORT/"
expect '^api says hello' "routed IPv6: the container's own address" client curl -sS --max-time 3 -g 'http://[2001:db8:21::2]/'
refused "routed IPv6: no host port exists" client curl -sS --max-time 1 -g 'http://[2001:db8:99::1]:8081/'

say "From the host itself"
expect '^web says hello' "127.0.0.1" page http://127.0.0.1:8080/
expect '^web says hello' "the host's IPv4 address" page http://192.0.2.1:8080/
expect '^web says hello' "the host's IPv6 address" page 'http://[2001:db8:99::1]:8080/'

say "The agent is killed (SIGKILL) while a connection is open"
coproc CONNECTION { ip netns exec client socat - TCP:192.0.2.1:7007; }
echo before >&"${CONNECTION[1]}"; read -rt 3 line <&"${CONNECTION[0]}" || fail "no echo through port 7007"
ok "the open connection answers: $line"
kill -KILL $AGENT; wait $AGENT 2>/dev/null || true
expect '^web says hello' "no agent, and port 8080 still answers" client curl -sS --max-time 3 http://192.0.2.1:8080/
start_agent
echo after >&"${CONNECTION[1]}"; read -rt 3 line <&"${CONNECTION[0]}" || fail "the connection did not survive"
[ "$line" = after ] || fail "the connection answered: $line"
ok "restarted from the database as pid $AGENT; the same connection answers: $line"
expect '^web says hello' "port 8080 over IPv4" client curl -sS --max-time 3 http://192.0.2.1:8080/
expect '^dns heard hi' "port 5353/udp over IPv6" client bash -c 'echo hi | timeout 3 socat -t1 - "UDP:[2001:db8:99::1]:5353"'
expect "in sync" "pmagent status" bash -c "\"$PMAGENT\" status --socket pmagent.sock | head -1"

say "A container stops: its port closes at once, its neighbour's stays"
echo '{"event":"container.stop","container":"c-web"}' | emit | sed 's/^/   < /'
refused "port 8080" client curl -sS --max-time 1 http://192.0.2.1:8080/
expect '^dns heard hi' "port 5353/udp" client bash -c 'echo hi | timeout 3 socat -t1 - UDP:192.0.2.1:5353'
pm ls

say "Done: every answer was the expected one. Nothing of this demo remains."
