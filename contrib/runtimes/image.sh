#!/usr/bin/env bash
# Writes the file system of the test image, one static program, as a tar archive to standard output. Needs no network.
#
# usage: image.sh > rootfs.tar
set -euo pipefail
here=$(dirname "$(realpath "$0")")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
"$(command -v clang || command -v cc)" -O1 -static -o "$root/server" "$here/server.c"
mkdir "$root/proc" "$root/sys" "$root/dev" "$root/etc" "$root/tmp"
tar -C "$root" --owner 0 --group 0 -c .
