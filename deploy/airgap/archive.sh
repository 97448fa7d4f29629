#!/usr/bin/env bash
# Every image as one file, for a closed network:
#   archive.sh save FILE    Penstock's images and those of offline.env, or others that variables of the environment name
#   archive.sh load FILE    all of them into this machine's engine
# zstd compresses when it is installed, else gzip. About 250 MB.
set -euo pipefail
cd "$(dirname "$0")/../.."

# image VARIABLE DEFAULT: what the environment says, else offline.env, else the default.
image() {
  local line
  line=$(grep "^$1=" deploy/airgap/offline.env || true)
  printf '%s\n' "${!1:-${line:+${line#*=}}}" | grep . || printf '%s\n' "$2"
}

images() {
  image PENSTOCK_IMAGE penstock/services:dev
  image PENSTOCK_TOOLS_IMAGE penstock/tools:dev
  image PENSTOCK_LAMBDA_IMAGE penstock/lambda:dev
  for variable in PYTHON_IMAGE ACTIVEMQ_IMAGE VALKEY_IMAGE AWS_IMAGE DYNAMODB_IMAGE LAMBDA_IMAGE; do image "$variable" ""; done
  # The other line of ActiveMQ, where it was made.
  docker images --format '{{.Repository}}:{{.Tag}}' penstock-standin/activemq
}

case "${1:-}:${2:-}" in
  save:?*)
    if command -v zstd >/dev/null; then compress=(zstd -3 -q -T0); else compress=(gzip -1); fi
    mapfile -t names < <(images | sort -u)
    docker save "${names[@]}" | "${compress[@]}" >"$2.partial"
    mv "$2.partial" "$2"
    echo "$2: $(du -h "$2" | cut -f1), ${#names[@]} images"
    ;;
  load:?*)
    # The engine reads gzip by itself and, before version 23, no zstd.
    if [ "$(head -c 4 "$2" | od -An -tx1 | tr -d ' \n')" = 28b52ffd ]; then zstd -dcq "$2" | docker load; else docker load -i "$2"; fi
    ;;
  *) echo "usage: archive.sh save FILE | load FILE" >&2; exit 2 ;;
esac
