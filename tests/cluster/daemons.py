"""The daemons of a node, as they see their files: /mnt/bin and /mnt/node (files/init)."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.pki import Authority

NODE, NODE_IP = "node", "10.244.0.1"
SERVICES, API_SERVICE, DNS_SERVICE = "10.96.0.0/16", "10.96.0.1", "10.96.0.10"
API_PORT, ETCD_PORT, DNS_READY_PORT = 6443, 2379, 10055
BIN, PKI, CONF = "/mnt/bin", "/mnt/node/pki", "/mnt/node/conf"
CONTAINERD = "/run/containerd/containerd.sock"


def write_keys(folder: Path) -> None:
    authority = Authority("ca", folder)
    # Kubernetes wants another one for the API server as a proxy, so that no client can pass for it.
    proxies = Authority("proxies", folder)
    proxies.client("proxy")
    tokens = authority.client("tokens")
    (folder / "tokens.pub").write_bytes(tokens.public_pem)
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    authority.server("apiserver", *names, "localhost", "127.0.0.1", NODE_IP, API_SERVICE)
    authority.server("kubelet-serving", NODE, NODE_IP, user=f"system:node:{NODE}")
    authority.client("apiserver-kubelet", groups=("system:masters",))
    for client in (
        authority.client("admin", groups=("system:masters",)),
        authority.client("controller-manager", "system:kube-controller-manager"),
        authority.client("scheduler", "system:kube-scheduler"),
        authority.client("kubelet", f"system:node:{NODE}", ("system:nodes",)),
        authority.client("kube-proxy", "system:kube-proxy"),
        authority.client("coredns"),
        authority.client("metrics-server"),
    ):
        authority.kubeconfig(client, f"https://127.0.0.1:{API_PORT}")


def etcd() -> list[str]:
    address = f"http://127.0.0.1:{ETCD_PORT}"
    return [
        f"{BIN}/etcd",
        "--data-dir=/mnt/node/etcd",
        "--unsafe-no-fsync",  # a throw-away cluster on a shared disk
        "--log-level=warn",
        f"--listen-client-urls={address}",
        f"--advertise-client-urls={address}",
        "--listen-peer-urls=http://127.0.0.1:2380",
    ]


def apiserver() -> list[str]:
    return [
        f"{BIN}/kube-apiserver",
        f"--etcd-servers=http://127.0.0.1:{ETCD_PORT}",
        f"--secure-port={API_PORT}",
        f"--advertise-address={NODE_IP}",
        f"--service-cluster-ip-range={SERVICES}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--client-ca-file={PKI}/ca.crt",
        f"--tls-cert-file={PKI}/apiserver.crt",
        f"--tls-private-key-file={PKI}/apiserver.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={PKI}/tokens.pub",
        f"--service-account-signing-key-file={PKI}/tokens.key",
        f"--kubelet-certificate-authority={PKI}/ca.crt",
        f"--kubelet-client-certificate={PKI}/apiserver-kubelet.crt",
        f"--kubelet-client-key={PKI}/apiserver-kubelet.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--proxy-client-cert-file={PKI}/proxy.crt",
        f"--proxy-client-key-file={PKI}/proxy.key",
        f"--requestheader-client-ca-file={PKI}/proxies.crt",
        "--requestheader-allowed-names=proxy",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--enable-aggregator-routing",
        "--allow-privileged",
    ]


def controller_manager() -> list[str]:
    return [
        f"{BIN}/kube-controller-manager",
        *_as_client("controller-manager"),
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials",
        f"--root-ca-file={PKI}/ca.crt",
        f"--service-account-private-key-file={PKI}/tokens.key",
        "--flex-volume-plugin-dir=/mnt/node/conf/none",
        # Minutes by default; tests look at a scaling up and down in seconds.
        "--horizontal-pod-autoscaler-sync-period=5s",
        "--horizontal-pod-autoscaler-initial-readiness-delay=5s",
        "--horizontal-pod-autoscaler-cpu-initialization-period=20s",
        "--horizontal-pod-autoscaler-downscale-stabilization=20s",
    ]


def scheduler() -> list[str]:
    return [f"{BIN}/kube-scheduler", *_as_client("scheduler"), "--bind-address=127.0.0.1", "--leader-elect=false"]


def containerd() -> list[str]:
    return [f"{BIN}/containerd", f"--config={CONF}/containerd.toml"]


def kubelet() -> list[str]:
    return [
        f"{BIN}/kubelet",
        f"--config={CONF}/kubelet.yaml",
        f"--kubeconfig={PKI}/kubelet.kubeconfig",
        "--root-dir=/mnt/node/kubelet",
        f"--hostname-override={NODE}",
        f"--node-ip={NODE_IP}",
    ]


def kube_proxy() -> list[str]:
    return [f"{BIN}/kube-proxy", f"--config={CONF}/kube-proxy.yaml"]


def coredns() -> list[str]:
    return [f"{BIN}/coredns", f"-conf={CONF}/Corefile"]


def metrics_server() -> list[str]:
    return [
        f"{BIN}/metrics-server",
        *_as_client("metrics-server"),
        f"--bind-address={NODE_IP}",
        "--secure-port=10443",
        "--cert-dir=/tmp/metrics-server",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-certificate-authority={PKI}/ca.crt",
        "--metric-resolution=10s",
        "--kubelet-request-timeout=5s",
    ]


def _as_client(name: str) -> list[str]:
    """Of the API, for its own requests and to ask who it is that asks it."""
    kubeconfig = f"{PKI}/{name}.kubeconfig"
    return [f"--{purpose}kubeconfig={kubeconfig}" for purpose in ("", "authentication-", "authorization-")]
