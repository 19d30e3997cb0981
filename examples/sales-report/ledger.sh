#!/bin/sh
# Writes to a file outside that it started and that it ended: a witness of what really ran, and how often.
#
# usage: LEDGER=/some/file ledger.sh [TAG [SECONDS]]
#
# Each line is `start TASK TAG` or `end TASK TAG`, appended in one write, so that Tasks side by side do not garble each other.
set -eu

: "${LEDGER:?must name the file to write to}"
tag="${1:--}"
task="${CF_TASK_ID:-${TASKPLANE_RUN:-unknown}}"
task="${task%%@*}"

echo "start $task $tag" >>"$LEDGER"
echo "started $tag"
sleep "${2:-0}"
echo "end $task $tag" >>"$LEDGER"
echo "ended $tag"
