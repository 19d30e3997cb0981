#!/usr/bin/env bash
# Stops exactly what `up.sh` started, in turn: executors, the other services, then what they stand on. What does not end when it
# is asked to is killed. Then the directory goes.
set -euo pipefail

cache="${TASKPLANE_CACHE:-${HOME:-/root}/.cache/taskplane}"
mark="${TASKPLANE_UP_MARK:-$cache/up}"
if [ ! -e "$mark" ]; then
    echo "down: nothing is up"
    exit 0
fi
dir="$(cat "$mark")"
started="$dir/started"

# Whether the process of that line is still the one that was started.
is_there() { # PID START
    local now
    now="$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null)" || return 1
    # A dead one whom nobody has buried yet is gone for us.
    [ "$(cut -d' ' -f20 <<<"$now")" = "$2" ] && [ "${now%% *}" != Z ]
}

stop() { # SIGNAL PATTERN
    local signal=$1 pattern=$2 name pid start
    [ -e "$started" ] || return 0
    while read -r name pid start; do
        if [[ "$name" == $pattern ]] && is_there "$pid" "$start"; then kill "-$signal" "$pid" 2>/dev/null || true; fi
    done <"$started"
    for _ in $(seq 300); do
        local left=
        while read -r name pid start; do
            if [[ "$name" == $pattern ]] && is_there "$pid" "$start"; then left=1; fi
        done <"$started"
        [ -n "$left" ] || return 0
        sleep 0.1
    done
    [ "$signal" = KILL ] || stop KILL "$pattern"
}

stop TERM 'executor-*'
stop TERM '[ars]*-*'
stop TERM nats
# Fast: sessions are cut off, what is committed is kept.
stop INT postgres
if [ -d "$dir" ] && [[ "$(basename "$dir")" == taskplane-up-* ]]; then rm -rf "$dir"; fi
rm -f "$mark"
echo "down: stopped"
