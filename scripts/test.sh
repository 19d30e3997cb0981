#!/usr/bin/env bash
# All checks and all tests. The last line is `N passed, N failed`, with `, N skipped` when something was; a check or a build that
# fails counts as failed. Nothing stops at the first failure, and a run without a single test is a failure.
set -uo pipefail
cd "$(dirname "$0")/.."

cache="${TASKPLANE_CACHE:-${HOME:-/root}/.cache/taskplane}"
mkdir -p "$cache"
log="$(mktemp "$cache/test-XXXXXX.log")"
trap 'rm -f "$log"' EXIT
rm -f "$cache/test-summary"

bash scripts/lint.sh
broken=$?

# The end-to-end tests run the real binaries, which `cargo test` alone would not build; with the points at which a test
# has them kill themselves.
failpoints=taskplane-standalone/failpoints
echo "== build"
cargo build --quiet --bins -p taskplane-standalone -p taskplane-api -p taskplane-scheduler -p taskplane-reaper -p taskplane-executor \
    -p taskplane-cli -p taskplane-backend --features "$failpoints" || broken=$((broken + 1))

echo "== tests"
cargo test --workspace --features "$failpoints" --no-fail-fast --color never 2>&1 | tee "$log"
status=${PIPESTATUS[0]}

# test result: ok. 3 passed; 0 failed; 0 ignored; …
read -r passed failed skipped < <(awk '
    /^test result: / {
        for (i = 2; i <= NF; i++) {
            if ($i ~ /^passed/) passed += $(i - 1)
            if ($i ~ /^failed/) failed += $(i - 1)
            if ($i ~ /^ignored/) skipped += $(i - 1)
        }
    }
    END { print passed + 0, failed + 0, skipped + 0 }' "$log")

if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
    echo "test: cargo test ended with $status without a failed test: something did not build, or died" >&2
    broken=$((broken + 1))
fi
if [ "$passed" -eq 0 ] && [ "$failed" -eq 0 ]; then
    echo "test: no test ran" >&2
    broken=$((broken + 1))
fi
failed=$((failed + broken))

summary="$passed passed, $failed failed"
[ "$skipped" -eq 0 ] || summary="$summary, $skipped skipped"
echo "$summary" >"$cache/test-summary"
echo "$summary"
[ "$failed" -eq 0 ]
