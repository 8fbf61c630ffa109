"""One sale: what its resource says is brought in force, and what is going on with it is seen. Level-based: each look
begins from what stands there now, so it may be repeated at any time and nothing need be remembered."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import overrides
from boxoffice import sales
from boxoffice.board import Board
from boxoffice.errors import (
    ClusterUnavailable,
    Conflict,
    Gone,
    LedgerUnavailable,
    NotFound,
    Recovering,
    StoreUnavailable,
    Unprocessable,
)
from boxoffice.ledger import Ledger
from boxoffice.override import Override
from boxoffice.sale import ConcertSale, convert_sale
from boxoffice.salerecords import SaleRecord
from boxoffice.sales import OldWriter, Writer
from boxoffice.snapshot import View
from boxoffice.store import Store
from facts import Facts, Fault, Overriding, Sight
from resources import Resource, Resources
from turn import Turn

KEEP_MS = 600_000
"""A sale whose resource is gone stays so long in Redis, and until nobody is inside: applied again it goes on."""
WHO = "operator"

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Reconciler:
    store: Store
    ledger: Ledger
    board: Board
    resources: Resources
    turn: Turn
    namespace: str

    async def look(self, resource: Resource, records: Mapping[str, SaleRecord] | None) -> Facts:
        """Brings one sale in line. `records`: the sales in the ledger, None while it is out of reach. Raises OldWriter,
        and nothing else that an engine, a cluster or a resource can bring about."""
        sale = _read(resource)
        seen = _Seen()
        if records is None:
            seen.ledger = Fault("LedgerUnreachable", "the ledger does not answer; orders wait in the log")
        if isinstance(sale, Fault):
            seen.unready = sale
        else:
            await self._put_in_force(resource, sale, records, seen)
        if seen.store is None and not seen.foreign and not seen.archived:
            await self._observe(resource, seen)
        return seen.facts(resource, None if isinstance(sale, Fault) else sale)

    async def _put_in_force(
        self, resource: Resource, sale: ConcertSale, records: Mapping[str, SaleRecord] | None, seen: _Seen
    ) -> None:
        try:
            await self._apply(resource, sale, records)
        except OldWriter:
            raise
        except Gone:
            seen.archived = True
        except Conflict as error:
            seen.foreign = True
            seen.unready = Fault("NameTaken", f"{error.detail}. What was sold under it goes on as it is")
        except LedgerUnavailable:
            seen.ledger = Fault("LedgerUnreachable", "the ledger does not answer; orders wait in the log")
            await self._see_whether_in_force(sale, seen)
        except Recovering as error:
            seen.store = Fault("SaleRecovering", error.detail)
        except StoreUnavailable as error:
            seen.store = Fault("RedisUnreachable", error.detail)

    async def _apply(self, resource: Resource, sale: ConcertSale, records: Mapping[str, SaleRecord] | None) -> None:
        writer = Writer(self.turn.writer, self.namespace)
        text = sales.spec_text(sale)
        if _is_archived(records, resource.name, text):
            raise Gone(f"{resource.name} is over, and this spec is the one it ended with")
        here = await self._here(resource.name)
        if here.is_in_force(text, self.namespace) and _has(records, resource.name, text):
            if here.writer != writer.number:
                sales.check_turn(await self.store.call("steer", resource.name, writer.number))
            return
        logger.info("%s: generation %d is brought in force", resource.name, resource.generation)
        await sales.apply(self.store, self.ledger, sale, WHO, f"generation {resource.generation}", writer)

    async def _see_whether_in_force(self, sale: ConcertSale, seen: _Seen) -> None:
        """A sale that Redis has is changed there first; a new one needs the ledger."""
        try:
            here = await self._here(sale.metadata.name)
        except StoreUnavailable as error:
            seen.store = Fault("RedisUnreachable", error.detail)
            return
        if not here.is_in_force(sales.spec_text(sale), self.namespace):
            seen.unready = Fault(
                "LedgerUnreachable", "a new sale, or other seats, need the ledger, which does not answer"
            )

    async def _here(self, name: str) -> _Here:
        """Raises StoreUnavailable."""
        spec = await self.store.execute("GET", self.store.key(name, "spec"))
        record = self.store.key(name, "sale")
        writer, namespace, orphaned = await self.store.execute("HMGET", record, "writer", "namespace", "orphaned_ms")
        return _Here(_text(spec), int(writer or 0), _text(namespace), orphaned is not None)

    async def _observe(self, resource: Resource, seen: _Seen) -> None:
        try:
            await self._carry(resource, seen)
            view = await self.board.look(resource.name)
            over = await sales.override_of(self.store, view)
        except NotFound:
            seen.unready = seen.unready or Fault("SaleMissing", "Redis does not have the sale yet")
        except Recovering as error:
            seen.store = Fault("SaleRecovering", error.detail)
        except StoreUnavailable as error:
            seen.store = Fault("RedisUnreachable", error.detail)
        else:
            seen.sight = Sight.of(view)
            seen.override = Overriding(over.policy, over.who, over.why) if over else None

    async def _carry(self, resource: Resource, seen: _Seen) -> None:
        """The override, from whichever end it was changed at to the other."""
        register = await overrides.read(self.store, resource.name)
        try:
            step = overrides.carry(resource.annotation, register)
        except Unprocessable as error:
            seen.annotation = Fault("OverrideInvalid", f"{error.detail}; `kubectl sale hold --help` says how")
            return
        if isinstance(step, overrides.ToStore):
            await self._obey(resource.name, step.override, step.annotation)
        elif step is not None:
            await self._write_down(resource.name, step.annotation)

    async def _obey(self, name: str, override: Override, annotation: str) -> None:
        policy = None if override.policy == "Open" else override.policy
        until = 0 if override.until is None else int(override.until.timestamp() * 1000)
        who, why = override.who, override.why
        await sales.override(self.store, self.ledger, name, policy, who, why, until, annotation)

    async def _write_down(self, name: str, annotation: str) -> None:
        """First the annotation: when we die in between, it is carried back as the same."""
        try:
            written = await self.resources.annotate(name, annotation)
        except ClusterUnavailable as error:
            logger.warning("%s: its override is not in its annotation yet: %s", name, error)
            return
        if written:
            pair = ("override_seen", annotation)
            sales.check_turn(await self.store.call("steer", name, self.turn.writer, *pair))

    async def tidy(self, present: Mapping[str, Resource], mine: set[str]) -> None:
        """Sales of ours whose resource is gone: they drain, and after a while leave Redis. `mine`: those known so far,
        which a Redis that was rebuilt in between has forgotten. Raises StoreUnavailable, LedgerUnavailable,
        OldWriter."""
        for name in await self.store.names() - present.keys():
            namespace = await self.store.execute("HGET", self.store.key(name, "sale"), "namespace")
            if name in mine or _text(namespace) == self.namespace:
                mine.add(name)
                await self._tidy(name)

    async def _tidy(self, name: str) -> None:
        try:
            reply = await self.store.call("orphan", name, self.turn.writer)
            sales.check_turn(reply)
            since, now = int(reply[1]), int(reply[2])
            if now - since >= KEEP_MS and await self._is_quiet(await self.board.look(name)):
                await sales.drop(self.store, self.ledger, name, WHO, "its resource was deleted")
                logger.info("%s: its resource is gone, and so it has left Redis; the ledger keeps its orders", name)
        except (NotFound, Recovering):
            return  # gone already, or to be looked at when it is back

    async def _is_quiet(self, view: View) -> bool:
        unpublished = await self.store.execute("ZCARD", self.store.key(view.name, "unpublished"))
        return view.active == 0 and view.paying == 0 and not unpublished


@dataclass(slots=True)
class _Here:
    """What Redis has of a sale; empty when it has none."""

    spec: str
    writer: int
    namespace: str
    orphaned: bool

    def is_in_force(self, spec: str, namespace: str) -> bool:
        return (self.spec, self.namespace, self.orphaned) == (spec, namespace, False)


@dataclass(slots=True)
class _Seen:
    """Facts as they come in."""

    unready: Fault | None = None
    store: Fault | None = None
    ledger: Fault | None = None
    annotation: Fault | None = None
    override: Overriding | None = None
    sight: Sight | None = None
    foreign: bool = False
    """What Redis has under this name is another sale."""
    archived: bool = False

    def facts(self, resource: Resource, sale: ConcertSale | None) -> Facts:
        return Facts(
            generation=resource.generation,
            spec=None if sale is None else sale.spec,
            sight=self.sight,
            unready=self.unready,
            store=self.store,
            ledger=self.ledger,
            override=self.override,
            annotation=self.annotation,
            archived=self.archived,
        )


def _read(resource: Resource) -> ConcertSale | Fault:
    """What the cluster let through need not be a sale that can work."""
    try:
        return convert_sale(resource.document)
    except Unprocessable as error:
        return Fault("SpecInvalid", f"{error.detail}. What was in force before still is")


def _is_archived(records: Mapping[str, SaleRecord] | None, name: str, text: str) -> bool:
    record = (records or {}).get(name)
    return record is not None and record.archived_ms is not None and record.spec == text


def _has(records: Mapping[str, SaleRecord] | None, name: str, text: str) -> bool:
    """Whether the ledger has this spec, as far as it can be known."""
    if records is None:
        return True
    record = records.get(name)
    return record is not None and record.spec == text and record.dropped_ms is None


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode()
