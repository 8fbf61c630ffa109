"""Whose turn it is: one operator at a time, by a Lease; its `leaseTransitions` is the writer number that Redis checks.

A second operator waits until the first has not renewed for a while, by its own clock since it saw the last change:
clocks of two nodes are never compared. Who has lost the turn without knowing is stopped by Redis, which refuses a
number lower than the last.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from boxoffice.kubeapi import KubeApi

LEASE_SECONDS = 15
"""Not renewed for so long: anybody may take it. As in client-go's leader election."""
RENEW_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Turn:
    """`writer` is 0 while it is another's turn."""

    def __init__(self, api: KubeApi, lease: str, me: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.writer = 0
        self._api, self._name, self._me, self._clock = api, lease, me, clock
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{api.namespace}/leases"
        self._seen: tuple[Any, ...] = ()
        self._seen_at = 0.0

    async def renew(self) -> None:
        """Takes the turn, keeps it, or sees that it is another's. Raises ClusterUnavailable: then all stays as it was;
        should somebody else have taken it meanwhile, Redis knows."""
        answer = await self._api.ask("GET", f"{self._path}/{self._name}", 200, 404)
        if answer.status_code == 404:
            await self._make()
            return
        lease = answer.json()
        spec = lease.get("spec") or {}
        holder, transitions = spec.get("holderIdentity") or "", int(spec.get("leaseTransitions") or 0)
        if holder == self._me and self.writer:
            await self._write(lease, self.writer)
        elif holder in ("", self._me) or self._silent(holder, spec.get("renewTime")):
            await self._write(lease, transitions + 1)
        else:
            self._rest(f"it is {holder}'s turn")

    def _silent(self, *sign: Any) -> bool:
        """Whether the other one has shown no sign of life for as long as a lease lasts."""
        if sign != self._seen:
            self._seen, self._seen_at = sign, self._clock()
        return self._clock() - self._seen_at > LEASE_SECONDS

    async def outbid(self, present: int) -> None:
        """Redis knows a higher number than ours. If the Lease says that it is our turn all the same, then the Lease
        was made anew since: go on above that number. Raises ClusterUnavailable."""
        if self.writer > present:
            return  # another sale was refused for the same reason, a moment ago
        lease = (await self._api.ask("GET", f"{self._path}/{self._name}", 200)).json()
        if (lease.get("spec") or {}).get("holderIdentity") == self._me:
            await self._write(lease, max(present, self.writer) + 1)
        else:
            self._rest("another operator has taken the turn")

    async def give_up(self) -> None:
        """So that the next one need not wait. Raises ClusterUnavailable."""
        if not self.writer:
            return
        lease = (await self._api.ask("GET", f"{self._path}/{self._name}", 200)).json()
        if (lease.get("spec") or {}).get("holderIdentity") == self._me:
            await self._put(lease, {**lease["spec"], "holderIdentity": ""})
        self.writer = 0

    async def _make(self) -> None:
        """409: somebody else was quicker; the next look shows who."""
        body = {"metadata": {"name": self._name}, "spec": self._spec(1)}
        answer = await self._api.ask("POST", self._path, 201, 409, json=body)
        if answer.status_code == 201:
            self._begin(1)

    async def _write(self, lease: dict[str, Any], writer: int) -> None:
        if await self._put(lease, self._spec(writer)):
            self._begin(writer)
        else:
            self._rest("another operator was quicker")

    async def _put(self, lease: dict[str, Any], spec: dict[str, Any]) -> bool:
        """False when it was changed since we read it."""
        body = {"metadata": lease["metadata"], "spec": spec}
        return (await self._api.ask("PUT", f"{self._path}/{self._name}", 200, 409, json=body)).status_code == 200

    def _spec(self, writer: int) -> dict[str, Any]:
        return {
            "holderIdentity": self._me,
            "leaseDurationSeconds": LEASE_SECONDS,
            "leaseTransitions": writer,
            "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }

    def _begin(self, writer: int) -> None:
        if writer != self.writer:
            logger.info("it is our turn: writer %d", writer)
        self.writer = writer

    def _rest(self, why: str) -> None:
        if self.writer:
            logger.warning("not our turn any more: %s", why)
        self.writer = 0
