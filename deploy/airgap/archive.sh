#!/usr/bin/env bash
# Every image as one file, for a closed network:
#   archive.sh save FILE    Penstock's images and the stand-ins (or upstream images named in the environment) into FILE
#   archive.sh load FILE    all of them into this machine's engine
# zstd compresses when it is installed, else gzip. About 250 MB.
set -euo pipefail
cd "$(dirname "$0")/../.."
set -a
# shellcheck source=offline.env
. deploy/airgap/offline.env
set +a

case "${1:-}:${2:-}" in
  save:?*)
    if command -v zstd >/dev/null; then compress=(zstd -3 -q -T0); else compress=(gzip -1); fi
    docker save "${PENSTOCK_IMAGE:-penstock/services:dev}" "${PENSTOCK_TOOLS_IMAGE:-penstock/tools:dev}" \
      "${PENSTOCK_LAMBDA_IMAGE:-penstock/lambda:dev}" "$ACTIVEMQ_IMAGE" "$VALKEY_IMAGE" "$AWS_IMAGE" "$DYNAMODB_IMAGE" \
      | "${compress[@]}" >"$2.partial"
    mv "$2.partial" "$2"
    echo "$2: $(du -h "$2" | cut -f1)"
    ;;
  load:?*)
    # The engine reads gzip by itself and, before version 23, no zstd.
    if [ "$(head -c 4 "$2" | od -An -tx1 | tr -d ' \n')" = 28b52ffd ]; then zstd -dcq "$2" | docker load; else docker load -i "$2"; fi
    ;;
  *) echo "usage: archive.sh save FILE | load FILE" >&2; exit 2 ;;
esac
