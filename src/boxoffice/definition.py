"""The definition of ConcertSale in a cluster: there once for all releases, so none of them owns it.

Each release brings its own at install and upgrade; a newer one that is there stays as it is.
"""

from __future__ import annotations

import asyncio
from typing import Any

from boxoffice import crd
from boxoffice.kubeapi import KubeApi

PATH = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd.NAME}"
ESTABLISHED_SECONDS = 30.0
LOOK_SECONDS = 0.2


async def apply(api: KubeApi) -> str:
    """What was done, for people. Returns when the cluster takes sales. Raises Unavailable."""
    ours = crd.definition()
    there = await api.ask("GET", PATH, 200, 404)
    if there.status_code == 200 and _release(there.json()) > _release(ours):
        return f"stays as it is: it is of the newer release {_written(there.json())}"
    await api.ask(
        "PATCH",
        PATH,
        *(200, 201),
        params={"fieldManager": "boxoffice", "force": "true"},
        headers={"content-type": "application/apply-patch+yaml"},  # JSON is YAML
        json=ours,
    )
    async with asyncio.timeout(ESTABLISHED_SECONDS):
        await _established(api)
    return "created" if there.status_code == 404 else "configured"


async def _established(api: KubeApi) -> None:
    while True:
        if _is_established((await api.ask("GET", PATH, 200)).json()):
            return
        await asyncio.sleep(LOOK_SECONDS)


def _is_established(definition: dict[str, Any]) -> bool:
    conditions = definition.get("status", {}).get("conditions") or []  # null at first
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


def _written(definition: dict[str, Any]) -> str:
    annotations: dict[str, str] = definition["metadata"].get("annotations") or {}
    return annotations.get(crd.RELEASE, "")


def _release(definition: dict[str, Any]) -> tuple[int, ...]:
    """Of `1.2.3`, or of `1.2.3-rc.1` the same; nothing for one that does not say."""
    numbers = _written(definition).partition("-")[0].split(".")
    return tuple(int(number) for number in numbers if number.isdigit())
