#!/usr/bin/env bash
# Installs what `make test-services` starts as real peers: an S3 server (Debian's Ceph: monitor, storage, gateway).
# Nothing is started here and nothing runs afterwards; about 60 MB are downloaded. Does nothing when all is there.
set -euo pipefail

programs=(ceph ceph-authtool ceph-mon ceph-osd monmaptool radosgw radosgw-admin setpriv)
packages=(ceph-common ceph-mon ceph-osd radosgw util-linux)

missing=()
for program in "${programs[@]}"; do
  command -v "$program" > /dev/null || missing+=("$program")
done
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi
if ! command -v apt-get > /dev/null; then
  echo "Missing: ${missing[*]}. Install Ceph (monitor, OSD, RADOS gateway) with this system's package manager, then try again." >&2
  exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo > /dev/null; then
    echo "Missing: ${missing[*]}. Run this script as root: it installs ${packages[*]}." >&2
    exit 1
  fi
  as_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${packages[@]}"
