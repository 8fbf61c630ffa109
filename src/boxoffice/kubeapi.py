"""A pod's own way to the Kubernetes API, with its service account."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from boxoffice.errors import BadInput, ClusterUnavailable

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Account:
    """Where the API is, and the folder of the service account with which a pod may speak to it."""

    url: str
    folder: Path
    namespace: str

    @classmethod
    def of_this_pod(cls, folder: Path | None = None) -> Account:
        """`BOXOFFICE_KUBE_ACCOUNT` names another folder. Raises BadInput outside of a cluster."""
        folder = folder or Path(os.environ.get("BOXOFFICE_KUBE_ACCOUNT") or ACCOUNT)
        try:
            host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
            namespace = (folder / "namespace").read_text().strip()
        except (KeyError, OSError) as error:
            raise BadInput(f"this works inside a cluster, with a service account: {error!r}") from None
        return cls(f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}", folder, namespace)

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.crt"

    def token(self) -> str:
        """The kubelet writes a new one every hour."""
        return (self.folder / "token").read_text().strip()


class _Bearer(httpx2.Auth):
    def __init__(self, account: Account) -> None:
        self._account = account

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers["authorization"] = f"Bearer {self._account.token()}"
        yield request


@dataclass(frozen=True, slots=True)
class KubeApi:
    namespace: str
    """Of the pod that this runs in."""
    client: httpx2.AsyncClient

    async def ask(self, method: str, path: str, *expected: int, **request: Any) -> httpx2.Response:
        """An answer with one of the expected statuses. Raises ClusterUnavailable."""
        try:
            answer = await self.client.request(method, path, **request)
        except (httpx2.HTTPError, OSError) as error:
            raise ClusterUnavailable(f"the Kubernetes API is out of reach: {error!r}") from error
        if answer.status_code not in expected:
            said = f"answered {answer.status_code}: {answer.text[:300]}"
            raise ClusterUnavailable(f"{method} {path}: the Kubernetes API {said}")
        return answer


@asynccontextmanager
async def open_kube_api(account: Account, seconds: float = TIMEOUT_SECONDS) -> AsyncIterator[KubeApi]:
    """`seconds`: how long one call may take. Raises BadInput."""
    try:
        trusted = ssl.create_default_context(cafile=account.ca_file)
    except OSError as error:
        raise BadInput(f"{account.ca_file}: {error}") from None
    client = httpx2.AsyncClient(base_url=account.url, verify=trusted, timeout=seconds, auth=_Bearer(account))
    async with client:
        yield KubeApi(account.namespace, client)
