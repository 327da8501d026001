#!/bin/sh
# Runs the tests in a network namespace of their own, so that nothing they do reaches the machine's network.
#
# One after the other: many of them wait in system calls for real packets and programs, and side by side on a small machine
# they would wait for each other. SWIFT names the swift that built them.
set -eu
if [ "$(id -u)" != 0 ]; then
  echo "test: the kernel tests need root, to make network namespaces: sudo make test" >&2
  exit 1
fi
exec unshare --net --mount --propagation slave sh -c 'mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link set lo up && exec ${SWIFT:-swift} test --skip-build --no-parallel "$@"' test "$@"
