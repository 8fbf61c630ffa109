"""Redis Cluster: a key's slot says which master has it. All keys of a sale have one hash tag, so one slot."""

from __future__ import annotations

import asyncio
import binascii
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from boxoffice.errors import StoreUnavailable
from boxoffice.node import RECONNECT_SECONDS, Node, ask_all
from boxoffice.pipe import Pipe, ReplyError, fields_of
from boxoffice.storeurl import Address, StoreUrl

SLOTS = 16_384
ASKED = 8
"""So many nodes are asked for the map at most; the one that saw the latest election counts."""

log = logging.getLogger(__name__)


def slot_of(key: str) -> int:
    """CRC16 of the hash tag: what stands between the first `{` and the next `}`, if anything does."""
    start = key.find("{")
    if start >= 0 and (stop := key.find("}", start)) > start + 1:
        key = key[start + 1 : stop]
    return binascii.crc_hqx(key.encode(), 0) % SLOTS


@dataclass(frozen=True, slots=True, order=True)
class _Map:
    epoch: int
    ranges: tuple[tuple[int, int, Address], ...]


class Cluster:
    def __init__(self, url: StoreUrl, scripts: Iterable[bytes], deadline_seconds: float) -> None:
        self._url, self._scripts, self._deadline = url, scripts, deadline_seconds
        self._nodes: dict[Address, Node] = {}
        self._slots: list[Node | None] = [None] * SLOTS
        self._looking = asyncio.Lock()
        self._not_before = 0.0

    def live(self, key: str) -> Pipe | None:
        node = self._slots[slot_of(key)]
        return node.live() if node is not None else None

    async def node(self, key: str) -> Node:
        slot = slot_of(key)
        node = self._slots[slot]
        if node is None or node.live() is None:
            await self.moved()
            node = self._slots[slot]
        if node is None:
            raise StoreUnavailable(f"no server of the Redis Cluster has slot {slot}")
        await node.connect()
        return node

    async def moved(self) -> None:
        """Reads the map anew; those who waited meanwhile take what was found."""
        loop = asyncio.get_running_loop()
        async with self._looking:
            if loop.time() < self._not_before:
                return
            try:
                asked = list(dict.fromkeys((*self._nodes, *self._url.addresses)))[:ASKED]
                await self._take(max(await ask_all(map(self._ask, asked))))
            finally:
                self._not_before = loop.time() + RECONNECT_SECONDS

    async def close(self) -> None:
        await asyncio.gather(*(node.close() for node in self._nodes.values()))

    async def _ask(self, address: Address) -> _Map:
        """Raises StoreUnavailable when the node is out of reach, or has no part in the cluster's majority."""
        pipe = await Pipe.connect(address, self._url.access, self._deadline)
        try:
            info, slots = await asyncio.gather(pipe.send("CLUSTER", "INFO"), pipe.send("CLUSTER", "SLOTS"))
        except ReplyError as error:
            raise StoreUnavailable(f"Redis at {address} is no Cluster: {error}") from None
        finally:
            await pipe.close()
        state = fields_of(info)
        ranges = tuple((first, last, _endpoint(address, master)) for first, last, master, *_ in slots)
        return _Map(int(state[b"cluster_current_epoch"]) if state[b"cluster_state"] == b"ok" else -1, ranges)

    async def _take(self, found: _Map) -> None:
        masters = {address for _, _, address in found.ranges}
        for address in masters - self._nodes.keys():
            self._nodes[address] = Node(address, self._url.access, self._scripts, self._deadline)
        self._slots = [None] * SLOTS
        for first, last, address in found.ranges:
            self._slots[first : last + 1] = [self._nodes[address]] * (last - first + 1)
        former = [self._nodes.pop(address) for address in self._nodes.keys() - masters]
        if former:
            log.warning("Redis Cluster: no longer masters: %s", ", ".join(str(node.address) for node in former))
            await asyncio.gather(*(node.close() for node in former))


def _endpoint(asked: Address, entry: list[object]) -> Address:
    """A node that does not know its own address is where it was asked."""
    host, port = entry[0], entry[1]
    assert isinstance(port, int)
    return Address(host.decode() if isinstance(host, bytes) and host not in (b"", b"?") else asked.host, port)
