#!/usr/bin/env bash
# Boots systemd with the agent's unit in a machine of its own (contrib/runtimes/sandbox.sh), and runs COMMAND as a service there.
#
# usage: boot.sh PMAGENT COMMAND [ARGUMENT...]        (root; PMAGENT is the program the unit starts)
#
# Nothing else is started: no udev, no journal, no tmpfiles, and of /proc/sys only net can be written. The agent's log is
# /run/pmagent.log. The machine goes when COMMAND ends.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
if [ "${PMAGENT_BOOT:-}" != inside ]; then
  PMAGENT_BOOT=inside exec "$here/../runtimes/sandbox.sh" "$(realpath "$0")" "$@"
fi
unset PMAGENT_BOOT
# Where the unit finds it: it has its own /tmp and no /home.
program=/run/program
touch $program
mount --bind "$1" $program; shift

units=/etc/systemd/system
sed "s|/usr/local/bin/pmagent|$program|" "$here/pmagent.service" > $units/pmagent.service
mkdir -p $units/pmagent.service.d
printf '[Service]\nStandardError=append:/run/pmagent.log\n' > $units/pmagent.service.d/log.conf
{
  printf '[Unit]\nDefaultDependencies=no\nAfter=pmagent.service\nSuccessAction=poweroff-immediate\nFailureAction=poweroff-immediate\n[Service]\nExecStart='
  printf '"%s" ' "$@"
  echo
} > $units/command.service
printf '[Unit]\nWants=pmagent.service command.service\nAllowIsolate=yes\n' > $units/boot.target

# What the machine's own boot would start: none of it belongs here.
for directory in /usr/lib/systemd/system-generators /usr/lib/systemd/system/*.target.wants; do
  mount -t tmpfs -o mode=755 tmpfs "$directory"
done
rm -rf $units/*.target.wants
mount --bind /proc/sys /proc/sys
mount --bind /proc/sys/net /proc/sys/net
mount -o remount,bind,ro /proc/sys

exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 /usr/lib/systemd/systemd \
  --system --unit=boot.target --log-target=console --log-level=warning --show-status=no
