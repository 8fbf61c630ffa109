"""The event log: accepted orders on their way to the ledger, in order within a partition.

Two engines fit these Protocols: Redis Streams (`streams.py`, the embedded default) and Kafka (`kafkalog.py`). A
record is never changed, an offset never given twice; a log that was wiped or made anew has another id, so that a
position kept in the ledger is never used on a log it does not belong to.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from prometheus_client import Counter, Histogram

from boxoffice.errors import LogUnavailable
from boxoffice.settings import Settings
from boxoffice.store import Store

REBALANCES = Counter("boxoffice_log_rebalances", "Times that this consumer was given partitions")
PUBLISH_SECONDS = Histogram(
    "boxoffice_log_publish_seconds",
    "Seconds until the log had a record, or would not take it",
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
PUBLISH_FAILURES = Counter(
    "boxoffice_log_publish_failures", "Records that the log did not take, of all that were tried"
)


@contextmanager
def published() -> Iterator[None]:
    """Around the publishing of one record."""
    with PUBLISH_SECONDS.time(), PUBLISH_FAILURES.count_exceptions(LogUnavailable):
        yield


Headers = Sequence[tuple[str, bytes]]


class Position(NamedTuple):
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Record:
    partition: int
    offset: int
    key: bytes
    value: bytes
    timestamp_ms: int
    """When the log took it, by the log's own clock."""
    headers: Headers = ()


Assigned = Callable[[str, Sequence[int]], None]
"""Called with the log's id and the partitions that are now ours. It must return at once and not fail."""

Revoked = Callable[[Sequence[int]], Awaitable[None]]
"""Called with partitions that we lose; the next owner waits until it returns, so finish the batch in hand."""


class Consumer(Protocol):
    """A member of the group that shares the partitions. Nothing is read from a partition before `seek`."""

    async def start(self, on_assigned: Assigned, on_revoked: Revoked) -> None: ...

    def seek(self, partition: int, offset: int) -> None:
        """The next record to fetch. The log keeps no position of its own: the ledger does."""

    async def fetch(self, partition: int, limit: int, wait_seconds: float) -> list[Record]:
        """The next records of one partition, none when nothing came in time. Raises LogUnavailable.

        Partitions are fetched independently and concurrently; one that is not fetched is paused.
        Offsets rise but may have gaps.
        """

    async def commit(self, partition: int, offset: int) -> None:
        """Tells the log that everything below `offset` is settled: shows the lag, allows trimming."""

    def check(self) -> None:
        """Raises what a callback raised, or what ended the membership for good. To be called now and then."""

    async def close(self) -> None:
        """Revokes what is ours and leaves, so that others take over at once."""


class EventLog(Protocol):
    @property
    def topic(self) -> str: ...

    @property
    def partitions(self) -> int: ...

    async def log_id(self) -> str:
        """At most 64 characters, another one when the log was made anew. Raises LogUnavailable."""

    async def publish(self, key: bytes, value: bytes, headers: Headers = ()) -> Position:
        """Returns when the record is as safe as this log makes it, or raises LogUnavailable within
        `publish_seconds`; the record may then still be in the log, so repeat it with the same key."""

    async def announce(self, notices: Sequence[tuple[bytes, bytes]]) -> None:
        """Keys and values for third parties, on the topic `{instance}.order-events`; each at least once when
        the whole is repeated after LogUnavailable."""

    async def keep(self, seconds: int) -> None:
        """What is published stays at least so long; never shortens. Raises LogUnavailable."""

    async def begins(self) -> list[int]:
        """The first offset still kept, by partition."""

    async def ends(self) -> list[int]:
        """One past the last offset, by partition."""

    def scan(self, partition: int, start: int, stop: int) -> AsyncIterator[list[Record]]:
        """The records kept in [start, stop), in chunks; for the audit and the recovery."""

    def consumer(self) -> Consumer: ...

    async def close(self) -> None: ...


async def open_log(settings: Settings, store: Store) -> EventLog:
    """Kafka where `log_url` names it, else streams on the store. Raises BadInput, LogUnavailable."""
    if settings.log_url:
        from boxoffice.kafkalog import KafkaLog

        return await KafkaLog.open(settings)
    from boxoffice.streams import StreamsLog

    return await StreamsLog.open(settings, store)


async def prepare_log(settings: Settings, store: Store) -> None:
    """Makes the log where it is missing; many may do so at once. Raises BadInput, LogUnavailable."""
    if settings.log_url:
        from boxoffice.kafkatopics import prepare_topics

        await prepare_topics(settings)
    else:
        await (await open_log(settings, store)).close()
