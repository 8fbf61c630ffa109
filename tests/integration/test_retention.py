"""How long the log keeps its records."""

from __future__ import annotations

import time
from dataclasses import replace

import msgspec

from boxoffice.eventlog import open_log, prepare_log
from boxoffice.ledger import Ledger
from boxoffice.local.kafka import LocalKafka
from boxoffice.retention import AFTER_SECONDS, keep_records, seconds_to_keep
from boxoffice.sale import parse_sale
from boxoffice.settings import Settings
from boxoffice.store import Store
from tests.integration.house import resource
from tests.integration.test_kafka import configured

DAY = 24 * 3600


async def sell(ledger: Ledger, name: str, closes_in_days: float) -> None:
    closes = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + closes_in_days * DAY))
    opens = "2020-01-01T00:00:00Z"
    document = resource(opensTime=opens, preQueueTime=opens, closesTime=closes)
    spec = parse_sale(msgspec.json.encode(document)).spec
    await ledger.ensure_sale(name, "1" * 64, msgspec.json.encode(spec).decode(), 100)


async def test_until_the_last_sale_has_closed_and_seven_days_more(ledger: Ledger) -> None:
    now_ms = int(time.time() * 1000)
    assert seconds_to_keep(await ledger.sales(), now_ms) == AFTER_SECONDS == 7 * DAY
    await sell(ledger, "over", closes_in_days=-20)
    assert seconds_to_keep(await ledger.sales(), now_ms) == 7 * DAY
    await sell(ledger, "tomorrow", closes_in_days=1)
    await sell(ledger, "in-a-month", closes_in_days=30)
    assert abs(seconds_to_keep(await ledger.sales(), now_ms) - 37 * DAY) < 60


async def test_kafka_is_told(kafka: LocalKafka, settings: Settings, store: Store, ledger: Ledger) -> None:
    settings = replace(settings, **kafka.changes)
    await prepare_log(settings, store)
    log = await open_log(settings, store)
    await sell(ledger, "in-a-month", closes_in_days=30)
    await keep_records(log, ledger)
    kept_ms = int((await configured(settings, log.topic))["retention.ms"])
    assert abs(kept_ms // 1000 - 37 * DAY) < 60
    await log.close()
