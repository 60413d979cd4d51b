#!/usr/bin/env bash
# Build images without an engine or a registry: build.sh [--tools | NAME...]   (needs root; NAMES of the table in env.sh)
# `--tools` only installs what that needs.
# Each becomes a docker-archive in $IMAGES and a line `NAME<tab>REFERENCE<tab>FILE` in $IMAGES/images.tsv. What has been built
# from the same content before is left alone. `load.sh` brings them into a cluster.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"
mkdir -p "$IMAGES/tars"
touch "$IMAGES/images.tsv"
exec 9>"$IMAGES/lock"
flock 9 # two builds at once would make the same base twice

install_tools() {
  command -v buildah debootstrap runc jq >/dev/null 2>&1 && [ "$(command -v buildah debootstrap runc jq | wc -l)" = 4 ] && return
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends buildah debootstrap runc jq >/dev/null
}

# The public base image's name, made of Debian's packages: its Python is Debian's 3.11 in /usr/bin, not in /usr/local/bin.
BASE=python:3.11-slim-bookworm
standin_base() {
  buildah inspect --type image "localhost/$BASE" >/dev/null 2>&1 && return
  echo "base: $BASE out of Debian packages"
  local root="$IMAGES/base.partial"
  rm -rf "$root"
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates,netbase,tzdata bookworm "$root" >"$IMAGES/base.log" 2>&1 ||
    { tail -5 "$IMAGES/base.log" >&2; echo "debootstrap failed: see $IMAGES/base.log" >&2; return 1; }
  # As the public slim image: no package lists, no manuals, no translations.
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,info,lintian}/*
  find "$root/usr/share/locale" -mindepth 1 -maxdepth 1 ! -name locale.alias -exec rm -rf {} +
  # pip inside trusts what this machine trusts, for example a proxy's own certificate.
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  tar -C "$root" --exclude=./dev/* -cf "$IMAGES/base.tar" .
  local c; c=$(buildah from scratch)
  buildah add -q "$c" "$IMAGES/base.tar" / >/dev/null
  buildah config --cmd python3 "$c"
  buildah commit -q "$c" "localhost/$BASE" >/dev/null
  buildah rm "$c" >/dev/null
  rm -rf "$root" "$IMAGES/base.tar"
}

inside() { for f; do case "$f" in /*) ;; *) echo "$f" ;; esac; done; }
# The public nginx's name, as the gateway's Dockerfile has it. Made anew in a second where nothing changed.
standin_nginx() {
  local name; name=$(sed -n 's/^ARG NGINX=//p' manifests/base/gateway/Dockerfile)
  [ -n "$name" ] || { echo "The gateway's Dockerfile names no ARG NGINX=…: nothing to stand in for." >&2; return 1; }
  buildah bud -q --layers --network=host --pull-never --format docker -t "localhost/$name" "$STANDINS/nginx" >"$IMAGES/build-nginx.log" 2>&1 ||
    { tail -25 "$IMAGES/build-nginx.log" >&2; return 1; }
}

content() { # content DOCKERFILE TARGET PATHS   a digest of everything the image is made of
  local dockerfile=$1 target=$2 paths=${3//,/ }
  { echo "$target $ARGS"
    # shellcheck disable=SC2046,SC2086 - several paths
    git ls-files -co --exclude-standard -- "$dockerfile" $(inside $paths) | grep -v '\.md$' | sort -u | while read -r f; do
      if [ -f "$f" ]; then printf '%s ' "$f"; sha256sum <"$f"; fi; done
    for f in $paths; do case "$f" in /*) sha256sum <"$f" ;; esac; done
  } | sha256sum | cut -c1-12
}

relabel() { # relabel REFERENCE VERSION : buildah 1.28 gives out the image of before, with its labels, where no layer changed
  local label=org.opencontainers.image.version container said
  said=$(buildah inspect --type image --format "{{index .Docker.Config.Labels \"$label\"}}" "$1")
  case "$said" in "" | "<no value>" | "$2") return ;; esac
  container=$(buildah from --pull-never "$1")
  buildah config --label "$label=$2" "$container"
  buildah commit --quiet --rm --format docker "$container" "$1" >/dev/null
}

build() { # build NAME DOCKERFILE TARGET CONTEXT PATHS
  local name=$1 dockerfile=$2 target=${3#-} context=$4 hash reference file
  [ -f "$dockerfile" ] || { echo "$name: there is no $dockerfile (yet)" >&2; return 1; }
  hash=$(content "$dockerfile" "$target" "$5")
  case "$name" in *:*) reference=$name ;; *) reference="$PREFIX/$name:$hash" ;; esac
  file="$IMAGES/tars/$(tr '/:' '__' <<<"$name")-$hash.tar"
  if [ ! -f "$file" ]; then
    echo "build: $reference"
    # --layers keeps what has not changed; nothing is ever pulled
    local begun=$SECONDS
    if [ "$name" = auricle-gateway ]; then standin_nginx; fi
    buildah bud --quiet --layers --network=host --pull-never --format docker ${target:+--target "$target"} $ARGS \
      --build-arg VERSION="$hash" -f "$dockerfile" -t "$reference" "$context" >"$IMAGES/build-${name//[\/:]/_}.log" 2>&1 ||
      { tail -25 "$IMAGES/build-${name//[\/:]/_}.log" >&2; echo "$name: the build failed, see above" >&2; return 1; }
    relabel "$reference" "$hash"
    # Only the newest of a name is kept; its layers stay as long as something is built on them.
    buildah images --format '{{.Name}}:{{.Tag}}' | grep "^$PREFIX/$name:" | grep -vxF "$reference" | xargs -r buildah rmi >/dev/null 2>&1 || true
    rm -f "$IMAGES/tars/$(tr '/:' '__' <<<"$name")"-????????????.tar
    buildah push -q "$reference" "docker-archive:$file.partial:$reference" && mv "$file.partial" "$file"
    echo "build: $reference took $((SECONDS - begun)) s, $(du -m "$file" | cut -f1) MB"
  fi
  { grep -vP "^\Q$name\E\t" "$IMAGES/images.tsv" || true; printf '%s\t%s\t%s\n' "$name" "$reference" "$file"; } >"$IMAGES/images.tsv.new"
  mv "$IMAGES/images.tsv.new" "$IMAGES/images.tsv"
}

# What interrupted builds left, and, on a full disk, layers that no image has any more: the node stops starting pods there.
tidy() {
  buildah containers --all --quiet | xargs -r buildah rm >/dev/null 2>&1 || true
  if [ "$(df --output=avail -BG "$IMAGES" | tail -1 | tr -dc 0-9)" -lt 12 ]; then buildah rmi --prune --force >/dev/null 2>&1 || true; fi
}

ARGS=""
install_tools
[ "${1:-}" != --tools ] || exit 0
tidy
standin_base
for wanted in ${*:-$DEFAULT}; do
  row=$(table | awk -v n="$wanted" '$1 == n')
  [ -n "$row" ] || { echo "There is no image $wanted; there are: $(table | cut -d' ' -f1 | tr '\n' ' ')" >&2; exit 2; }
  # shellcheck disable=SC2086 - a row is words
  build $row
done
