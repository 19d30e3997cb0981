#!/usr/bin/env bash
# Installs what `make test` and `make demo` need, and only what is missing. Quick when everything is there.
#
# System packages come from apt, when this is Debian and we are root; otherwise it says what to install. Python tools go into
# a virtual environment below TASKPLANE_CACHE. Rust is left to rustup, which reads rust-toolchain.toml.
set -euo pipefail
cd "$(dirname "$0")/.."

cache="${TASKPLANE_CACHE:-${HOME:-/root}/.cache/taskplane}"
venv="$cache/venv"

has() { command -v "$1" >/dev/null 2>&1; }

has_server() {
    local directory
    for directory in "${TASKPLANE_PG_BIN:-}" "$(pg_config --bindir 2>/dev/null || true)" /usr/lib/postgresql/*/bin; do
        [ -n "$directory" ] && [ -x "$directory/initdb" ] && [ -x "$directory/pg_ctl" ] && return 0
    done
    return 1
}

missing=()
has cc || missing+=(build-essential)
has git || missing+=(git)
has python3 || missing+=(python3)
has python3 && python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
has_server || missing+=(postgresql)
[ -e /etc/ssl/certs/ca-certificates.crt ] || [ "$(uname)" != Linux ] || missing+=(ca-certificates)

if [ "${#missing[@]}" -gt 0 ]; then
    if ! has apt-get || [ "$(id -u)" -ne 0 ]; then
        echo "setup: these are missing: ${missing[*]}" >&2
        echo "setup: as root on Debian or Ubuntu: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    echo "setup: installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    install() { apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
    if [[ " ${missing[*]} " == *" postgresql "* ]]; then
        # The tests start servers of their own: Debian's package shall bring binaries, not a running cluster.
        install postgresql-common
        config=/etc/postgresql-common/createcluster.conf
        if grep -Eq '^#?[[:space:]]*create_main_cluster' "$config" 2>/dev/null; then
            sed -Ei 's/^#?[[:space:]]*create_main_cluster.*/create_main_cluster = false/' "$config"
        else
            echo 'create_main_cluster = false' >>"$config"
        fi
    fi
    install "${missing[@]}"
    has_server || { echo "setup: PostgreSQL's server is still not found; name its directory in TASKPLANE_PG_BIN" >&2; exit 1; }
fi

if ! has cargo; then
    channel="$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)"
    echo "setup: cargo is missing: install rustup (https://rustup.rs), which then fetches Rust $channel by itself" >&2
    exit 1
fi

# Installed anew when the list, the interpreter or the place changes.
stamp="$( { cat scripts/requirements.txt; python3 --version; echo "$venv"; } | sha256sum | cut -d' ' -f1)"
if [ "$(cat "$venv/stamp" 2>/dev/null)" != "$stamp" ]; then
    echo "setup: installing Python tools into $venv"
    rm -rf "$venv"
    mkdir -p "$cache"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement scripts/requirements.txt
    "$venv/bin/buf" --version >/dev/null
    echo "$stamp" >"$venv/stamp"
fi
echo "setup: everything is there"
