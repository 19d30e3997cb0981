#!/usr/bin/env bash
# Makes the guard's image: one static program on nothing. usage: scripts/guard-image.sh load|save [ARCHIVE] [NAME]
#   load   into the rig's node (tests/rig), as docker.io/taskplane/guard:VERSION or NAME
#   save   as ARCHIVE (guard.tar), in the docker-archive format, which containerd, skopeo, crane and docker read
set -euo pipefail
cd "$(dirname "$0")/.."

what=${1:-} archive=${2:-guard.tar}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
name=${3:-docker.io/taskplane/guard:$version}
target=$(rustc -vV | sed -n 's/^host: //p')
[ "$what" = load ] || [ "$what" = save ] || { sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 2; }

# With --target, so that these flags are the guard's alone and not those of build scripts.
RUSTFLAGS="-C target-feature=+crt-static" \
  cargo build --quiet --package taskplane-guard --profile dist --target "$target"
directory=$(mktemp -d); trap 'rm -rf "$directory"' EXIT
install -m 0755 "${CARGO_TARGET_DIR:-target}/$target/dist/taskplane-guard" "$directory/taskplane-guard"
strip "$directory/taskplane-guard"
# What needs anything from its surroundings would not start in an image that has none.
if readelf --program-headers "$directory/taskplane-guard" | grep -q INTERP; then
  echo "guard-image: the program is not static" >&2
  exit 1
fi

config='{"Entrypoint":["/taskplane-guard"],"User":"65532:65532"}'
if [ "$what" = load ]; then
  tests/rig/rig image "$name" "$directory" "$config"
else
  tests/rig/image.sh "$archive" "$name" "$directory" "$config"
fi
echo "$name: $(stat -c %s "$directory/taskplane-guard") bytes"
