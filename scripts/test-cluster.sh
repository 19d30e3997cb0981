#!/usr/bin/env bash
# test-cluster.sh: the tests that need a real cluster, on one of their own (tests/rig). The last line is `N passed, N failed`. A
# machine that cannot have a cluster fails, and is told what it lacks.
set -uo pipefail
cd "$(dirname "$0")/.."

rig=tests/rig/rig
cache="${TASKPLANE_CACHE:-${HOME:-/root}/.cache/taskplane}"
export RIG_HOME="${RIG_HOME:-$cache/rig}"
mkdir -p "$cache"
work="$(mktemp -d "$cache/test-cluster-XXXXXX")"
trap 'rm -rf "$work"' EXIT
rm -f "$cache/test-cluster-summary"

summary() {
    echo "$1" >"$cache/test-cluster-summary"
    echo "$1"
}

if ! "$rig" build; then
    echo "test-cluster: NOTHING WAS TESTED, because there can be no cluster here (see above)" >&2
    summary "0 passed, 1 failed"
    exit 1
fi
# One that is up already is somebody's, and stays up.
if "$rig" status >/dev/null; then
    echo "test-cluster: using the cluster that is up"
else
    "$rig" up || { summary "0 passed, 1 failed"; exit 1; }
    trap '"$rig" down; rm -rf "$work"' EXIT
fi

# An executor's rights, and nobody else's.
"$rig" kubectl apply -f deploy/rbac >/dev/null || { summary "0 passed, 1 failed"; exit 1; }
export TASKPLANE_KUBECONFIG="$work/kubeconfig"
(umask 077 && "$rig" account taskplane taskplane-executor >"$TASKPLANE_KUBECONFIG")

# The step before guarded commands.
scripts/guard-image.sh load || { summary "0 passed, 1 failed"; exit 1; }

pack() { # ARGUMENTS… of the test program
    "$rig" exec cargo test -p taskplane-backend --features cluster --test cluster --color never -- "$@" 2>&1 | tee -a "$work/log"
    return "${PIPESTATUS[0]}"
}
broken=0
# What holds the whole cluster up comes last and alone.
pack --test-threads "${TASKPLANE_CLUSTER_THREADS:-4}" --skip faults::cluster_wide || broken=1
pack --test-threads 1 faults::cluster_wide || broken=1

# test result: ok. 3 passed; 0 failed; 0 ignored; …
read -r passed failed < <(awk '
    /^test result: / {
        for (i = 2; i <= NF; i++) {
            if ($i ~ /^passed/) passed += $(i - 1)
            if ($i ~ /^failed/) failed += $(i - 1)
        }
    }
    END { print passed + 0, failed + 0 }' "$work/log")
if { [ "$broken" -ne 0 ] && [ "$failed" -eq 0 ]; } || [ "$passed" -eq 0 ]; then failed=$((failed + 1)); fi
summary "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
