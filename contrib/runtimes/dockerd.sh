#!/usr/bin/env bash
# Starts dockerd in the background, for pmagent to publish its ports, and returns once it answers.
#
# usage: dockerd.sh SOCKET [OPTION...]        (in a sandbox)
set -euo pipefail
socket=$1; shift
rm -f "$socket" /run/docker.pid
setsid dockerd --host "unix://$socket" --pidfile /run/docker.pid \
  --iptables=false --ip6tables=false --userland-proxy=false --live-restore "$@" > /run/dockerd.log 2>&1 < /dev/null &
daemon=$!
until curl -sf --unix-socket "$socket" http://localhost/_ping > /dev/null 2>&1; do
  kill -0 $daemon 2> /dev/null || { tail -5 /run/dockerd.log >&2; exit 1; }
  read -rt 0.02 <> <(:) || true
done
