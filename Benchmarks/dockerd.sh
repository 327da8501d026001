#!/usr/bin/env bash
# What a real dockerd takes to start containers and to publish ranges, by iptables and its proxies and without: a row of a
# Markdown table for each.
#
# usage: dockerd.sh        (root; in a sandbox, which leaves nothing behind; needs the Debian package docker.io)
set -euo pipefail
here=$(dirname "$(realpath "$0")")
runtimes=$here/../contrib/runtimes
if [ "${1:-}" != inside ]; then
  image=$(mktemp)
  trap 'rm -f "$image"' EXIT
  "$runtimes/image.sh" > "$image"
  echo "| dockerd | existing | publish | start | remove |"
  echo "| --- | --- | --- | --- | --- |"
  for mode in default no-proxy no-iptables; do "$runtimes/sandbox.sh" "$0" inside "$image" $mode; done
  exit
fi

image=$2 mode=$3
case $mode in
  default) options=(--iptables=true --userland-proxy=true) ;;
  no-proxy) options=(--iptables=true --userland-proxy=false) ;;
  no-iptables) options=(--iptables=false --userland-proxy=false) ;;
esac
export DOCKER_HOST=unix:///run/docker.sock
docker=/usr/bin/docker
dockerd --host "$DOCKER_HOST" --pidfile /run/docker.pid "${options[@]}" > /run/dockerd.log 2>&1 &
daemon=$!
until curl -sf --unix-socket /run/docker.sock http://localhost/_ping > /dev/null 2>&1; do
  kill -0 $daemon 2> /dev/null || { tail -5 /run/dockerd.log >&2; exit 1; }
  read -rt 0.05 <> <(:) || true
done
$docker import -c 'CMD ["/server","web","80"]' "$image" web > /dev/null

now() { date +%s%N; }
ms() { echo "$(((${2} - ${1}) / 1000000)) ms"; }
row() { # EXISTING WORDS OPTION...
  local existing=$1 words=$2 start started; shift 2
  start=$(now)
  $docker run -d --name measured "$@" web > /dev/null
  started=$(now)
  $docker rm -f measured > /dev/null
  echo "| $mode | $existing | $words | $(ms "$start" "$started") | $(ms "$started" "$(now)") |"
}
row 0 "nothing"
row 0 "one port" -p 8080:80
row 0 "100 udp ports" -p 10000-10099:10000-10099/udp
# With iptables these take a minute and a half.
[ $mode != no-iptables ] || row 0 "1,000 udp ports" -p 10000-10999:10000-10999/udp
for ((i = 0; i < 50; i++)); do $docker run -d -p $((20000 + i)):80 web > /dev/null; done
row 50 "one port" -p 8080:80
