#!/usr/bin/env bash
# A second, real node on the same machine: own containerd + kubelet, tainted as a GPU node.  node2.sh up|down
# Its pods sit on the same bridge, so networking and kube-proxy need nothing more. It may claim the two cores a second time.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
N="${NODE2_NAME:-gpu1}"; IP="${NODE2_IP:-10.90.0.2}"; S="$STATE/$N"; R="$RUN/$N"; K="$R/containerd.sock"
run() { local n="$1"; shift; if [ -s "$RUN/$n.pid" ] && kill -0 "$(cat "$RUN/$n.pid")" 2>/dev/null; then return; fi
  setsid nohup "$@" >>"$LOGS/$n.log" 2>&1 </dev/null & echo $! >"$RUN/$n.pid"; echo "started $n"; }
halt() { local p; p=$(cat "$RUN/$1.pid" 2>/dev/null) || return 0; kill "$p" 2>/dev/null || true
  for _ in $(seq 50); do kill -0 "$p" 2>/dev/null || break; sleep 0.1; done; kill -9 "$p" 2>/dev/null || true; rm -f "$RUN/$1.pid"; }
case "${1:-up}" in
up)
  mkdir -p "$S" "$R"
  ip addr show dev "$NODE_DEV" | grep -q "$IP/32" || ip addr add "$IP/32" dev "$NODE_DEV"
  # its pods need a cgroup tree of their own, or the two kubelets delete each other's pods
  for h in cpu cpuacct cpuset memory devices freezer blkio pids systemd; do [ -d /sys/fs/cgroup/$h ] || continue
    mkdir -p "/sys/fs/cgroup/$h/$N"; done
  cat /sys/fs/cgroup/cpuset/cpuset.cpus >"/sys/fs/cgroup/cpuset/$N/cpuset.cpus"; cat /sys/fs/cgroup/cpuset/cpuset.mems >"/sys/fs/cgroup/cpuset/$N/cpuset.mems"
  cd "$PKI"
  if [ ! -s "kubelet-$N.crt" ]; then
    openssl ecparam -name prime256v1 -genkey -noout -out "kubelet-$N.key" 2>/dev/null
    openssl req -new -key "kubelet-$N.key" -subj "/O=system:nodes/CN=system:node:$N" -out "kubelet-$N.csr"
    printf 'keyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=DNS:%s,IP:%s\n' "$N" "$IP" >"kubelet-$N.ext"
    openssl x509 -req -in "kubelet-$N.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile "kubelet-$N.ext" -out "kubelet-$N.crt" 2>/dev/null
  fi
  sed -e "s#client-certificate-data: [^,}]*#client-certificate-data: $(base64 -w0 "kubelet-$N.crt")#" -e "s#client-key-data: [^,}]*#client-key-data: $(base64 -w0 "kubelet-$N.key")#" \
    "$STATE/kubelet.kubeconfig" >"$S/kubeconfig"; chmod 600 "$S/kubeconfig"
  sed -e "s#^root = .*#root = \"$S/containerd\"#" -e "s#^state = .*#state = \"$R/containerd\"#" -e "s#address = .*#address = \"$K\"#" "$STATE/containerd.toml" >"$S/containerd.toml"
  sed -e "s#^address: .*#address: $IP#" -e "s#$PKI/kubelet\.#$PKI/kubelet-$N.#" -e "s#unix://.*#unix://$K#" -e "s#^podLogsDir: .*#podLogsDir: $LOGS/pods-$N#" "$STATE/kubelet.yaml" >"$S/kubelet.yaml"
  printf 'cgroupRoot: /%s\nhealthzPort: 10258\nregisterWithTaints: [{key: nvidia.com/gpu, value: present, effect: NoSchedule}]\n' "$N" >>"$S/kubelet.yaml"
  run "containerd-$N" containerd -c "$S/containerd.toml"
  for _ in $(seq 100); do ctr -a "$K" version >/dev/null 2>&1 && break; sleep 0.1; done
  for i in pause serving-queue ${NODE2_IMAGES:-}; do [ ! -f "$IMG/$i.tar" ] || ctr -n k8s.io -a "$K" images import "$IMG/$i.tar" >/dev/null; done
  # 1.34.3 dies at one start of some thirty ("concurrent map read and map write"): as systemd would, begin it again
  for _ in $(seq 60); do
    run "kubelet-$N" "$BIN/kubelet" --config="$S/kubelet.yaml" --kubeconfig="$S/kubeconfig" --hostname-override="$N" --node-ip="$IP" --root-dir="$S/kubelet" \
      --node-labels=nvidia.com/gpu.present=true,gpu-node=true
    ! kubectl wait --for=condition=Ready "node/$N" --timeout=1s >/dev/null 2>&1 || break; sleep 0.5; done
  kubectl wait --for=condition=Ready "node/$N" --timeout=5s
  TAINT=1 NODE_NAME="$N" "$HERE/fake-gpu.sh" "${FAKE_GPUS:-4}";;
down)
  kubectl delete node "$N" --wait=false 2>/dev/null || true
  halt "kubelet-$N"
  if [ -S "$K" ]; then for t in $(ctr -n k8s.io -a "$K" tasks ls -q); do ctr -n k8s.io -a "$K" tasks kill -s SIGKILL "$t" >/dev/null 2>&1 || true; done; sleep 1; fi
  halt "containerd-$N"
  for m in $(awk '{print $2}' /proc/mounts | grep "^$S\|^$R" | sort -r); do umount "$m" 2>/dev/null || true; done
  ip addr del "$IP/32" dev "$NODE_DEV" 2>/dev/null || true
  for h in /sys/fs/cgroup/*/"$N"; do [ ! -d "$h" ] || find "$h" -depth -type d -exec rmdir {} + 2>/dev/null || true; done;;
esac
