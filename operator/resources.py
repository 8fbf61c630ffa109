"""The Kubernetes API as the operator uses it: six calls, each once; whoever calls decides what a failure means."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from boxoffice import crd
from boxoffice.kubeapi import KubeApi
from boxoffice.override import ANNOTATION
from boxoffice.status import Status

MERGE = {"content-type": "application/merge-patch+json"}
MANAGER = {"fieldManager": "boxoffice-operator"}
PAGE = 500
"""Resources in one answer."""
MOST_PAGES = 20


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """A ConcertSale as the cluster has it; whether its spec can work is seen later."""

    name: str
    uid: str
    generation: int
    annotation: str | None
    document: dict[str, Any]
    status: Status

    @classmethod
    def of(cls, document: dict[str, Any]) -> Resource:
        """`document`: an object as the API gives it."""
        metadata = document["metadata"]
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            generation=metadata.get("generation", 0),
            annotation=(metadata.get("annotations") or {}).get(ANNOTATION),
            document={key: document[key] for key in ("apiVersion", "kind", "metadata", "spec") if key in document},
            status=_status(document.get("status")),
        )


def _status(value: Any) -> Status:
    """Nothing when somebody wrote into it what is none: it is written anew."""
    try:
        return msgspec.convert(value or {}, Status)
    except msgspec.ValidationError:
        return Status()


class Resources:
    """The ConcertSales of one namespace. Every call raises ClusterUnavailable."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._sales = f"/apis/{crd.GROUP}/{crd.VERSION}/namespaces/{api.namespace}/{crd.PLURAL}"
        self._events = f"/api/v1/namespaces/{api.namespace}/events"

    async def list(self) -> dict[str, Resource]:
        """All of them, by name."""
        found: dict[str, Resource] = {}
        after = ""
        for _ in range(MOST_PAGES):
            page = {"limit": PAGE} | ({"continue": after} if after else {})
            answer = (await self._api.ask("GET", self._sales, 200, params=page)).json()
            for item in answer["items"]:
                resource = Resource.of({"apiVersion": answer["apiVersion"], "kind": crd.KIND} | item)
                found[resource.name] = resource
            after = answer["metadata"].get("continue", "")
            if not after:
                break
        return found

    async def write_status(self, name: str, status: Status) -> bool:
        """False when there is no such resource any more."""
        body = {"status": {**_ABSENT, **msgspec.to_builtins(status)}}
        return await self._patch(f"{self._sales}/{name}/status", body)

    async def annotate(self, name: str, override: str) -> bool:
        """False when there is no such resource any more."""
        return await self._patch(f"{self._sales}/{name}", {"metadata": {"annotations": {ANNOTATION: override}}})

    async def _patch(self, path: str, body: dict[str, Any]) -> bool:
        answer = await self._api.ask("PATCH", path, 200, 404, params=MANAGER, headers=MERGE, json=body)
        return answer.status_code == 200

    async def tell(
        self, resource: Resource, kind: Literal["Normal", "Warning"], reason: str, message: str, now: datetime
    ) -> None:
        """An Event of this resource, for `kubectl describe`."""
        time = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        namespace = self._api.namespace
        body = {
            "metadata": {"name": f"{resource.name}.{secrets.token_hex(8)}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": f"{crd.GROUP}/{crd.VERSION}",
                "kind": crd.KIND,
                "name": resource.name,
                "namespace": namespace,
                "uid": resource.uid,
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": "boxoffice-operator"},
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
        }
        await self._api.ask("POST", self._events, 201, json=body)


_ABSENT: dict[str, None] = dict.fromkeys(Status.__struct_encode_fields__)
"""A merge patch leaves what it does not name; null takes away."""
