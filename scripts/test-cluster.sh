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

end() { # SUMMARY; fails unless nothing did
    echo "$1" >"$cache/test-cluster-summary"
    echo "$1"
    [[ "$1" == *" 0 failed" ]]
    exit
}

if ! "$rig" build; then
    echo "test-cluster: NOTHING WAS TESTED, because there can be no cluster here (see above)" >&2
    end "0 passed, 1 failed"
fi

echo "== build"
features=taskplane-standalone/failpoints,taskplane-backend/cluster,taskplane-tests/cluster
cargo build --quiet --workspace --bins --features "$features" &&
    cargo test --quiet --workspace --features "$features" --test cluster --test pack --no-run || end "0 passed, 1 failed"

# One that is up already is somebody's, and stays up.
if "$rig" status >/dev/null; then
    echo "test-cluster: using the cluster that is up"
else
    "$rig" up || end "0 passed, 1 failed"
    trap '"$rig" down; rm -rf "$work"' EXIT
fi

# An executor's rights, and nobody else's.
"$rig" kubectl apply -f deploy/rbac >/dev/null || end "0 passed, 1 failed"
export TASKPLANE_KUBECONFIG="$work/kubeconfig"
(umask 077 && "$rig" account taskplane taskplane-executor >"$TASKPLANE_KUBECONFIG")

# The step before guarded commands.
scripts/guard-image.sh load || end "0 passed, 1 failed"

broken=0
pack() { # TARGET, and ARGUMENTS… of the test program
    local target="$1"
    shift
    echo "== $target $*"
    "$rig" exec cargo test --workspace --features "$features" --test "$target" --color never -- "$@" 2>&1 | tee -a "$work/log"
    [ "${PIPESTATUS[0]}" -eq 0 ] || broken=1
}
threads="${TASKPLANE_CLUSTER_THREADS:-6}"
pack cluster --test-threads "$threads" --skip faults::cluster_wide
# Their local half is a part of `make test`.
pack pack --test-threads "$threads" --skip local:: --skip alone:: --skip many::
# What the whole cluster would notice comes last, one by one.
pack cluster --test-threads 1 faults::cluster_wide
pack pack --test-threads 1 alone:: cluster::many::

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
end "$passed passed, $failed failed"
