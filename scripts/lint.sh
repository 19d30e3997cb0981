#!/usr/bin/env bash
# Every check that runs no test. All of them run; the exit code is the number of those that failed.
set -uo pipefail
cd "$(dirname "$0")/.."

cache="${TASKPLANE_CACHE:-${HOME:-/root}/.cache/taskplane}"
buf="$cache/venv/bin/buf"
failed=()

check() {
    local name="$1"
    shift
    echo "== $name"
    "$@" || failed+=("$name")
}

check "format" cargo fmt --all --check
check "clippy" cargo clippy --workspace --all-targets --quiet -- -D warnings
check "buf lint" "$buf" lint proto
check "buf format" "$buf" format --diff --exit-code proto
if command -v cargo-deny >/dev/null 2>&1; then
    check "cargo deny" cargo deny --offline check bans licenses sources
else
    echo "== cargo deny: NOT CHECKED, because cargo-deny is not installed (licences and sources of crates; deny.toml)"
fi

if [ "${#failed[@]}" -gt 0 ]; then
    printf 'lint: %s failed\n' "${failed[@]}" >&2
fi
exit "${#failed[@]}"
