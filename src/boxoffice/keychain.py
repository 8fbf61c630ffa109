"""What an installation has to itself: signing keys and the admin token, made once and kept as two Secrets."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from boxoffice.kubeapi import KubeApi


def keys_secret(name: str) -> dict[str, Any]:
    return _secret(name, {"keys": f"k1:{secrets.token_hex(32)}", "place-key": secrets.token_hex(32)})


def admin_secret(name: str) -> dict[str, Any]:
    token = secrets.token_urlsafe(24)
    return _secret(name, {"token": token, "token-sha256": hashlib.sha256(token.encode()).hexdigest()})


def _secret(name: str, data: Mapping[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"app.kubernetes.io/part-of": "boxoffice"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": dict(data)}


async def create(api: KubeApi, manifest: Mapping[str, Any]) -> bool:
    """False when it is there already, and then it stays as it is. Raises Unavailable."""
    answer = await api.ask("POST", f"/api/v1/namespaces/{api.namespace}/secrets", 201, 409, json=manifest)
    return answer.status_code == 201
