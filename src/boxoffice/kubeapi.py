"""A pod's own way to the Kubernetes API: the few calls that an installation makes, with its service account."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from boxoffice.errors import BadInput, Unavailable

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class KubeApi:
    namespace: str
    """Of the pod that this runs in."""
    client: httpx2.AsyncClient

    async def ask(self, method: str, path: str, *expected: int, **request: Any) -> httpx2.Response:
        """An answer with one of the expected statuses. Raises Unavailable."""
        try:
            answer = await self.client.request(method, path, **request)
        except httpx2.HTTPError as error:
            raise Unavailable(f"the Kubernetes API is out of reach: {error!r}") from error
        if answer.status_code not in expected:
            raise Unavailable(f"{method} {path}: the Kubernetes API answered {answer.status_code}: {answer.text[:300]}")
        return answer


@asynccontextmanager
async def open_kube_api(account: Path = ACCOUNT) -> AsyncIterator[KubeApi]:
    """Raises BadInput outside of a cluster."""
    try:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        token, namespace = (account / "token").read_text().strip(), (account / "namespace").read_text().strip()
        trusted = ssl.create_default_context(cafile=account / "ca.crt")
    except (KeyError, OSError) as error:
        raise BadInput(f"this works inside a cluster, with a service account: {error!r}") from None
    url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    headers = {"authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(base_url=url, verify=trusted, timeout=TIMEOUT_SECONDS, headers=headers) as client:
        yield KubeApi(namespace, client)
