#!/usr/bin/env bash
# Start the cluster: up.sh [core|knative|all]   (default all). Needs root; build.sh first.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
WHAT="${1:-all}"

start() { # start NAME cmd...  : host daemon with pid file and log
  local n="$1"; shift
  if [ -s "$RUN/$n.pid" ] && kill -0 "$(cat "$RUN/$n.pid")" 2>/dev/null; then echo "$n already up"; return; fi
  setsid nohup "$@" >>"$LOGS/$n.log" 2>&1 </dev/null &
  echo $! >"$RUN/$n.pid"; echo "started $n ($!)"
}
put() { # put FILE <<...: write only when changed (kube-proxy exits when its config file is rewritten)
  cat >"$1.new"; if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1"; fi
}
wait_for() { # wait_for SECONDS WHAT cmd...
  local t="$1" w="$2" end; shift 2; end=$((SECONDS + t))
  until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || { echo "timeout: $w" >&2; return 1; }; sleep 0.3; done
}

pki() {
  [ -s "$PKI/done" ] && return 0
  mkdir -p "$PKI"; cd "$PKI"
  openssl ecparam -name prime256v1 -genkey -noout -out ca.key 2>/dev/null
  openssl req -x509 -new -key ca.key -days 3650 -subj "/CN=cluster-ca" -out ca.crt \
    -addext "keyUsage=critical,keyCertSign,cRLSign,digitalSignature" -addext "basicConstraints=critical,CA:TRUE"
  cert() { # cert NAME SUBJECT [SAN]
    openssl ecparam -name prime256v1 -genkey -noout -out "$1.key" 2>/dev/null
    openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
    { echo "keyUsage=critical,digitalSignature,keyEncipherment"; echo "extendedKeyUsage=serverAuth,clientAuth"; [ -z "${3:-}" ] || echo "subjectAltName=$3"; } >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
  }
  cert apiserver "/CN=kube-apiserver" "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:127.0.0.1,IP:$NODE_IP,IP:$SVC_API"
  cert admin "/O=system:masters/CN=admin"
  cert kcm "/CN=system:kube-controller-manager"
  cert scheduler "/CN=system:kube-scheduler"
  cert proxy "/CN=system:kube-proxy"
  cert kubelet "/O=system:nodes/CN=system:node:$NODE_NAME" "DNS:$NODE_NAME,IP:$NODE_IP"
  cert apiserver-kubelet "/O=system:masters/CN=kube-apiserver-kubelet-client"
  openssl genrsa -out sa.key 2048 2>/dev/null; openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
  touch done; echo 1 >done; cd - >/dev/null
}
kubecfg() { # kubecfg FILE CERTNAME
  cat >"$1" <<Y
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://$NODE_IP:6443", certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")}}]
users: [{name: u, user: {client-certificate-data: $(base64 -w0 "$PKI/$2.crt"), client-key-data: $(base64 -w0 "$PKI/$2.key")}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
Y
  chmod 600 "$1"
}

kubelet() {
  start kubelet "$BIN/kubelet" --config="$STATE/kubelet.yaml" --kubeconfig="$STATE/kubelet.kubeconfig" --hostname-override="$NODE_NAME" --node-ip="$NODE_IP" --root-dir="$STATE/kubelet"
}
ready() { # 1.34.3 dies at one start of some thirty ("concurrent map read and map write"): as systemd would, begin it again
  kubelet >/dev/null; kubectl wait --for=condition=Ready "node/$NODE_NAME" --timeout=2s
}

net() {
  ip link show "$NODE_DEV" >/dev/null 2>&1 || { ip link add "$NODE_DEV" type bridge; ip addr add "$NODE_IP/32" dev "$NODE_DEV"; }
  ip link set "$NODE_DEV" up
  sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1 fs.inotify.max_user_instances=1024 fs.inotify.max_user_watches=524288
  # pods never leave this machine
  nft -f - <<N
table inet kn-fence
delete table inet kn-fence
table inet kn-fence {
  chain forward { type filter hook forward priority -10; policy accept;
    iifname "$POD_DEV" oifname != "$POD_DEV" drop
    oifname "$POD_DEV" iifname != "$POD_DEV" drop
  }
}
N
}

core() {
  local t0=$SECONDS
  pki; net
  for x in admin:admin.kubeconfig kcm:state/kcm.kubeconfig scheduler:state/scheduler.kubeconfig proxy:state/proxy.kubeconfig kubelet:state/kubelet.kubeconfig; do
    kubecfg "$CLUSTER_HOME/${x#*:}" "${x%%:*}"; done
  start etcd "$BIN/etcd" --name e --data-dir "$STATE/etcd" --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster e=http://127.0.0.1:2380 \
    --unsafe-no-fsync --log-level warn --auto-compaction-retention 10m --quota-backend-bytes 4294967296
  mkdir -p "$STATE/cni/net.d" "$STATE/containerd" "$RUN/containerd"
  put "$STATE/cni/net.d/10-bridge.conflist" <<J
{"cniVersion":"0.4.0","name":"pods","plugins":[
 {"type":"bridge","bridge":"$POD_DEV","isGateway":true,"ipMasq":false,"hairpinMode":true,"promiscMode":false,
  "ipam":{"type":"host-local","dataDir":"$STATE/cni/ipam","ranges":[[{"subnet":"$POD_CIDR"}]],"routes":[{"dst":"0.0.0.0/0"}]}}]}
J
  put "$STATE/containerd.toml" <<T
version = 2
root = "$STATE/containerd"
state = "$RUN/containerd"
[grpc]
  address = "$SOCK"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "dev.local/pause:1"
  restrict_oom_score_adj = true      # no CAP_SYS_RESOURCE on this machine: a negative score kills runc ("can't get final child's PID")
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${CNI_BIN:-/usr/lib/cni}"
    conf_dir = "$STATE/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]   # RuntimeClass "nvidia" = plain runc here
      runtime_type = "io.containerd.runc.v2"
T
  start containerd containerd -c "$STATE/containerd.toml"
  start kube-apiserver "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --bind-address="$NODE_IP" --advertise-address="$NODE_IP" --secure-port=6443 \
    --service-cluster-ip-range="$SVC_CIDR" --service-node-port-range=30000-32767 --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --client-ca-file="$PKI/ca.crt" --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" \
    --kubelet-client-certificate="$PKI/apiserver-kubelet.crt" --kubelet-client-key="$PKI/apiserver-kubelet.key" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local --service-account-signing-key-file="$PKI/sa.key" --service-account-key-file="$PKI/sa.pub" \
    --allow-privileged=true --kubelet-preferred-address-types=InternalIP --profiling=false ${APISERVER_EXTRA:-}
  wait_for 120 apiserver kubectl get --raw /readyz
  echo "apiserver ready after $((SECONDS - t0)) s"
  start kube-controller-manager "$BIN/kube-controller-manager" --kubeconfig="$STATE/kcm.kubeconfig" --authentication-kubeconfig="$STATE/kcm.kubeconfig" --authorization-kubeconfig="$STATE/kcm.kubeconfig" \
    --bind-address=127.0.0.1 --leader-elect=false --service-account-private-key-file="$PKI/sa.key" --root-ca-file="$PKI/ca.crt" \
    --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" --use-service-account-credentials=true --profiling=false \
    --kube-api-qps=200 --kube-api-burst=400 --concurrent-namespace-syncs=30  # hundreds of namespaces end in minutes, not hours
  start kube-scheduler "$BIN/kube-scheduler" --kubeconfig="$STATE/scheduler.kubeconfig" --authentication-kubeconfig="$STATE/scheduler.kubeconfig" --authorization-kubeconfig="$STATE/scheduler.kubeconfig" \
    --bind-address=127.0.0.1 --leader-elect=false --profiling=false
  echo "nameserver $SVC_DNS" >"$STATE/resolv.conf"
  put "$STATE/kubelet.yaml" <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE_IP
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet.crt
tlsPrivateKeyFile: $PKI/kubelet.key
cgroupDriver: cgroupfs
oomScoreAdj: 0
failCgroupV1: false
failSwapOn: false
clusterDNS: [$SVC_DNS]
clusterDomain: cluster.local
makeIPTablesUtilChains: false
resolvConf: $STATE/resolv.conf
containerRuntimeEndpoint: unix://$SOCK
podLogsDir: $LOGS/pods
volumePluginDir: $STATE/volumeplugins
maxPods: 250
serializeImagePulls: false
imageGCHighThresholdPercent: 100   # never delete images: they cannot be pulled again
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 200Mi, nodefs.available: 300Mi, imagefs.available: 300Mi}
evictionPressureTransitionPeriod: 15s   # a disk that was full for a moment does not stop the lane for five minutes
healthzBindAddress: 127.0.0.1
nodeStatusReportFrequency: 1m
registryPullQPS: 0
kubeAPIQPS: 100
kubeAPIBurst: 200
Y
  wait_for 30 containerd ctr -a "$SOCK" version
  import_images
  kubelet
  put "$STATE/proxy.yaml" <<Y
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ${PROXY_MODE:-nftables}
clusterCIDR: $POD_CIDR
hostnameOverride: $NODE_NAME
clientConnection: {kubeconfig: $STATE/proxy.kubeconfig}
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0}
nftables: {minSyncPeriod: 100ms, syncPeriod: 30s}
iptables: {minSyncPeriod: 100ms, syncPeriod: 30s}
Y
  # kube-proxy (nftables) trusts endpoint chains left by an earlier run even if they are empty: start clean
  if ! { [ -s "$RUN/kube-proxy.pid" ] && kill -0 "$(cat "$RUN/kube-proxy.pid")" 2>/dev/null; }; then
    for fam in ip ip6; do nft delete table $fam kube-proxy 2>/dev/null || true; done
  fi
  start kube-proxy "$BIN/kube-proxy" --config="$STATE/proxy.yaml"
  start walls "$BIN/walls" --kubeconfig="$KUBECONFIG"
  sed -e "s/@SVC_DNS@/$SVC_DNS/g" "$HERE/etc/core.yaml" | kubectl apply -f - >/dev/null
  wait_for 30 "walls" nft list table inet auricle-walls
  wait_for 90 node ready
  wait_for 120 coredns kubectl -n kube-system rollout status deploy/coredns --timeout=2s
  echo "core ready after $((SECONDS - t0)) s"
}

import_images() { # only what is not there yet
  local have; have=$(kctr images ls -q)
  for f in "$IMG"/*.tar; do
    local n; n=$(tar -xOf "$f" manifest.json | jq -r '.[0].RepoTags[0]')
    if ! grep -qxF "$n" <<<"$have" || [ "$f" -nt "$RUN/imported.$(basename "$f")" ]; then
      kctr images import "$f" >/dev/null && touch "$RUN/imported.$(basename "$f")"
    fi
  done
}

knative() {
  local t0=$SECONDS
  kubectl apply --server-side --force-conflicts -f "$GEN/10-serving-0-crds.yaml" -f "$GEN/20-kourier-0-crds.yaml" -f "$GEN/30-eventing-0-crds.yaml" -f "$GEN/31-imc-0-crds.yaml" >/dev/null
  kubectl wait --for=condition=Established crd --all --timeout=60s >/dev/null
  kubectl apply --server-side --force-conflicts -f "$GEN/10-serving-1.yaml" -f "$GEN/20-kourier-1.yaml" >/dev/null
  kubectl apply --server-side --force-conflicts -f "$GEN/30-eventing-1.yaml" -f "$GEN/31-imc-1.yaml" -f "$GEN/32-mt-broker-1.yaml" >/dev/null
  echo "applied after $((SECONDS - t0)) s"
  for ns in knative-serving kourier-system knative-eventing; do
    for d in $(kubectl -n $ns get deploy -o name); do
      case "$d" in */pingsource-mt-adapter) continue;; esac   # ships with 0 replicas
      kubectl -n $ns rollout status "$d" --timeout=180s >/dev/null || { echo "not ready: $ns $d"; kubectl -n $ns get pods; }
    done
  done
  echo "deployments ready after $((SECONDS - t0)) s"
  # the webhooks refuse bad values, so configure once they answer
  # its own field manager: with the default one, server-side apply would drop queue-sidecar-image
  configure() { kubectl apply --server-side --force-conflicts --field-manager=cluster-config -f "$HERE/etc/knative-config.yaml"; }
  wait_for 60 "config accepted" configure
  echo "knative ready after $((SECONDS - t0)) s"
}

case "$WHAT" in
  pki|net) "$WHAT";; core) stamp "up core" core;; knative) stamp "up knative" knative;; images) import_images;;
  all) stamp "up core" core; stamp "up knative" knative;;
esac
echo "export KUBECONFIG=$KUBECONFIG"
