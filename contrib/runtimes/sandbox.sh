#!/usr/bin/env bash
# A machine of its own for a real container runtime: namespaces, cgroups, /run, /var/lib and /etc that end with COMMAND.
#
# usage: sandbox.sh COMMAND [ARGUMENT...]        (root)
#
# The machine's network, firewall, cgroups and files stay as they are; only /tmp is shared. Runtimes see cgroup v2,
# also where the machine itself still uses v1.
set -euo pipefail

if [ "${PMAGENT_SANDBOX:-}" != inside ]; then
  [ "$(id -u)" = 0 ] || { echo "sandbox: needs root: sudo $0" >&2; exit 1; }
  # A cgroup beside ours, which becomes the root of what the sandbox sees.
  root=$(mount -t cgroup2 | awk '{ print $3; exit }')
  [ -n "$root" ] || { echo "sandbox: no cgroup v2 file system is mounted" >&2; exit 1; }
  group=$root$(awk -F: '$1 == 0 { print $3 }' /proc/self/cgroup)/pmagent-sandbox-$$
  mkdir "$group"
  child=
  clean() {
    trap - EXIT
    [ -z "$child" ] || kill -KILL "$child" 2> /dev/null || true
    # A cgroup can be removed once the kernel has reaped what was in it.
    until find "$group" -depth -type d -exec rmdir {} + 2> /dev/null || [ ! -d "$group" ]; do read -rt 0.05 <> <(:) || true; done
  }
  trap clean EXIT
  trap 'exit 143' TERM
  trap 'exit 130' INT
  (
    echo $BASHPID > "$group/cgroup.procs"
    PMAGENT_SANDBOX=inside exec unshare --mount --net --pid --fork --kill-child --ipc --uts --cgroup --mount-proc "$0" "$@"
  ) <&0 &
  child=$!
  status=0
  wait "$child" || status=$?
  child=
  exit "$status"
fi
unset PMAGENT_SANDBOX

mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# Controllers are given to the cgroups of containers only where no process is in the parent.
mkdir /sys/fs/cgroup/init
echo 0 > /sys/fs/cgroup/init/cgroup.procs
sed 's/^\| / +/g' /sys/fs/cgroup/cgroup.controllers > /sys/fs/cgroup/cgroup.subtree_control || true

mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/lock
cp -a /etc /run/etc
mount --bind /run/etc /etc
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir /var/lib/misc
hostname sandbox
ip link set lo up
# Addresses are there at once.
sysctl -qw net.ipv6.conf.default.accept_dad=0
exec "$@"
