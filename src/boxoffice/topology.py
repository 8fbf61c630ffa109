"""Which server of Redis has a key: one alone, the master that Sentinel names, or the owner of the key's slot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from boxoffice.cluster import Cluster
from boxoffice.node import Node
from boxoffice.pipe import Pipe
from boxoffice.sentinels import Sentinels
from boxoffice.settings import Settings
from boxoffice.storeurl import StoreUrl


class Topology(Protocol):
    def live(self, key: str) -> Pipe | None:
        """The connection to the server of a key; None when it must be found or connected first."""

    async def node(self, key: str) -> Node:
        """The server of a key, connected. Raises StoreUnavailable."""

    async def moved(self) -> None:
        """A server says that a key is elsewhere: look again where. Raises StoreUnavailable."""

    async def close(self) -> None: ...


class Alone:
    def __init__(self, node: Node) -> None:
        self._node = node

    def live(self, key: str) -> Pipe | None:
        return self._node.live()

    async def node(self, key: str) -> Node:
        await self._node.connect()
        return self._node

    async def moved(self) -> None:
        """It is a replica now: the next connection asks for its role again."""
        await self._node.drop()

    async def close(self) -> None:
        await self._node.close()


def topology_of(settings: Settings, scripts: Iterable[bytes]) -> Topology:
    """Raises BadInput. Connects to nothing yet."""
    url = StoreUrl.of(settings)
    deadline = settings.store_deadline_seconds
    if url.kind == "sentinel":
        return Sentinels(url, scripts, deadline)
    if url.kind == "cluster":
        return Cluster(url, scripts, deadline)
    return Alone(Node(url.addresses[0], url.access, scripts, deadline))
