#!/usr/bin/env bash
# Shows pmagent as the port publishing and firewall of a real Docker or Podman, live.
#
# usage: runtime.sh PATH-OF-PMAGENT docker|podman        (root; `make demo RUNTIME=docker` builds and calls it)
#
# Everything happens on a machine of its own (contrib/runtimes) and ends with it. A wrong answer ends the demo with exit
# code 1.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
runtimes=$here/../runtimes

if [ "${PMAGENT_DEMO_INSIDE:-}" != yes ]; then
  [ -x "${1:-}" ] && [[ ${2:-} = docker || ${2:-} = podman ]] || { echo "usage: $0 PATH-OF-PMAGENT docker|podman" >&2; exit 2; }
  image=$(mktemp)
  trap 'rm -f "$image"' EXIT
  "$runtimes/image.sh" > "$image"
  PMAGENT_DEMO_INSIDE=yes "$runtimes/host.sh" "$2" "/run/$2.sock" "$image" "$(realpath "$0")" "$(realpath "$1")" "$2"
  exit
fi

PMAGENT=$1 ENGINE=$2
mkdir /run/demo
cd /run/demo

# --- What it looks like ------------------------------------------------------------------------------------------------

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'; else bold= dim= green= red= plain=; fi
say() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
ok() { printf '   %sok%s  %s\n' "$green" "$plain" "$*"; }
fail() { printf '   %sWRONG%s  %s\n' "$red" "$plain" "$*"; sed 's/^/   agent: /' agent.log | tail -20; exit 1; }
show() { printf '   %s$ %s%s\n' "$dim" "${*/#runtime/$ENGINE}" "$plain"; "$@" 2>&1 | sed 's/^/   /'; }
pmagent() { "$PMAGENT" "$@" --socket /run/demo/pmagent.sock; }
docker() { /usr/bin/docker --host unix:///run/docker.sock "$@"; }
runtime() { "$ENGINE" "$@"; }

# Whatever follows is asked again for ten seconds: the agent hears of it when the runtime says so.
expect() { # PATTERN WHAT COMMAND...
  local pattern=$1 what=$2 answer end=$((SECONDS + 10)); shift 2
  until answer=$("$@" 2>&1) && [[ $answer =~ $pattern ]]; do
    [ $SECONDS -lt $end ] || fail "$what: expected /$pattern/, got: ${answer:-nothing}"
    read -rt 0.05 <> <(:) || true
  done
  ok "$what -> $answer"
}
refused() { # WHAT COMMAND...
  local what=$1 answer end=$((SECONDS + 10)); shift
  while answer=$("$@" 2>&1); do
    [ $SECONDS -lt $end ] || fail "$what: expected no answer, got: $answer"
  done
  ok "$what -> no answer"
}
client() { ip netns exec client "$@"; }
page() { curl -sS --max-time 2 -g "$@"; }

start_agent() {
  "$PMAGENT" run --socket /run/demo/pmagent.sock --database /run/demo/state.db --docker "unix:///run/$ENGINE.sock" 2>> agent.log &
  AGENT=$!
  expect "source +$ENGINE: follows .* connected.*snapshot [0-9]" "pmagent follows $ENGINE" bash -c "'$PMAGENT' status --socket /run/demo/pmagent.sock | tail -1"
}

# --- A remote client ---------------------------------------------------------------------------------------------------

ip netns add client
ip link add v-client type veth peer name eth0 netns client
ip address add 192.0.2.1/24 dev v-client
ip address add 2001:db8:99::1/64 dev v-client nodad
ip link set v-client up
ip -n client address add 192.0.2.2/24 dev eth0
ip -n client address add 2001:db8:99::2/64 dev eth0 nodad
ip -n client link set eth0 up

say "A $ENGINE that does nothing to the firewall"
expect '^tables: 0$' "nft list tables" bash -c 'echo "tables: $(nft list tables | wc -l)"'
start_agent

say "Containers are started as ever"
show runtime network create --ipv6 --subnet 10.89.5.0/24 --subnet 2001:db8:5::/64 front
show runtime run -d --name web --network front -p 8080:80 web /server web 80
show runtime run -d --name local -p 127.0.0.1:8081:80 -p 80/udp web /server local 80
expect 'web +front.*8080.*local|local.*web +front' "pmagent ls" bash -c "'$PMAGENT' ls --socket /run/demo/pmagent.sock"
show runtime port web
show pmagent port web
show pmagent port local

say "From a remote client, and from the host itself"
expect '^web says hello to 192\.0\.2\.2$' "client, IPv4" client curl -sS --max-time 2 http://192.0.2.1:8080/
expect '^web says hello to 2001:db8:99::2$' "client, IPv6" client curl -sS --max-time 2 -g 'http://[2001:db8:99::1]:8080/'
expect '^web says hello' "host, 127.0.0.1" page http://127.0.0.1:8080/
expect '^web says hello' "host, ::1" page 'http://[::1]:8080/'
expect '^local says hello' "published on 127.0.0.1, from the host" page http://127.0.0.1:8081/
refused "published on 127.0.0.1, from the client" client curl -sS --max-time 1 http://192.0.2.1:8081/
nft list table inet pmagent > /dev/null
expect '^rules: ' "however many ports: the number of rules" bash -c 'echo "rules: $(nft list table inet pmagent | grep -cE "^\s+(ct|fib|ip|ip6|iif|oif|meta|tcp|udp|jump|counter|th)")"'

say "The daemon is killed (SIGKILL), and a container ends meanwhile"
runtime run -d --name short -p 8082:80 web /server short 80 > /dev/null
expect '^short says hello' "port 8082" client curl -sS --max-time 2 http://192.0.2.1:8082/
pid=$(runtime inspect --format '{{.State.Pid}}' short)
kill -KILL "$(cat "/run/$ENGINE.pid")"
kill -KILL "$pid"
expect 'NOT connected' "pmagent status" bash -c "'$PMAGENT' status --socket /run/demo/pmagent.sock | tail -1"
expect '^web says hello' "no daemon, and port 8080 still answers" client curl -sS --max-time 2 http://192.0.2.1:8080/
if [ "$ENGINE" = docker ]; then "$here/../runtimes/dockerd.sh" /run/docker.sock; else "$here/../runtimes/podman.sh" /run/podman.sock; fi
expect ', connected' "the daemon is back" bash -c "'$PMAGENT' status --socket /run/demo/pmagent.sock | tail -1"
refused "the port of the container that ended" pmagent port short

say "The agent is killed (SIGKILL), and a container starts meanwhile"
kill -KILL $AGENT; wait $AGENT 2> /dev/null || true
show runtime run -d --name late -p 8083:80 web /server late 80
expect '^web says hello' "no agent, and port 8080 still answers" client curl -sS --max-time 2 http://192.0.2.1:8080/
start_agent
expect '^late says hello' "port 8083, of the container that started meanwhile" client curl -sS --max-time 2 http://192.0.2.1:8083/

say "A container stops: its port closes"
show runtime rm -f web
refused "port 8080" client curl -sS --max-time 1 http://192.0.2.1:8080/
expect '^late says hello' "port 8083" client curl -sS --max-time 2 http://192.0.2.1:8083/
show pmagent ls
show pmagent status

say "Done: every answer was the expected one. Nothing of this demo remains."
