#!/bin/sh
# Measures the built pmagent in namespaces of its own, which end with it.
#
# usage: bench.sh short|full PATH-OF-PMAGENT [events|packets|churn|churn-hour]...    (root; `make bench`, `bench-short` and `churn`)
#
# With parts named it measures these alone and prints the page instead of writing it.
set -eu
if [ "$(id -u)" != 0 ]; then
  echo "bench: needs root, to make network namespaces: sudo make bench" >&2
  exit 1
fi
here=$(dirname "$(realpath "$0")")
build=$here/.build/release
kind=$1 agent=$(realpath "$2")
shift 2
disk=$here/.build/disk
rm -rf "$disk"
unshare --net --mount --pid --fork --kill-child --mount-proc sh -c '
  mount -t tmpfs tmpfs /run && mkdir -p /run/netns /run/bench && ip link set lo up && exec "$@"' bench \
  "$build/bench" "$kind" "$agent" "$build/floor" "$build/libmallocs.so" "$here/thresholds.txt" "$disk" \
  "$here/../Docs" "$@"
rm -rf "$disk"
if [ "$kind" = full ] && [ $# = 0 ] && command -v dockerd > /dev/null; then
  {
    printf '\n## A real dockerd\n\n`docker run` and `docker rm -f`, which start and stop a container too: %s.\n\n' "$(dockerd --version)"
    "$here/dockerd.sh"
  } >> "$here/../Docs/performance.md"
fi
