"""All sales of an instance as a pod knows them, kept up to date by one task: four beats a second.

All pods beat; `lua/tick.lua` makes sure that it changes nothing how many there are.
"""

from __future__ import annotations

import asyncio
import logging
import time

from boxoffice.errors import BoxofficeError, NotFound, Recovering, StoreUnavailable, Unavailable
from boxoffice.snapshot import View
from boxoffice.store import Store

BEAT_SECONDS = 0.25
NAMES_SECONDS = 1.0
MOST_ARCHIVED = 200
"""Views of sales that have left Redis; the ledger has them all."""

log = logging.getLogger(__name__)


class Board:
    """All sales of the instance, kept up to date by one task."""

    def __init__(self, store: Store) -> None:
        self.views: dict[str, View] = {}
        self.archived: dict[str, View] = {}
        self.last_beat = 0.0
        self._store = store
        self._names_at = 0.0

    def view(self, name: str) -> View:
        """Raises NotFound for a sale that this instance does not have, Unavailable before its first beat."""
        view = self.views.get(name) or self.archived.get(name)
        if view is None:
            raise NotFound(f"there is no sale named {name!r}", code="unknown_sale")
        if not view.ready:
            raise Unavailable("this sale is being loaded", code="loading", retry_after=1)
        return view

    async def run(self) -> None:
        """Beats until cancelled. Never raises: a fault is logged once and the last answer stands."""
        fault = ""
        while True:
            started = time.monotonic()
            try:
                await self.beat()
                fault = ""
            except BoxofficeError as error:
                if fault != str(error):
                    fault = str(error)
                    log.warning("beat: %s", fault)
            except Exception:
                log.exception("beat")
            await asyncio.sleep(max(0.01, BEAT_SECONDS - (time.monotonic() - started)))

    async def beat(self) -> None:
        """In a Cluster each server may fail alone, and takes what lies on it out of the beat, but no other sale."""
        answers = [await self._find_sales()]
        answers += await asyncio.gather(*(self._tick(view) for view in list(self.views.values())))
        if any(answers):
            self.last_beat = time.monotonic()

    async def _find_sales(self) -> bool:
        """Whether Redis answered."""
        now = time.monotonic()
        if now - self._names_at < NAMES_SECONDS and self.views:
            return False
        self._names_at = now
        try:
            names = await self._store.names()
        except StoreUnavailable as error:
            if not self.views:
                raise
            log.warning("beat: %s", error)
            return False
        for name in names - self.views.keys():
            self.views[name] = View(name)
            self.archived.pop(name, None)
        return True

    async def look(self, name: str) -> View:
        """One sale as it is now. Raises NotFound, Recovering, StoreUnavailable."""
        view = self.views.setdefault(name, View(name))
        view.update(await self._store.call("tick", name, view.spec_v, view.map_v, view.last_event, *_witness(view)))
        return view

    async def _tick(self, view: View) -> bool:
        """Whether Redis answered."""
        try:
            await self.look(view.name)
        except NotFound:
            await self._forget_or_keep(view)
        except Recovering:
            view.mark_recovering()
        except StoreUnavailable as error:
            log.warning("beat of %s: %s", view.name, error)
            return False
        return True

    async def _forget_or_keep(self, view: View) -> None:
        """A sale that was dropped on purpose goes; one that Redis lost is kept until it is rebuilt, and one that is
        in the ledger alone as it is."""
        dropped = await self._store.execute("GET", self._store.key(view.name, "dropped"))
        if dropped == b"archived" and view.ready:
            self.archive(view)
        elif dropped or not view.ready:
            self.views.pop(view.name, None)
        else:
            view.mark_recovering()

    def archive(self, view: View) -> None:
        view.freeze()
        self.views.pop(view.name, None)
        self.archived[view.name] = view
        if len(self.archived) > MOST_ARCHIVED:
            del self.archived[next(iter(self.archived))]


def _witness(view: View) -> tuple[int, int, int, int]:
    return view.issued, view.called, view.lapsed, view.epoch
