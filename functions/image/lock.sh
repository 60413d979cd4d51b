#!/usr/bin/env bash
# Pin what goes into the images, by digest: `functions/image/lock.sh` writes the *.lock files beside each Dockerfile.
# Versions are those that the tests run with (requirements.lock, requirements-speech.lock).
set -euo pipefail
cd "$(dirname "$0")/../.."
uv=${UV:-.venv/bin/uv}
pin() { # pin OUTPUT CONSTRAINTS ARGUMENT...
  local out=$1 known=$2; shift 2
  "$uv" pip compile --quiet --no-header --no-annotate --generate-hashes --python-version 3.11 -c "$known" -o "$out" "$@"
}
# The tools are no part of what is tested, so nothing else's versions bind them.
pin functions/image/build.lock /dev/null functions/image/build.in
pin functions/image/api.lock requirements.lock --extra redis --extra tracing pyproject.toml
pin functions/image/identity.lock requirements.lock --extra identity --extra tracing pyproject.toml
pin functions/image/media.lock requirements.lock --overrides functions/image/media-overrides.in --extra media --extra tracing pyproject.toml
pin gpu-pool/image/speech-cpu.lock requirements.lock --extra speech --extra tracing pyproject.toml
pin gpu-pool/image/speech.lock requirements-speech.lock --extra gpu --extra tracing pyproject.toml gpu-pool/image/cuda12.in
pin operator/image/operator.lock requirements.lock --extra operator pyproject.toml
