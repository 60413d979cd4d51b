#!/usr/bin/env bash
# Make or reuse the lane's cluster: make.sh [apt|build|up|down]   (default: build and up)
# `apt` installs what building needs; `build` compiles and packs, and starts nothing; `up` starts the node and loads the images.
# With KUBECONFIG set, that cluster is used as it is: only images are built, and AURICLE_LOAD (images/README.md) loads them.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
given="${KUBECONFIG:-}"
. "$here/node/env.sh"

fresh() { # fresh NAME FILES... : has this step been done with exactly these scripts and versions?
  local stamp="$CLUSTER_HOME/$1.done"; shift
  [ -s "$stamp" ] && [ "$(cat "$stamp")" = "$(sum "$@")" ]
}
sum() { cat "$@" "$here/node/env.sh" "$here/node/rabbitmq/env.sh" | sha256sum | cut -d' ' -f1; }
done_with() { local stamp="$CLUSTER_HOME/$1.done"; shift; sum "$@" >"$stamp"; }

theirs() { [ -n "$given" ] && [ "$given" != "$CLUSTER_HOME/admin.kubeconfig" ]; }

install() { # seconds when it is there; the packages are outside the cache
  theirs || "$here/node/build.sh" apt
  "$here/images/build.sh" --tools
}

build() {
  local kn=("$here"/node/build.sh "$here"/node/tools/* "$here"/node/src/*/*) rmq=("$here"/node/rabbitmq/build.sh "$here"/node/rabbitmq/render.py)
  install
  "$here/../services/minio.sh"  # first: other lanes try it, too
  if ! theirs; then
    fresh node "${kn[@]}" || { "$here/node/build.sh"; done_with node "${kn[@]}"; }
    fresh rabbitmq "${rmq[@]}" || { "$here/node/rabbitmq/build.sh"; done_with rabbitmq "${rmq[@]}"; }
  fi
  "$here/images/build.sh"
}

up() {
  if theirs; then
    echo "Using the cluster of KUBECONFIG=$given. It needs Knative 1.23, RabbitMQ's broker, and manifests/knative applied."
  else
    "$here/node/up.sh"
    "$here/node/rabbitmq/up.sh"
  fi
  "$here/images/load.sh"
}

case "${1:-all}" in
  apt) install;;
  build) build;;
  up) up;;
  down) "$here/node/down.sh" "${@:2}";;
  all) build; up;;
  *) sed -n 2,4p "$0" >&2; exit 2;;
esac
