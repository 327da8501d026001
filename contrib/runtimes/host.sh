#!/usr/bin/env bash
# A host with a container runtime and the image "web", in a sandbox: runs COMMAND there.
#
# usage: host.sh docker|podman SOCKET IMAGE.tar COMMAND [ARGUMENT...]        (root; see image.sh for IMAGE.tar)
set -euo pipefail
here=$(dirname "$(realpath "$0")")
engine=$1 socket=$2 image=$3; shift 3
# shellcheck disable=SC2016 # for the shell in the sandbox
exec "$here/sandbox.sh" bash -euc '
  here=$1 engine=$2 socket=$3 image=$4; shift 4
  if [ $engine = docker ]; then
    "$here/dockerd.sh" "$socket"
    # Not the first docker in PATH: a machine may have a newer client of another origin.
    /usr/bin/docker --host "unix://$socket" import -c "CMD [\"/server\",\"web\",\"80\"]" -c "EXPOSE 7/udp" "$image" web > /dev/null
  else
    "$here/podman.sh" "$socket"
    podman import -q -c "CMD [\"/server\",\"web\",\"80\"]" -c "EXPOSE 7/udp" "$image" web > /dev/null
  fi
  # Not exec: process 1 has to wait for processes whose parents have ended.
  "$@" <&0 &
  wait $!
' host "$here" "$engine" "$socket" "$image" "$@"
