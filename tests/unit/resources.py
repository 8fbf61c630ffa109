"""ConcertSales as a cluster gives them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from boxoffice.override import ANNOTATION, Override
from boxoffice.seen import SeenSale, sale_of

NOW = datetime(2030, 9, 6, 9, 0, tzinfo=UTC)
MANUAL = {"mode": "Manual", "perMinute": 600, "maxActive": 400}


def override(policy: Any, minutes: int | None = None) -> dict[str, str]:
    """The annotation; it ends in so many minutes."""
    until = None if minutes is None else NOW + timedelta(minutes=minutes)
    at = NOW - timedelta(minutes=3)
    return {ANNOTATION: Override(policy=policy, who="ann", why="the ledger is slow", at=at, until=until).text()}


def condition(type: str, status: str = "True", reason: str = "Applied", message: str = "") -> dict[str, str]:
    at = "2030-09-06T08:00:00Z"
    return {"type": type, "status": status, "reason": reason, "message": message, "lastTransitionTime": at}


def seen(
    name: str = "tide-seoul",
    annotations: dict[str, str] | None = None,
    spec: dict[str, Any] | None = None,
    admission: dict[str, Any] | None = None,
    **status: Any,
) -> SeenSale:
    document = {
        "apiVersion": "boxoffice.dev/v1alpha1",
        "kind": "ConcertSale",
        "metadata": {
            "name": name,
            "generation": 2,
            "creationTimestamp": "2030-09-06T07:00:00Z",
            "annotations": annotations or {},
        },
        "spec": {
            "title": "Tide",
            "preQueueTime": "2030-09-06T07:30:00Z",
            "opensTime": "2030-09-06T08:00:00Z",
            "closesTime": "2030-09-06T18:00:00Z",
            "policy": "Open",
            "line": {"maxWaiting": 100_000},
            "admission": {"mode": "Auto", "minActive": 50, "maxActive": 2000, "initialActive": 400},
            **(spec or {}),
        },
        "status": {"observedGeneration": 2, "admission": admission or {}, **status},
    }
    return sale_of(msgspec.json.encode(document))
