#!/bin/sh
# Installs the Debian packages named as arguments that are not there yet. Says so when that needs root, does nothing when
# nothing is missing.
set -eu

missing=
for package in "$@"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "deps: missing Debian packages:$missing"
if [ "$(id -u)" != 0 ]; then
  echo "deps: installing them needs root: run 'sudo make deps', or install them by hand" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086 # a list of words
apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 $missing
