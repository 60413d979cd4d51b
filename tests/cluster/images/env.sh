# What the scripts here share. Everything they make lies in $IMAGES, outside the tree.
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ROOT="$(cd "$HERE/../../.." && pwd)"
CACHE="${AURICLE_CACHE:-$HOME/.cache/auricle}"
IMAGES="$CACHE/images"
CLUSTER_HOME="${CLUSTER_HOME:-$CACHE/cluster}"
PREFIX="${IMAGE_PREFIX:-dev.local}"
export BUILDAH_ISOLATION=chroot
mkdir -p "$IMAGES"

# One line per image: name, Dockerfile, target (- for the last stage), context, and what its content is (with commas).
# A name without a tag is ours and becomes $PREFIX/NAME:CONTENT; one with a tag stands in for that public image.
OURS=functions,pyproject.toml,.dockerignore
STANDINS=tests/cluster/images/standins
table() {
  cat <<TABLE
auricle-api functions/Dockerfile api . $OURS
auricle-identity functions/Dockerfile identity . $OURS
auricle-media functions/Dockerfile media . $OURS
auricle-speech gpu-pool/Dockerfile speech-cpu . $OURS,gpu-pool
auricle-speech-gpu gpu-pool/Dockerfile speech . $OURS,gpu-pool
auricle-operator operator/Dockerfile operator . $OURS,gpu-pool,operator
auricle-gateway manifests/base/gateway/Dockerfile - manifests/base/gateway manifests/base/gateway/Dockerfile,$STANDINS/nginx
pgvector/pgvector:pg18 $STANDINS/pgvector/Dockerfile - $STANDINS/pgvector $STANDINS/pgvector
$PGBOUNCER $STANDINS/pgbouncer/Dockerfile - $STANDINS/pgbouncer $STANDINS/pgbouncer
TABLE
  if [ -f "$CACHE/bin/minio" ]; then
    echo "$MINIO $STANDINS/minio/Dockerfile - $CACHE/bin $CACHE/bin/minio,$STANDINS/minio"
  fi
}
# Public images' names are those that the components take.
named() { sed -n "s/^ *image: \([^ ]*$2[^ ]*\).*/\1/p" "$ROOT/manifests/components/$1"/*.yaml | head -1; }
MINIO=$(named object-store minio)
PGBOUNCER=$(named pgbouncer pgbouncer)
DEFAULT="auricle-api auricle-identity auricle-media auricle-speech auricle-operator auricle-gateway pgvector/pgvector:pg18 $PGBOUNCER"
# Without its binary (go install takes minutes: the lane makes it) there is no MinIO.
[ ! -f "$CACHE/bin/minio" ] || DEFAULT+=" $MINIO"
