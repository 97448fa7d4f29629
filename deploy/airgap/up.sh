#!/usr/bin/env bash
# One command from nothing: an engine, compose, every image. Then `docker compose --env-file deploy/airgap/offline.env up --wait`.
# Run again it does only what is missing. Exit code 75: no engine can be had here.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/engine.sh" up
"$here/plugins.sh"
"$here/images.sh"
