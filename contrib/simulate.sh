#!/bin/sh
# usage: simulate.sh PATH-OF-SIMULATION RUNS STEPS
#
# Simulates agents that hold ports and agents that do not, side by side, in network namespaces of their own. Fails when what must
# hold did not, and prints the seed that repeats it.
set -eu
one() {
  exec unshare --net sh -c 'ip link set lo up && exec "$@"' simulate "$program" "$1" "$runs" "$steps"
}
program=$1 runs=$2 steps=$3
one none & none=$!
one auto & auto=$!
# A shell without job control lets its children ignore ^C.
trap 'kill "$none" "$auto"; exit 1' INT TERM
# Both are waited for, whatever comes of the first.
status=0
wait "$none" || status=$?
wait "$auto" || status=$?
exit "$status"
