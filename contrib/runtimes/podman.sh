#!/usr/bin/env bash
# Starts Podman's API in the background, configured for pmagent to publish its ports, and returns once it answers.
#
# usage: podman.sh SOCKET        (in a sandbox)
set -euo pipefail
here=$(dirname "$(realpath "$0")")
configuration=/etc/containers/containers.conf.d
mkdir -p $configuration
sed "s|/usr/local/lib/pmagent/podman|${here%/*}/podman|" "${here%/*}/podman/containers.conf" > $configuration/pmagent.conf
# No systemd is there, neither for cgroups nor for its journal.
cat > $configuration/sandbox.conf <<C
[containers]
cgroups = "disabled"
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
C
echo '{"default":[{"type":"insecureAcceptAnything"}]}' > /etc/containers/policy.json
# As on a machine without Docker: a container that asks its own published port would need a bridge that reflects.
sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0 2> /dev/null || true
rm -f "$1"
setsid podman system service --time=0 "unix://$1" > /run/podman.log 2>&1 < /dev/null &
service=$!
echo $service > /run/podman.pid
until curl -sf --unix-socket "$1" http://localhost/_ping > /dev/null 2>&1; do
  kill -0 $service 2> /dev/null || { tail -5 /run/podman.log >&2; exit 1; }
  read -rt 0.02 <> <(:) || true
done
