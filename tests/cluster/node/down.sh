#!/usr/bin/env bash
# Stop the cluster. down.sh --empty also forgets every object and volume; --purge the images in its containerd, too (what was
# built stays).
# Ends only the processes whose pids up.sh recorded, and the containers in this cluster's own containerd.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
stop() { local p; p=$(cat "$RUN/$1.pid" 2>/dev/null) || return 0
  kill "$p" 2>/dev/null; for _ in $(seq 50); do kill -0 "$p" 2>/dev/null || break; sleep 0.1; done
  kill -9 "$p" 2>/dev/null; rm -f "$RUN/$1.pid"; echo "stopped $1"; }
for f in "$RUN"/kubelet-*.pid; do [ -s "$f" ] && NODE2_NAME="$(basename "$f" .pid | sed s/kubelet-//)" "$HERE/node2.sh" down; done
stop kubelet; stop kube-proxy; stop walls
if [ -S "$SOCK" ]; then
  for t in $(kctr tasks ls -q 2>/dev/null); do kctr tasks kill -s SIGKILL "$t" >/dev/null 2>&1; done; sleep 1
  for t in $(kctr tasks ls -q 2>/dev/null); do kctr tasks rm -f "$t" >/dev/null 2>&1; done
  for c in $(kctr containers ls -q 2>/dev/null); do kctr containers rm "$c" >/dev/null 2>&1; done
fi
stop containerd; stop kube-scheduler; stop kube-controller-manager; stop kube-apiserver; stop etcd
for m in $(awk '{print $2}' /proc/mounts | grep "^$STATE\|^$RUN" | sort -r); do umount "$m" 2>/dev/null; done
"$BIN/kube-proxy" --cleanup >/dev/null 2>&1
nft delete table inet kn-fence 2>/dev/null; nft delete table inet auricle-walls 2>/dev/null
for n in $(ls /var/run/netns 2>/dev/null | grep '^cni-'); do ip netns del "$n" 2>/dev/null; done
ip link del "$POD_DEV" 2>/dev/null; ip link del "$NODE_DEV" 2>/dev/null
for h in /sys/fs/cgroup/*/kubepods; do [ -d "$h" ] && find "$h" -depth -type d -exec rmdir {} + 2>/dev/null; done
case "${1:-}" in --empty | --purge) rm -rf "$STATE/etcd" "$STATE/kubelet" "$STATE/cni" "$CLUSTER_HOME/pv";; esac
[ "${1:-}" = "--purge" ] && rm -rf "$STATE" "$RUN" "$LOGS" "$KUBECONFIG"
exit 0
