#!/usr/bin/env bash
# Import built images into the cluster's containerd: load.sh [NAME...]   (default: all of $IMAGES/images.tsv)
# Another cluster: AURICLE_LOAD is a command that gets the paths of docker-archives, for example "kind load image-archive".
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
into_containerd() { ctr -n k8s.io -a "$CLUSTER_HOME/run/containerd.sock" images import "$1" >/dev/null; }
while IFS=$'\t' read -r name reference file; do
  [ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
  if [ -z "${AURICLE_LOAD:-}" ] && ctr -n k8s.io -a "$CLUSTER_HOME/run/containerd.sock" images ls -q | grep -qxF "$reference" &&
    [[ "$name" != *:* ]]; then
    continue # our tags are content: the same tag is the same image
  fi
  ${AURICLE_LOAD:-into_containerd} "$file"
  echo "loaded $reference"
done <"$IMAGES/images.tsv"
