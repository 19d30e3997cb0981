#!/usr/bin/env bash
# Taskplane as a system on this host: PostgreSQL on a cluster of its own, nats-server, and two of each service. Prints where
# they are. `down.sh` stops exactly what this started; everything lies in one temporary directory, and goes with it.
#
# TASKPLANE_UP_PORT: where the first api listens, 7070 by default; 0 takes free ports.
set -euo pipefail
cd "$(dirname "$0")/.."

cache="${TASKPLANE_CACHE:-${HOME:-/root}/.cache/taskplane}"
bin="${CARGO_TARGET_DIR:-$cache/target}/debug"
mark="${TASKPLANE_UP_MARK:-$cache/up}"
port="${TASKPLANE_UP_PORT:-7070}"

if [ -e "$mark" ]; then
    echo "up: a system is up already, in $(cat "$mark"); make down stops it" >&2
    exit 1
fi
if [ -z "${TASKPLANE_UP_BUILT:-}" ]; then
    echo "Building (a few minutes the first time)…"
    cargo build --quiet -p taskplane-api -p taskplane-scheduler -p taskplane-reaper -p taskplane-executor -p taskplane-cli -p taskplane-backend --bins
fi

dir="$(mktemp -d "${TMPDIR:-/tmp}/taskplane-up-XXXXXX")"
mkdir -p "$(dirname "$mark")"
echo "$dir" >"$mark"
chmod 0711 "$dir"
mkdir -m 0700 "$dir/keys" "$dir/logs"
trap 'status=$?; [ $status -eq 0 ] || { echo "up: failed; the logs:" >&2; tail -n 5 "$dir"/logs/*.log >&2 || true; bash scripts/down.sh >/dev/null || true; }; exit $status' EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Starts a program beside us, and writes down who it is: a number alone may be somebody else's by the time of `make down`.
launch() { # NAME PROGRAM ARGS…
    local name=$1
    shift
    setsid "$@" </dev/null >"$dir/logs/$name.log" 2>&1 &
    local pid=$!
    # Field 22 of its stat; the program's name before it may have spaces.
    echo "$name $pid $(sed 's/.*) //' "/proc/$pid/stat" | cut -d' ' -f20)" >>"$dir/started"
}

await() { # NAME, and a command that is true once it is there
    local name=$1 pid
    shift
    pid="$(awk -v name="$name" '$1 == name { print $2 }' "$dir/started" | tail -n 1)"
    for _ in $(seq 600); do
        "$@" && return
        kill -0 "$pid" 2>/dev/null || { echo "up: $name ended" >&2; return 1; }
        sleep 0.1
    done
    echo "up: $name is not ready" >&2
    return 1
}

find_postgres() {
    local directory
    for directory in "${TASKPLANE_PG_BIN:-}" "$(pg_config --bindir 2>/dev/null || true)" $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV); do
        [ -n "$directory" ] && [ -x "$directory/initdb" ] && [ -x "$directory/pg_ctl" ] && { echo "$directory"; return; }
    done
    echo "up: PostgreSQL's server is not installed: run make setup" >&2
    return 1
}

# PostgreSQL refuses to run as root, so root lends it another user.
postgres="$(find_postgres)"
as_owner=()
mkdir -m 0700 "$dir/postgres"
if [ "$(id -u)" -eq 0 ]; then
    owner="$(id -u postgres >/dev/null 2>&1 && echo postgres || echo nobody)"
    chown "$owner" "$dir/postgres"
    as_owner=(setpriv "--reuid=$owner" "--regid=$(id -g "$owner")" --clear-groups)
fi
pg_port="$(free_port)"
(cd / && "${as_owner[@]}" "$postgres/initdb" --auth=trust --username=postgres --encoding=UTF8 --locale=C --pgdata="$dir/postgres/data") >"$dir/logs/initdb.log"
(cd / && launch postgres "${as_owner[@]}" "$postgres/postgres" -D "$dir/postgres/data" -c "port=$pg_port" \
    -c listen_addresses=127.0.0.1 -c "unix_socket_directories=$dir/postgres" -c max_connections=200)
await postgres "$postgres/pg_isready" --quiet --host=127.0.0.1 "--port=$pg_port" --username=postgres
"$postgres/createdb" --host=127.0.0.1 "--port=$pg_port" --username=postgres taskplane
database="postgres://postgres@127.0.0.1:$pg_port/taskplane"

find_nats() {
    local server
    for server in "${TASKPLANE_NATS_SERVER:-}" "$cache/venv/bin/nats-server" "$(command -v nats-server || true)"; do
        [ -n "$server" ] && [ -x "$server" ] && { echo "$server"; return; }
    done
    echo "up: nats-server is not installed: run make setup" >&2
    return 1
}

nats_port="$(free_port)"
nats_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$nats_port") 2>/dev/null; }
cat >"$dir/nats.conf" <<CONF
host: 127.0.0.1
port: $nats_port
jetstream { store_dir: "$dir/nats" }
CONF
launch nats "$(find_nats)" -c "$dir/nats.conf"
await nats nats_answers

for key in token secret; do
    head -c 32 /dev/urandom | od -An -tx1 -v | tr -d ' \n' >"$dir/keys/$key.key"
done
objects="file://$dir/objects"
control=(--database-url "$database" --secret-key-file "$dir/keys/secret.key" --nats-url "nats://127.0.0.1:$nats_port")

listen() { [ "$port" -eq 0 ] && echo "127.0.0.1:0" || echo "127.0.0.1:$((port + $1))"; }
for n in 1 2; do
    launch "api-$n" "$bin/taskplane-api" "${control[@]}" --migrate --token-key-file "$dir/keys/token.key" --objects-url "$objects" \
        --listen "$(listen $((2 * n - 2)))" --internal-listen "$(listen $((2 * n - 1)))" \
        --address-file "$dir/api-$n" --internal-address-file "$dir/api-$n.internal"
    launch "scheduler-$n" "$bin/taskplane-scheduler" "${control[@]}"
    launch "reaper-$n" "$bin/taskplane-reaper" "${control[@]}" --objects-url "$objects"
done
for n in 1 2; do
    await "api-$n" test -s "$dir/api-$n"
done
apis="$(cat "$dir/api-1.internal"),$(cat "$dir/api-2.internal")"
for n in 1 2; do
    launch "executor-$n" "$bin/taskplane-executor" --executor-name "executor-$n" --api-address "$apis" \
        --objects-url "$objects" --data-dir "$dir/executor-$n"
    await "executor-$n" grep -q "the executor is ready" "$dir/logs/executor-$n.log"
done

cat <<TEXT
Taskplane is up:

  api         $(cat "$dir/api-1") and $(cat "$dir/api-2"); for executors $apis
  executor    executor-1 and executor-2, Tasks as processes of this host
  scheduler   two     reaper   two
  PostgreSQL  $database
  NATS        nats://127.0.0.1:$nats_port, events in the stream TASKPLANE_EVENTS
  logs        $dir/logs

Use it:

  export PATH="$bin:\$PATH"
  taskplane target --api http://$(cat "$dir/api-1")
  taskplane create-space demo && taskplane target -s demo
  taskplane push sales-report --task -p examples/sales-report
  taskplane run-task sales-report --wait

make down stops all of it and removes $dir.
TEXT
