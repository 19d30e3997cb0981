#!/usr/bin/env bash
# PID 1 of the cluster's own network, mount and PID namespaces (started by `rig up`): brings up etcd, Kubernetes, containerd
# and Tekton, keeps each part running, and takes all of them along when it ends.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PATH=$RIG_BIN:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy
node=10.99.0.1 services=10.98.0.0/24 pods=10.97.0.0/16
mkdir -p "$RUN"/{pki,parts,log,cni,etcd,containerd}
cd "$RUN"

# Kubernetes and containerd write to fixed places as well: here those are private, empty, and gone with the cluster.
for place in /run /var/lib/cni /var/lib/kubelet /var/log/containers; do
  mkdir -p "$place"
  mount -t tmpfs tmpfs "$place"
done

ip link set lo up
ip addr add "$node/32" dev lo
sysctl -qw net.ipv4.ip_forward=1

# --- certificates -----------------------------------------------------------------------------------------------------
openssl req -x509 -newkey rsa:2048 -nodes -keyout pki/ca.key -out pki/ca.crt -subj /CN=rig-ca -days 30 2>/dev/null
openssl genrsa -out pki/sa.key 2048 2>/dev/null
openssl rsa -in pki/sa.key -pubout -out pki/sa.pub 2>/dev/null
certificate() { # FILE COMMON-NAME GROUP [NAMES]
  openssl req -newkey rsa:2048 -nodes -keyout "pki/$1.key" -out "pki/$1.csr" -subj "/O=$3/CN=$2" 2>/dev/null
  openssl x509 -req -in "pki/$1.csr" -CA pki/ca.crt -CAkey pki/ca.key -CAcreateserial -days 30 -out "pki/$1.crt" \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth' "${4:-DNS:$1}") 2>/dev/null
}
kubeconfig() { # FILE: a kubeconfig that presents pki/FILE.crt
  cat >"$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: rig, cluster: {server: "https://$node:6443", certificate-authority: "$RUN/pki/ca.crt"}}]
users: [{name: $1, user: {client-certificate: "$RUN/pki/$1.crt", client-key: "$RUN/pki/$1.key"}}]
contexts: [{name: rig, context: {cluster: rig, user: $1}}]
current-context: rig
YAML
}
certificate apiserver kube-apiserver rig "DNS:kubernetes.default.svc,DNS:kubernetes.default,DNS:localhost,IP:127.0.0.1,IP:$node,IP:10.98.0.1"
certificate apiserver-to-kubelet apiserver-to-kubelet system:masters
certificate kubelet system:node:rig system:nodes "DNS:rig,IP:$node"
certificate admin admin system:masters
certificate controller-manager system:kube-controller-manager rig
certificate scheduler system:kube-scheduler rig
certificate proxy system:kube-proxy rig
for name in kubelet admin controller-manager scheduler proxy; do kubeconfig $name; done

# --- parts ------------------------------------------------------------------------------------------------------------
part() { # NAME CMD…: runs CMD, and again whenever it ends, unless parts/NAME.hold exists
  local name=$1; shift
  while :; do
    while [ -e "parts/$name.hold" ]; do sleep 0.1; done
    "$@" >>"log/$name.log" 2>&1 &
    echo $! >"parts/$name"
    wait $! || true
    sleep 0.2
  done &
}
template() { sed "s#@RUN@#$RUN#g" "$here/node/$1" >"${2:-$1}"; }
until_true() { # WHAT SECONDS CMD…
  local what=$1 left=$(($2 * 5)); shift 2
  until "$@" >/dev/null 2>&1; do [ $((left -= 1)) -gt 0 ] || { echo "cluster: $what: not in time; see $RUN/log" >&2; exit 1; }; sleep 0.2; done
  echo "cluster: $what after ${SECONDS}s"
}
kubectl() { kube kubectl --kubeconfig admin.kubeconfig "$@"; }

template containerd.toml
template cni.conflist cni/10-rig.conflist
template kubelet.yaml
template proxy.yaml

mkdir -p "registries/$node:5000"
printf 'server = "http://%s:5000"\n' "$node" >"registries/$node:5000/hosts.toml"

mkdir -p registry
part registry crane registry serve --address "$node:5000" --disk registry
part etcd etcd --data-dir etcd --unsafe-no-fsync \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
part containerd containerd --config containerd.toml
part apiserver kube apiserver --etcd-servers http://127.0.0.1:2379 --secure-port 6443 --advertise-address "$node" \
  --tls-cert-file pki/apiserver.crt --tls-private-key-file pki/apiserver.key --client-ca-file pki/ca.crt --cert-dir pki \
  --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged --service-cluster-ip-range "$services" \
  --service-account-issuer https://kubernetes.default.svc --service-account-key-file pki/sa.pub --service-account-signing-key-file pki/sa.key \
  --kubelet-preferred-address-types InternalIP --kubelet-certificate-authority pki/ca.crt \
  --kubelet-client-certificate pki/apiserver-to-kubelet.crt --kubelet-client-key pki/apiserver-to-kubelet.key \
  --enable-aggregator-routing
until_true "apiserver ready" 60 kubectl get --raw /readyz
part controller-manager kube controller-manager --kubeconfig controller-manager.kubeconfig --leader-elect=false --use-service-account-credentials \
  --service-account-private-key-file pki/sa.key --root-ca-file pki/ca.crt --flex-volume-plugin-dir "$RUN/volume-plugins" --cluster-cidr "$pods" --service-cluster-ip-range "$services"
part scheduler kube scheduler --kubeconfig scheduler.kubeconfig --leader-elect=false
part proxy kube proxy --config proxy.yaml
until_true "containerd ready" 30 ctr -a "$RUN/containerd.sock" version
for archive in "$RIG_IMAGES"/*.tar; do ctr -a "$RUN/containerd.sock" -n k8s.io images import "$archive" >>log/images.log 2>&1; done
echo "cluster: images loaded after ${SECONDS}s"
part kubelet kube kubelet --config kubelet.yaml --kubeconfig kubelet.kubeconfig --root-dir "$RUN/kubelet" --hostname-override rig --node-ip "$node"
node_ready() { kubectl get node rig -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}' | grep -q True; }
until_true "node ready" 60 node_ready

# --- cluster DNS and Tekton, as its own release manifests describe it ----------------------------------------------------
kubectl apply --server-side -f "$here/manifests" >/dev/null
kubectl apply --server-side -f "$RIG_HOME/tekton.yaml" >/dev/null
settings() { kubectl apply --server-side --force-conflicts --field-manager rig -f "$here/tekton"; }
until_true "Tekton's settings" 60 settings
kubectl -n tekton-pipelines rollout status deployment/tekton-pipelines-webhook --timeout=120s >/dev/null
kubectl -n tekton-pipelines rollout status deployment/tekton-pipelines-controller --timeout=120s >/dev/null
kubectl -n kube-system rollout status deployment/coredns --timeout=120s >/dev/null
canary() { kubectl create --dry-run=server -f - <<'YAML'
{apiVersion: tekton.dev/v1, kind: PipelineRun, metadata: {name: canary, namespace: default},
 spec: {pipelineSpec: {tasks: [{name: task, taskSpec: {steps: [{name: run, image: docker.io/rig/app:1, command: ["true"]}]}}]}}}
YAML
}
until_true "Tekton accepts PipelineRuns" 60 canary
touch ready

# --- scripted nodes, once `rig scale` asks for them ---------------------------------------------------------------------
until [ -e parts/kwok.start ]; do sleep 0.2; done
part kwok kwok --kubeconfig admin.kubeconfig --config kwok.yaml --manage-all-nodes=false \
  --manage-nodes-with-annotation-selector kwok.x-k8s.io/node=fake
wait
