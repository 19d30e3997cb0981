#!/usr/bin/env bash
# Real processes under faults, for as long as TASKPLANE_CHAOS_SECONDS says; TASKPLANE_CHAOS_SEED repeats a run,
# TASKPLANE_CHAOS_BURST says how many Tasks the burst has. A failure says where history, ledger and logs are kept.
set -euo pipefail
cd "$(dirname "$0")/.."

# As in test.sh, so that nothing is built twice.
failpoints=taskplane-standalone/failpoints
cargo build --quiet --bins -p taskplane-standalone -p taskplane-api -p taskplane-scheduler -p taskplane-reaper -p taskplane-executor \
    -p taskplane-cli -p taskplane-backend --features "$failpoints"
exec cargo test --workspace --features "$failpoints" --test fault -- --nocapture
