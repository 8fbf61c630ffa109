"""A real kube-apiserver and its etcd on this machine, and nothing behind them: no controllers, no pods."""

from __future__ import annotations

import asyncio
import csv
import os
import secrets
import subprocess
from functools import cached_property
from pathlib import Path

import yaml

from boxoffice import crd, definition
from boxoffice.embedded import Child, answers
from boxoffice.kubeapi import Account, open_kube_api
from boxoffice.ports import free_ports
from tests.cluster.cluster import Cluster, Resource
from tests.cluster.pki import Authority
from tests.cluster.programs import ROOT, programs

HOST = "127.0.0.1"
OPERATOR = "boxoffice-operator"
"""The operator's account, as a release called `boxoffice` has it."""
EVERYTHING = "system:masters"
SALES = f"/apis/{crd.GROUP}/{crd.VERSION}/{crd.PLURAL}"
LOOK_SECONDS = 0.05


class ApiServer:
    """Stopped and started again it is on the same ports and knows what it knew. Who stops one starts their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = secrets.token_hex(16)
        """Of an admin who may do everything."""
        self.ports: list[int] = []
        self._children: list[Child] = []

    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    async def start(self) -> None:
        """Returns when it is ready and takes sales. Raises Stopped."""
        if not self.ports:
            self._lay_out()
        etcd, server = self._children
        await etcd.start(lambda: answers(f"{self._etcd_url}/health"))
        await server.start(lambda: answers(f"{self.url}/readyz"))
        async with open_kube_api(self.admin("default")) as api:
            await definition.apply(api)
            while (await api.ask("GET", SALES, 200, 429)).status_code == 429:  # its storage is being made
                await asyncio.sleep(LOOK_SECONDS)

    async def stop(self) -> None:
        for child in reversed(self._children):
            await child.stop()

    def make_namespace(self) -> str:
        name = f"t-{secrets.token_hex(4)}"
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return name

    def admin(self, namespace: str) -> Account:
        return self._account("admin", namespace, self.token)

    def account(self, namespace: str) -> Account:
        """The operator's service account there, with the rights that the chart gives it."""
        self.cluster.apply(*rights(namespace), namespace=namespace)
        token = self.cluster.kubectl("create", "token", OPERATOR, namespace=namespace)
        return self._account("operator", namespace, token)

    def environment(self, account: Account) -> dict[str, str]:
        """What a pod with that account is told of Kubernetes."""
        return {
            "KUBERNETES_SERVICE_HOST": HOST,
            "KUBERNETES_SERVICE_PORT": str(self.port),
            "BOXOFFICE_KUBE_ACCOUNT": str(account.folder),
        }

    def _account(self, whose: str, namespace: str, token: str) -> Account:
        folder = self.folder / "accounts" / namespace / whose
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "token").write_text(token.strip())
        (folder / "namespace").write_text(namespace)
        (folder / "ca.crt").write_bytes(self.ca.read_bytes())
        return Account(self.url, folder, namespace)

    @cached_property
    def cluster(self) -> Cluster:
        """kubectl and helm, as that admin."""
        path = f"{programs('tools', 'api')}:{os.environ['PATH']}"
        clients = {name: str(self.folder / "clients") for name in ("KUBECACHEDIR", "HELM_CACHE_HOME")}
        return Cluster({**os.environ, **clients, "PATH": path, "KUBECONFIG": str(self.kubeconfig)}, "")

    @property
    def _etcd_url(self) -> str:
        return f"http://{HOST}:{self.ports[1]}"

    def _lay_out(self) -> None:
        self.ports = free_ports(3)
        logs = self.folder / "log"
        logs.mkdir(parents=True)
        self._write_keys()
        self._children = [
            Child("etcd", self._etcd(), logs / "etcd.log"),
            Child("kube-apiserver", self._apiserver(), logs / "kube-apiserver.log"),
        ]

    def _write_keys(self) -> None:
        authority = Authority("ca", self.folder)
        authority.server("apiserver", HOST)
        (self.folder / "tokens.pub").write_bytes(authority.client("tokens").public_pem)
        with (self.folder / "tokens.csv").open("w") as file:
            csv.writer(file).writerow([self.token, "admin", "admin", EVERYTHING])
        self.kubeconfig.write_text(yaml.safe_dump(self._client_config()))

    def _client_config(self) -> Resource:
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "admin"}}],
            "clusters": [{"name": "tests", "cluster": {"server": self.url, "certificate-authority": str(self.ca)}}],
            "users": [{"name": "admin", "user": {"token": self.token}}],
        }

    def _etcd(self) -> list[str | Path]:
        return [
            programs("api") / "etcd",
            f"--data-dir={self.folder}/etcd",
            "--unsafe-no-fsync",
            "--log-level=warn",
            f"--listen-client-urls={self._etcd_url}",
            f"--advertise-client-urls={self._etcd_url}",
            f"--listen-peer-urls=http://{HOST}:{self.ports[2]}",
        ]

    def _apiserver(self) -> list[str | Path]:
        return [
            programs("api") / "kube-apiserver",
            f"--etcd-servers={self._etcd_url}",
            f"--bind-address={HOST}",
            f"--advertise-address={HOST}",
            f"--secure-port={self.port}",
            "--endpoint-reconciler-type=none",  # which wants an address that others can reach
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",  # nobody is here to make the accounts
            f"--token-auth-file={self.folder}/tokens.csv",
            f"--tls-cert-file={self.folder}/apiserver.crt",
            f"--tls-private-key-file={self.folder}/apiserver.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.folder}/tokens.pub",
            f"--service-account-signing-key-file={self.folder}/tokens.key",
        ]


def rights(namespace: str, *values: str) -> list[Resource]:
    """Account, Role and binding, as the chart makes them."""
    show = ["--show-only=templates/operator/account.yaml", f"--namespace={namespace}", *values]
    command: list[str | Path] = [programs("tools") / "helm", "template", "boxoffice", ROOT / "chart", *show]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True)
    return [resource for resource in yaml.safe_load_all(rendered.stdout) if resource]
