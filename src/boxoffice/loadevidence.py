"""What is asked when a crowd is judged: ledger and gateway past the app, the audit, the samples, and Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from boxoffice.aftermath import aftermath_of
from boxoffice.audit import AuditReport, audit
from boxoffice.console import Office
from boxoffice.curves import Curve, ask_prometheus, queries, read_curves
from boxoffice.errors import BadInput, NotFound
from boxoffice.eventlog import open_log
from boxoffice.gateway import open_gateway
from boxoffice.loadreport import LoadReport, load_report
from boxoffice.reckoning import reckon
from boxoffice.sale import to_ms
from boxoffice.salerecords import SaleRecord, now_ms
from boxoffice.spec import Spec, stored_spec
from boxoffice.witnesses import Evidence, Story, read_books, read_charges

T = TypeVar("T")

SETTLE_SECONDS = 60.0
LOOK_SECONDS = 0.5


async def judge_crowd(office: Office, name: str, told: Sequence[Story], prometheus: str) -> LoadReport:
    """Raises NotFound, BadInput, and what an engine raises."""
    record = await office.ledger.sale(name)
    if record is None:
        raise NotFound(f"the ledger knows no sale named {name!r}", code="unknown_sale")
    spec = stored_spec(record.spec)
    evidence = await _evidence(office, record, spec, told)
    night = reckon(await aftermath_of(office.ledger, name), now_ms())
    curves = await _curves(prometheus, name, spec, told)
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return load_report(evidence, name, at, night, spec.signals, curves)


async def _evidence(office: Office, record: SaleRecord, spec: Spec, told: Sequence[Story]) -> Evidence:
    settings = office.settings
    audited = await _settled(office, record.name)
    books = await read_books(settings.ledger_reader_url or settings.ledger_url, record.name, settings.ledger_ca_file)
    total = record.seats_total
    return Evidence(
        crowd=_one("crowd", {story.crowd for story in told}),
        fights=False,
        buyers=_one("number of buyers", {story.of for story in told}),
        seats=total,
        opened_ms=record.opened_ms or to_ms(spec.opens_time),
        sold_out_ms=books.last_paid_ms if len(books.tickets) == total else None,
        stories=told,
        tickets=books.tickets,
        amounts=books.amounts,
        charges=await read_charges(settings.gateway_url, books.uid),
        differences=[f"{difference.kind}: {difference.text}" for difference in audited.differences],
    )


def _one(what: str, found: set[T]) -> T:
    if len(found) != 1:
        raise BadInput(f"the stories are of more than one {what}: {', '.join(map(str, sorted(found, key=str)))}")
    return found.pop()


async def _settled(office: Office, name: str) -> AuditReport:
    """The audit, when no order is on its way any more; as it is then, when that takes too long."""
    async with AsyncExitStack() as stack:
        event_log = await open_log(office.settings, office.store)
        stack.push_async_callback(event_log.close)
        gateway = await open_gateway(office.settings)
        stack.push_async_callback(gateway.close)
        deadline = asyncio.get_running_loop().time() + SETTLE_SECONDS
        while True:
            found = await audit(name, office.store, event_log, office.ledger, gateway)
            if not found.in_flight or asyncio.get_running_loop().time() > deadline:
                return found
            await asyncio.sleep(LOOK_SECONDS)


async def _curves(source: str, name: str, spec: Spec, told: Sequence[Story]) -> dict[str, Curve] | None:
    """Of the time that the stories tell of."""
    if not source:
        return None
    if not source.startswith(("http://", "https://")):
        return read_curves(await asyncio.to_thread(_read, Path(source)))
    begin = min(story.began_at_ms for story in told) / 1000
    end = max(story.ended_at_ms for story in told) / 1000
    return await ask_prometheus(source, queries(name, spec.signals), begin, end)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror}") from None
