"""How a sale went: what the line and the house came to, from Redis into the ledger every ten seconds.

Counts alone, nobody's data: `boxoffice report` is made of them when Redis has forgotten the sale.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Literal, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from boxoffice.errors import NotFound, Recovering, Unavailable
from boxoffice.ledger import Ledger
from boxoffice.salerecords import SaleRecord
from boxoffice.spec import Policy
from boxoffice.store import Store
from boxoffice.tables import samples

SLOT_MS = 10_000
LOOK_SECONDS = 5.0
"""Twice a slot, so that none is missed; whoever of the settle processes comes first fills it."""

TEXTS = ("stage", "policy")

logger = logging.getLogger(__name__)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `samples`. Counters only rise, but for a Redis that lost its memory: `recovered_ms` differs then."""

    sale_uid: str
    slot: int
    at_ms: int
    """By Redis' clock."""
    stage: Literal["scheduled", "prequeue", "open", "closed"]
    policy: Policy
    """In force: the resource's own, or a stricter override."""
    recovered_ms: int
    """When Redis was last rebuilt; 0: never."""
    issued: int
    called: int
    lapsed: int
    waiting: int
    active: int
    target: int
    """How many should be inside."""
    per_minute: int
    """Calls a minute that were asked for, in Manual; else 0."""
    held: int
    paying: int
    sold: int
    claims: int
    """Called buyers who came; counts on."""
    holds: int
    """The number of the last hold; counts on."""
    contested: int
    lapses: int
    """Called buyers who did not come."""
    expired_holds: int
    expired_sessions: int


class Samples:
    def __init__(self, store: Store, ledger: Ledger, slot_ms: int = SLOT_MS) -> None:
        self._store, self._ledger, self._slot_ms = store, ledger, slot_ms
        self._last: dict[str, Sample] = {}

    async def run(self) -> None:
        while True:
            try:
                await self.take()
            except Unavailable as fault:
                logger.warning("no sample: %s", fault.detail)
            except Exception:
                logger.exception("samples")
            await asyncio.sleep(LOOK_SECONDS)

    async def take(self) -> None:
        kept = [sale for sale in await self._ledger.sales() if sale.dropped_ms is None]
        self._last = {sale.uid: self._last[sale.uid] for sale in kept if sale.uid in self._last}
        for sale in kept:
            sample = await self._look(sale)
            if sample is not None and _is_news(sample, self._last.get(sale.uid)):
                await _add(self._ledger, sample)
                self._last[sale.uid] = sample

    async def _look(self, sale: SaleRecord) -> Sample | None:
        """None for a sale that Redis does not have, or has lost: what it says of it then was never so."""
        try:
            _, uid, flat = await self._store.call("sample", sale.name)
        except (NotFound, Recovering):
            return None
        if uid.decode() != sale.uid:
            return None
        words = {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
        values = {name: value.decode() if name in TEXTS else int(value) for name, value in words.items()}
        slot = cast(int, values["at_ms"]) // self._slot_ms
        return msgspec.convert({**values, "sale_uid": sale.uid, "slot": slot}, Sample)


def _is_news(sample: Sample, last: Sample | None) -> bool:
    """One a slot while it is on; of a sale that is over only what still changes."""
    if sample.stage == "scheduled" or (last is not None and last.slot >= sample.slot):
        return False
    if sample.stage != "closed" or last is None:
        return True
    return msgspec.structs.replace(last, slot=sample.slot, at_ms=sample.at_ms) != sample


async def _add(ledger: Ledger, sample: Sample) -> None:
    try:
        async with ledger.writing() as connection:
            await connection.execute(sa.insert(samples), [msgspec.structs.asdict(sample)])
    except IntegrityError:
        return  # another settle process had the slot


async def samples_of(ledger: Ledger, sale_uid: str) -> list[Sample]:
    """All, in order: 8,640 a day of a sale at most."""
    statement = sa.select(samples).where(samples.c.sale_uid == sale_uid).order_by(samples.c.at_ms)
    async with ledger.reading() as connection:
        return [Sample(**row._mapping) for row in await connection.execute(statement)]
