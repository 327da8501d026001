#!/bin/sh
# Asserts that a release build has no crash point in it, and that the debug build has them all.
set -eu
cd "$(dirname "$0")/.."
release=${1:-.build/release/pmagent} debug=${2:-.build/debug/pmagent}
names=$(grep -rhoE 'crashPoint\("[^"]+"\)' Sources/Agent Sources/Storage | sed -E 's/.*"(.*)".*/\1/' | sort -u)
for name in PMAGENT_CRASH $names; do
  if grep -qaF "$name" "$release"; then
    echo "no-crash-points: $release contains \"$name\"" >&2
    exit 1
  fi
  if ! grep -qaF "$name" "$debug"; then
    echo "no-crash-points: $debug lacks \"$name\", so this check would notice nothing" >&2
    exit 1
  fi
done
echo "no-crash-points: none of $(echo "$names" | wc -l) names is in $release"
