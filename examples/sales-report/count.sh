#!/bin/sh
# Counts slowly, a line each second: something to follow, or to terminate.
#
# usage: count.sh [SECONDS]
set -eu

seconds="${1:-10}"
case "$seconds" in
    '' | *[!0-9]*)
        echo "count.sh: $seconds is not a number of seconds" >&2
        exit 2
        ;;
esac

i=0
trap 'echo "asked to stop at $i of $seconds" >&2; exit 143' TERM
while [ "$i" -lt "$seconds" ]; do
    i=$((i + 1))
    echo "$i of $seconds"
    sleep 1
done
echo "done"
