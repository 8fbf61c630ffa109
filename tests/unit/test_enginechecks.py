"""What is judged from what the engines say of themselves; tests/integration/test_preflight.py asks real ones."""

from __future__ import annotations

from typing import Any

import pytest

from boxoffice.check import Check
from boxoffice.enginechecks import (
    LedgerFacts,
    TopicFacts,
    found_and_mend,
    ledger_checks,
    log_checks,
    redis_checks,
)
from boxoffice.kafkatopics import Topic, safety
from boxoffice.settings import Settings

INFO = {
    b"redis_version": b"7.2.4", b"maxmemory_policy": b"noeviction", b"aof_enabled": b"1",
    b"connected_slaves": b"1", b"min_slaves_good_slaves": b"1", b"redis_mode": b"standalone",
}  # fmt: skip
WEEK = 7 * 86_400


def wrong(checks: Any) -> list[Check]:
    return [check for check in checks if check.result != "ok"]


def test_redis_that_keeps_well_is_well() -> None:
    assert wrong(redis_checks(INFO)) == []


@pytest.mark.parametrize(
    ("change", "result", "mend"),
    [
        ({b"aof_enabled": b"0"}, "failed", "set appendonly yes"),
        ({b"maxmemory_policy": b"allkeys-lru"}, "failed", "set maxmemory-policy noeviction"),
        ({b"redis_version": b"6.2.1"}, "failed", "take Redis 7"),
        ({b"connected_slaves": b"0"}, "warning", "a second server"),
    ],
)
def test_redis_that_does_not_is_named(change: dict[bytes, bytes], result: str, mend: str) -> None:
    [check] = wrong(redis_checks(INFO | change))
    assert (check.result, mend in check.mend) == (result, True)


def test_replicas_that_nobody_waits_for_are_named() -> None:
    info = {name: value for name, value in INFO.items() if name != b"min_slaves_good_slaves"}
    [check] = wrong(redis_checks(info))
    assert (check.result, check.mend) == ("failed", "set min-replicas-to-write 1")


def topic(replicas: int = 3, in_sync: int = 3, partitions: int = 12, values: Any = None) -> TopicFacts:
    settings = {"retention.ms": str(WEEK * 1000), **safety(replicas), **(values or {})}
    return TopicFacts("orders", Topic("1" * 32, [0] * partitions, replicas, in_sync), settings)


@pytest.mark.parametrize(
    ("facts", "seconds", "result", "says"),
    [
        (topic(1, 1), WEEK, "failed", "1 of each partition, 3 are wanted"),
        (topic(in_sync=2), WEEK, "failed", "2 of 3 are up to date"),
        (topic(values={"min.insync.replicas": "1"}), WEEK, "failed", "min.insync.replicas=1, not 2"),
        (
            topic(values={"unclean.leader.election.enable": "true"}),
            WEEK,
            "failed",
            "unclean.leader.election.enable=true",
        ),
        (topic(), WEEK + 86_400, "failed", "7.0 days, but 8.0 days are needed"),
        (topic(partitions=4), WEEK, "warning", "4: so many settlements"),
    ],
)
def test_a_log_that_could_lose_an_order_is_named(facts: TopicFacts, seconds: int, result: str, says: str) -> None:
    [check] = wrong(log_checks(Settings(log_partitions=12), [facts], seconds))
    assert (check.result, says in check.found) == (result, True)
    assert check.mend


def test_a_log_that_is_kept_for_ever_is_well() -> None:
    facts = topic(values={"retention.ms": "-1"})
    assert wrong(log_checks(Settings(log_partitions=12), [facts], 10 * WEEK)) == []


VARIABLES = {
    "innodb_flush_log_at_trx_commit": 1,
    "sync_binlog": 1,
    "log_bin": 1,
    "binlog_format": "ROW",
    "max_connections": 151,
}


@pytest.mark.parametrize(
    ("change", "isolation", "result", "says"),
    [
        ({"innodb_flush_log_at_trx_commit": 2}, "READ COMMITTED", "failed", "innodb_flush_log_at_trx_commit=2"),
        ({"sync_binlog": 0}, "READ COMMITTED", "failed", "sync_binlog=0"),
        ({"log_bin": 0, "sync_binlog": 0}, "READ COMMITTED", "warning", "there is none"),
        ({"binlog_format": "STATEMENT"}, "READ COMMITTED", "failed", "binlog_format=STATEMENT"),
        ({}, "REPEATABLE READ", "failed", "REPEATABLE READ, though READ COMMITTED"),
        ({"max_connections": 100}, "READ COMMITTED", "failed", "may open 112"),
    ],
)
def test_a_ledger_that_could_forget_is_named(change: dict[str, Any], isolation: str, result: str, says: str) -> None:
    facts = LedgerFacts("8.4.0", isolation, 3, VARIABLES | change)
    [check] = wrong(ledger_checks(Settings(ledger_pool=8), facts, partitions=12))
    assert (check.result, says in check.found) == (result, True)
    assert check.mend


def test_a_ledger_that_keeps_well_is_well() -> None:
    facts = LedgerFacts("8.4.0", "READ COMMITTED", 3, VARIABLES)
    assert wrong(ledger_checks(Settings(ledger_pool=8), facts, partitions=12)) == []


def test_an_error_that_names_its_mend_gives_it() -> None:
    assert found_and_mend("no topic: Unknown; `boxoffice migrate`") == ("no topic: Unknown", "`boxoffice migrate`")
    assert found_and_mend("out of reach") == ("out of reach", "look whether it runs and may be reached")
