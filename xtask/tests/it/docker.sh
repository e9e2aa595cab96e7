#!/bin/sh
# Stands in for docker in tests. `answers`, beside the link to this file, holds the
# command lines it knows; what differs from run to run is replaced in them.
here=${0%/*}
line=$*
case $line in
*localhost/xtask/p-* | *--name* | *sha256:????????????????*)
    line=$(printf '%s' "$line" | sed -E 's/[0-9a-f]{16,}/<digest>/g; s/(xtask-<digest>)-[0-9]+/\1-<n>/g')
    ;;
esac
. "$here/answers"
