#!/usr/bin/env bash
# Builds, runs the standalone until Ctrl-C, and says how to talk to it. The data stays in ./taskplane-data.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --quiet -p taskplane-standalone -p taskplane-cli -p taskplane-backend --bins
bin="$CARGO_TARGET_DIR/debug"
cat <<TEXT
The standalone listens on 127.0.0.1:7070 and keeps everything in ./taskplane-data. In another terminal:

  export PATH="$bin:\$PATH"
  taskplane create-space demo && taskplane target -s demo
  taskplane push sales-report --task -p examples/sales-report
  taskplane run-task sales-report --wait
  taskplane tasks

Ctrl-C stops it.
TEXT
exec "$bin/taskplane-standalone"
