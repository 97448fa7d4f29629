#!/usr/bin/env bash
# From nothing to every image of the suite without an image registry: base images out of OS packages, Penstock's own images
# on them, and the stand-ins on those. Needs a Docker engine (engine.sh). What exists already is taken from the cache.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${PYTHON_IMAGE:=penstock-standin/python:3.11}"
: "${PENSTOCK_IMAGE:=penstock/services:dev}" "${PENSTOCK_TOOLS_IMAGE:=penstock/tools:dev}"
: "${PENSTOCK_LAMBDA_IMAGE:=penstock/lambda:dev}"
standin=penstock-standin
lap() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }

TAG_PYTHON=$PYTHON_IMAGE deploy/airgap/base-images.sh

# build FILE TARGET TAG [ARGUMENT...]: the legacy builder, since testcontainers builds with it too.
build() {
  local file=$1 target=$2 tag=$3; shift 3
  local arguments=(); for argument in "$@"; do arguments+=(--build-arg "$argument"); done
  local log; log=$(mktemp)
  if ! DOCKER_BUILDKIT=0 docker build -f "$file" ${target:+--target "$target"} -t "$tag" "${arguments[@]}" . >"$log" 2>&1; then
    echo "error: $tag does not build:" >&2; tail -n 20 "$log" >&2; rm -f "$log"; return 1
  fi
  rm -f "$log"; lap "$tag"
}

build deploy/airgap/images/Dockerfile lambda "$standin/aws-lambda-python:3.11" "PYTHON_IMAGE=$PYTHON_IMAGE" &
lambda=$!
build deploy/Dockerfile services "$PENSTOCK_IMAGE" "PYTHON_IMAGE=$PYTHON_IMAGE"
build deploy/Dockerfile tools "$PENSTOCK_TOOLS_IMAGE" "PYTHON_IMAGE=$PYTHON_IMAGE"
wait "$lambda"
build deploy/lambda.Dockerfile "" "$PENSTOCK_LAMBDA_IMAGE" "LAMBDA_IMAGE=$standin/aws-lambda-python:3.11" &
lambda=$!
for line in 5.18 6.1; do
  build deploy/airgap/images/Dockerfile activemq "$standin/activemq:$line" "TOOLS_IMAGE=$PENSTOCK_TOOLS_IMAGE" "ACTIVEMQ_LINE=$line"
done
for name in valkey aws dynamodb; do
  build deploy/airgap/images/Dockerfile "$name" "$standin/$name:dev" "TOOLS_IMAGE=$PENSTOCK_TOOLS_IMAGE"
done
wait "$lambda"
lap "every image is there; next: docker compose --env-file deploy/airgap/offline.env up --wait"
