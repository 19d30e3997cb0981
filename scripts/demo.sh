#!/usr/bin/env bash
# The main job, for real: a standalone on a free port with fresh data, the example App pushed, Tasks run, followed, terminated,
# and a kill -9 that loses nothing. Ends with 0 only when everything was as it should be.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "Building (a few minutes the first time)…"
cargo build --quiet -p taskplane-standalone -p taskplane-cli -p taskplane-backend --bins
bin="$CARGO_TARGET_DIR/debug"
data="$(mktemp -d)"
export TASKPLANE_CONFIG="$data/config.yaml"
unset TASKPLANE_API TASKPLANE_SPACE
ledger="$data/ledger"
server=

cleanup() {
    [ -z "$server" ] || kill -9 "$server" 2>/dev/null || true
    [ -z "$server" ] || wait "$server" 2>/dev/null || true
    rm -rf "$data"
}
trap cleanup EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '\033[2m$ %s\033[0m\n' "$*"; "$@"; }
die() {
    echo "demo: $*" >&2
    [ ! -e "$data/log" ] || tail -n 20 "$data/log" >&2
    exit 1
}
taskplane() { "$bin/taskplane" "$@"; }

start() {
    rm -f "$data/address"
    "$bin/taskplane-standalone" --listen 127.0.0.1:0 --data-dir "$data/data" --address-file "$data/address" --grace 2 --capacity 6 >>"$data/log" 2>&1 &
    server=$!
    for _ in $(seq 300); do
        [ ! -s "$data/address" ] || break
        kill -0 "$server" 2>/dev/null || die "the standalone did not start"
        sleep 0.1
    done
    taskplane target --api "http://$(cat "$data/address")" "$@" >/dev/null
}

# What a Task is called once it is submitted, without its log or its end.
submit() { taskplane run-task "$@" -o json | sed -n 's/^ *"name": "\(.*\)",\{0,1\}$/\1/p' | head -n 1; }
state() { taskplane task "$1" -o json | sed -n 's/^  "state": "\(.*\)",\{0,1\}$/\1/p'; }
await() { # TASK STATE…: until the Task is in one of these
    local task=$1 now; shift
    for _ in $(seq 600); do
        now=$(state "$task")
        for wanted in "$@"; do [ "$now" != "$wanted" ] || { echo "$now"; return; }; done
        sleep 0.1
    done
    die "$task is still $now, not $*"
}

say "A standalone, empty, on a free port"
start
echo "listening on $(cat "$data/address")"
run taskplane create-space demo
run taskplane target -s demo >/dev/null

say "Push an App from source: no route, no long-running process"
run taskplane push sales-report --task -p examples/sales-report
run taskplane apps

say "Run a Task on it, wait for it, see what it wrote"
run taskplane run-task sales-report --name first --wait

say "Ten at once, with a variable of their own"
names=()
for number in $(seq 10); do
    names+=("$(submit sales-report --name "batch-$number" -e "REPORT_TITLE=Batch $number")")
done
for name in "${names[@]}"; do
    [ "$(await "$name" TASK_STATE_SUCCEEDED TASK_STATE_FAILED)" = TASK_STATE_SUCCEEDED ] || die "$name failed"
done
echo "all ten succeeded, numbered 2 to 11"

say "One that fails: its exit code is ours"
code=0
run taskplane run-task sales-report --name fails -c 'sh fail.sh' --wait || code=$?
[ "$code" = 3 ] || die "expected exit code 3, got $code"

say "Follow a log while it is written"
live=$(submit sales-report --name counts -c 'sh count.sh 3')
run taskplane logs sales-report --task "${live##*/}"
[ "$(await "$live" TASK_STATE_SUCCEEDED TASK_STATE_FAILED)" = TASK_STATE_SUCCEEDED ] || die "$live failed"

say "Terminate a long one; its log stays"
long=$(submit sales-report --name too-long -c 'sh count.sh 600')
await "$long" TASK_STATE_RUNNING >/dev/null
run taskplane terminate-task sales-report "${long##*/}"
[ "$(state "$long")" = TASK_STATE_CANCELLED ] || die "$long is not cancelled"

say "A Job on it, each minute; its first tick is awaited further down"
run taskplane create-job sales-report minutely 'python3 report.py | tail -n 2'
run taskplane schedule-job minutely '* * * * *'

say "When would it run, over the night the clocks change?"
run taskplane preview-schedule '30 2 * * *' --time-zone Europe/Berlin -n 3 --from 2026-03-28T00:00:00Z

say "kill -9 with a Task running and thirty accepted, then a restart"
running=$(submit sales-report --name running -c 'sh ledger.sh; sleep 600' -e "LEDGER=$ledger")
await "$running" TASK_STATE_RUNNING >/dev/null
for number in $(seq 30); do
    accepted[number]=$(submit sales-report --name "accepted-$number" -c 'sh ledger.sh - 0.3' -e "LEDGER=$ledger")
done
kill -9 "$server"
wait "$server" 2>/dev/null || true
echo "killed"
start
lost=0 ran=0
[ "$(await "$running" TASK_STATE_FAILED)" = TASK_STATE_FAILED ] || die "what ran during the crash must be FAILED (LOST)"
for name in "${accepted[@]}"; do
    case $(await "$name" TASK_STATE_SUCCEEDED TASK_STATE_FAILED) in
        TASK_STATE_SUCCEEDED) ran=$((ran + 1)) ;;
        *) lost=$((lost + 1)) ;;
    esac
done
[ -z "$(grep '^start' "$ledger" | sort | uniq -d)" ] || die "a command started twice"
echo "of 30 accepted: $ran ran to their end, $lost were cut off and say so, none is missing, none ran twice"

say "The Job's tick arrives, and the ledger says so"
ticked=
for _ in $(seq 900); do
    ticked=$(taskplane job-history minutely -o json | sed -n 's/^ *"task": "\(.*\)",\{0,1\}$/\1/p' | head -n 1)
    [ -z "$ticked" ] || break
    sleep 0.1
done
[ -n "$ticked" ] || die "no tick within 90 s"
[ "$(await "$ticked" TASK_STATE_SUCCEEDED TASK_STATE_FAILED)" = TASK_STATE_SUCCEEDED ] || die "$ticked failed"
run taskplane jobs
run taskplane job-history minutely

say "Delete the Job while one of its Tasks runs: it is ended with it"
doomed=$(taskplane run-job minutely -c 'sh count.sh 600' -o json | sed -n 's/^ *"name": "\(.*\)",\{0,1\}$/\1/p' | head -n 1)
await "$doomed" TASK_STATE_RUNNING >/dev/null
run taskplane delete-job minutely
! taskplane task "$doomed" >/dev/null 2>&1 || die "$doomed is still there"

say "An App that keeps three Tasks: the oldest go, with their logs"
run taskplane push small --task -p examples/sales-report --task-retention-count 3
run taskplane update-space demo --minimum-finished-tasks 1 >/dev/null
for number in $(seq 5); do
    last=$(submit small --name "small-$number")
    await "$last" TASK_STATE_SUCCEEDED >/dev/null
done
for _ in $(seq 100); do
    kept=$(taskplane tasks small -o name | wc -l)
    [ "$kept" != 3 ] || break
    sleep 0.1
done
[ "$kept" = 3 ] || die "small keeps $kept Tasks, not 3"
run taskplane tasks small
run taskplane retention small
! taskplane task small 1 >/dev/null 2>&1 || die "small's first Task is still there"

say "Everything that ran"
run taskplane tasks sales-report | sed -n 1,20p

say "The log of the first Task, after all that"
run taskplane logs sales-report --task 1 --recent -n 3

say "Demo passed: 1 App, 1 Job, more than $((15 + 30)) Tasks, 1 crash, nothing lost, nothing run twice."
