#!/usr/bin/env bash
# Builds MinIO from its Go module, a peer for tests only (AGPL-3.0), unless the cache has it. 7 to 13 minutes on two cores, so
# the lane that has the time asks for it: everything that needs it is skipped, with a reason, where it is missing.
# Wants Go 1.24 or newer (GO names another one).
set -euo pipefail

VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
BIN="${AURICLE_CACHE:-$HOME/.cache/auricle}/bin"

if [ -x "$BIN/minio" ]; then
  exit 0
fi
if ! command -v "${GO:-go}" > /dev/null; then
  echo "MinIO is built from source: install Go 1.24 or newer, or set GO to its program." >&2
  exit 1
fi
mkdir -p "$BIN"
building="$(mktemp -d "$BIN/.minio-XXXXXX")"
trap 'rm -rf "$building"' EXIT
# No cgo: one static program that runs in any image. Moved when it is whole, so that a killed build leaves nothing half.
GOBIN="$building" CGO_ENABLED=0 nice "${GO:-go}" install -trimpath -ldflags='-s -w' "github.com/minio/minio@$VERSION"
mv "$building/minio" "$BIN/minio"
