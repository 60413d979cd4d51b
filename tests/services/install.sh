#!/usr/bin/env bash
# Installs what `make test-services` starts as real peers: an S3 server (Debian's Ceph: monitor, storage, gateway), nginx with
# njs, Prometheus, Redis, pgbouncer and slapd. Nothing is started here and nothing runs afterwards; about
# 90 MB are downloaded. Does nothing when all is there.
set -euo pipefail

programs=(ceph ceph-authtool ceph-mon ceph-osd monmaptool radosgw radosgw-admin setpriv nginx curl openssl prometheus promtool redis-server pgbouncer slapd slapadd ldapsearch)
packages=(ceph-common ceph-mon ceph-osd radosgw util-linux nginx-light libnginx-mod-http-js curl openssl prometheus redis-server pgbouncer slapd ldap-utils)

# `install.sh keycloak`: what `make test-keycloak` needs instead. Maven fetches Keycloak itself, once, into the cache.
if [ "${1:-}" = keycloak ]; then
  programs=(java mvn setpriv)
  packages=(openjdk-17-jre-headless maven util-linux)
fi

missing=()
for program in "${programs[@]}"; do
  command -v "$program" > /dev/null || missing+=("$program")
done
[ "${1:-}" = keycloak ] || [ -f /usr/lib/nginx/modules/ngx_http_js_module.so ] || missing+=("nginx's module njs")
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi
if ! command -v apt-get > /dev/null; then
  echo "Missing: ${missing[*]}. Install what is in the packages ${packages[*]} of Debian with this system's package manager, then try again." >&2
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
# A policy for the length of the installation: Debian would start nginx and Prometheus as services.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" > /dev/null
  "${as_root[@]}" chmod 755 "$policy"
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${packages[@]}"
