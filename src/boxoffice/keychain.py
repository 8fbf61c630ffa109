"""What an installation has to itself: signing keys and the admin token, made once and kept as two Secrets."""

from __future__ import annotations

import hashlib
import os
import secrets
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

from boxoffice.errors import BadInput, Unavailable

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT_SECONDS = 10


def keys_secret(name: str) -> dict[str, Any]:
    return _secret(name, {"keys": f"k1:{secrets.token_hex(32)}", "place-key": secrets.token_hex(32)})


def admin_secret(name: str) -> dict[str, Any]:
    token = secrets.token_urlsafe(24)
    return _secret(name, {"token": token, "token-sha256": hashlib.sha256(token.encode()).hexdigest()})


def _secret(name: str, data: Mapping[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"app.kubernetes.io/part-of": "boxoffice"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": dict(data)}


async def create(manifest: Mapping[str, Any], account: Path = ACCOUNT) -> bool:
    """In the namespace of the pod that this runs in; false when it is there already, and then it stays as it is.
    Raises BadInput outside of a cluster, Unavailable."""
    try:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        token, namespace = (account / "token").read_text(), (account / "namespace").read_text()
        trusted = ssl.create_default_context(cafile=account / "ca.crt")
    except (KeyError, OSError) as error:
        raise BadInput(f"--create works inside a cluster, with a service account: {error!r}") from None
    host = f"[{host}]" if ":" in host else host
    headers = {"authorization": f"Bearer {token.strip()}"}
    try:
        async with httpx2.AsyncClient(verify=trusted, timeout=TIMEOUT_SECONDS, headers=headers) as client:
            url = f"https://{host}:{port}/api/v1/namespaces/{namespace.strip()}/secrets"
            answer = await client.post(url, json=manifest)
    except httpx2.HTTPError as error:
        raise Unavailable(f"the Kubernetes API is out of reach: {error!r}") from error
    if answer.status_code not in (201, 409):
        raise Unavailable(f"the Kubernetes API answered {answer.status_code}: {answer.text[:300]}")
    return answer.status_code == 201
