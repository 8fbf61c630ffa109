"""Of the engines: whether they keep what a sale writes, and have room for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from aiokafka.client import AIOKafkaClient  # type: ignore[import-untyped]

from boxoffice.check import Check, failed, ok, warning
from boxoffice.database import as_unavailable, connect
from boxoffice.errors import Conflict, LedgerUnavailable
from boxoffice.kafkaclient import as_log_unavailable, begun, connection
from boxoffice.kafkatopics import RETENTION, Topic, describe, notices_topic, orders_topic, safety, values_of
from boxoffice.migrations import check_tables
from boxoffice.node import warnings
from boxoffice.settings import Settings

MIGRATE = "`boxoffice migrate`"
ISOLATION = "READ COMMITTED"
OTHER_PROCESSES = 2
"""With a pool as large as a settlement's: admin and operator."""


def found_and_mend(fault: str) -> tuple[str, str]:
    """An error names its mend when it knows one."""
    found, migrate, _ = fault.partition(MIGRATE)
    return (found.rstrip(":; "), MIGRATE) if migrate else (fault, "look whether it runs and may be reached")


def redis_checks(info: Mapping[bytes, bytes]) -> Iterator[Check]:
    """By what INFO says; CONFIG is not for everybody."""
    faults = [warning_.partition(": ")[::2] for warning_ in warnings(info)]
    for fault, mend in faults:
        yield failed("redis", fault, mend)
    if not faults:
        yield ok("redis", f"{info[b'redis_version'].decode()}, appendonly yes, maxmemory-policy noeviction")
    replicas = int(info[b"connected_slaves"])
    if not replicas:
        mend = "a second server with Sentinel, or a Cluster; without one a lost server means a rebuild from the ledger"
        yield warning("redis replicas", "none is connected", mend)
    else:
        yield ok("redis replicas", f"{replicas} connected")


@dataclass(frozen=True, slots=True)
class TopicFacts:
    name: str
    topic: Topic
    values: Mapping[str, str]


async def look_at_topics(settings: Settings) -> list[TopicFacts]:
    """The orders' first. Raises LogUnavailable."""
    names = (orders_topic(settings), notices_topic(settings))
    with as_log_unavailable():
        client = AIOKafkaClient(**connection(settings))
        try:
            await begun(client.bootstrap())
            return [await _look(client, name) for name in names]
        finally:
            await client.close()


async def _look(client: AIOKafkaClient, name: str) -> TopicFacts:
    return TopicFacts(name, await describe(client, name), await values_of(client, name, [RETENTION, *safety(1)]))


def log_checks(settings: Settings, facts: list[TopicFacts], keep_seconds: int) -> Iterator[Check]:
    for each in facts:
        yield from _copies(settings, each)
        yield from _safe(each)
    orders = facts[0]
    kept_ms, wanted = int(orders.values[RETENTION]), f"{keep_seconds / 86_400:.1f} days are needed"
    if 0 <= kept_ms < keep_seconds * 1000:
        mend = "`boxoffice settle` raises it within five minutes of a new sale, or `boxoffice migrate` now"
        yield failed("log retention", f"{kept_ms / 86_400_000:.1f} days, but {wanted}", mend)
    else:
        yield ok("log retention", "for ever" if kept_ms < 0 else f"{kept_ms / 86_400_000:.1f} days; {wanted}")
    partitions = len(orders.topic.leaders)
    found = f"{partitions}: so many settlements can work side by side"
    if partitions < settings.log_partitions:
        mend = f"more than that stand idle; the setting says {settings.log_partitions}, which counts at the making only"
        yield warning("log partitions", found, mend)
    else:
        yield ok("log partitions", found)


def _copies(settings: Settings, each: TopicFacts) -> Iterator[Check]:
    topic, name = each.topic, f"log copies of {each.name}"
    if topic.replicas < settings.log_replicas:
        mend = f"kafka-reassign-partitions to {settings.log_replicas}, or another BOXOFFICE_LOG_REPLICAS (log.replicas)"
        yield failed(name, f"{topic.replicas} of each partition, {settings.log_replicas} are wanted", mend)
    elif topic.in_sync < topic.replicas:
        found = f"{topic.in_sync} of {topic.replicas} are up to date"
        yield failed(name, found, "look for the broker that is gone or slow: kafka-topics --describe")
    else:
        yield ok(name, f"{topic.replicas} of each partition, all up to date")


def _safe(each: TopicFacts) -> Iterator[Check]:
    wanted = safety(each.topic.replicas)
    wrong = {key: value for key, value in each.values.items() if value != wanted.get(key, value)}
    name = f"log settings of {each.name}"
    for key, value in wrong.items():
        yield failed(name, f"{key}={value}, not {wanted[key]}", f"{MIGRATE} sets it")
    if not wrong:
        yield ok(name, f"min.insync.replicas={wanted['min.insync.replicas']}, no unclean leader election")


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    version: str
    isolation: str
    connections: int
    """That are open now."""
    variables: Mapping[str, Any]


VARIABLES = ("innodb_flush_log_at_trx_commit", "sync_binlog", "log_bin", "binlog_format", "max_connections")


async def look_at_ledger(settings: Settings) -> LedgerFacts | None:
    """None on SQLite. Raises LedgerUnavailable."""
    engine = connect(settings.ledger_url, settings.ledger_ca_file, pool=1)
    if engine.dialect.name == "sqlite":
        return None
    try:
        with as_unavailable():
            async with engine.connect() as connection:
                select = ", ".join(f"@@{name} AS {name}" for name in VARIABLES)
                [row] = (await connection.execute(sa.text(f"SELECT VERSION() AS version, {select}"))).mappings()
                status = await connection.execute(sa.text("SHOW GLOBAL STATUS LIKE 'Threads_connected'"))
                isolation = await connection.run_sync(lambda sync: sync.get_isolation_level())
                return LedgerFacts(row["version"], isolation, int(status.one()[1]), dict(row))
    finally:
        await engine.dispose()


async def table_check(settings: Settings) -> Check:
    try:
        await check_tables(settings)
    except LedgerUnavailable as fault:
        return failed("ledger tables", *found_and_mend(fault.detail))
    except Conflict as fault:
        return failed("ledger tables", fault.detail, "another database, or the instance whose it is")
    return ok("ledger tables", "as this release wants them")


def ledger_checks(settings: Settings, facts: LedgerFacts, partitions: int) -> Iterator[Check]:
    v = facts.variables
    yield _exactly("ledger commits", "innodb_flush_log_at_trx_commit", v["innodb_flush_log_at_trx_commit"], 1)
    if v["log_bin"]:
        yield _exactly("ledger binary log", "sync_binlog", v["sync_binlog"], 1)
    else:
        mend = "set log_bin: without it no replica, and no restore to a moment"
        yield warning("ledger binary log", "there is none", mend)
    if v["log_bin"] and v["binlog_format"] == "STATEMENT":
        yield failed("ledger isolation", f"binlog_format=STATEMENT does not go with {ISOLATION}", "set it to ROW")
    elif facts.isolation != ISOLATION:
        yield failed("ledger isolation", f"{facts.isolation}, though {ISOLATION} was asked for", "let sessions set it")
    else:
        yield ok("ledger isolation", f"{facts.isolation}, on {facts.version}")
    yield _room(settings, v["max_connections"], facts.connections, partitions)


def _exactly(name: str, variable: str, value: Any, wanted: int) -> Check:
    if value == wanted:
        return ok(name, f"{variable}={value}")
    mend = f"SET PERSIST {variable} = {wanted}, and in the server's configuration"
    return failed(name, f"{variable}={value}: a crash may forget what was committed", mend)


def _room(settings: Settings, most: int, now: int, partitions: int) -> Check:
    """A settlement for each partition is as many as can have work."""
    pools = (partitions + OTHER_PROCESSES) * settings.ledger_pool
    found = f"max_connections={most}, {now} open now; {partitions} settlements, admin and operator may open {pools}"
    if pools <= most:
        return ok("ledger connections", found)
    return failed("ledger connections", found, f"set max_connections to {pools + 20} or more, or ledger.pool lower")
