"""What each line of the table sends: requests, and the arguments of the same calls made alone, a batch a go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

import sent
from boxoffice.settings import Settings
from boxoffice.store import Store
from scene import Scene

MOST_BUYERS = 2000
ENDLESS = 10_000_000


class Plan(msgspec.Struct, frozen=True):
    """How long, how often, how many."""

    seconds: float
    rounds: int
    waiting: int

    @property
    def goes(self) -> int:
        """The first go of every line warms it up and is not counted."""
        return self.rounds + 1

    @property
    def polls(self) -> int:
        """Buyers who poll, all of them in the first go, as those do who wait; none so soon that it is told so."""
        return min(40_000, max(20_000, int(30_000 * self.seconds)))

    @property
    def joins(self) -> int:
        """A go; they are used up no sooner than its time is."""
        return int(10_000 * self.seconds)

    @property
    def buyers(self) -> int:
        """Who hold, or order, in a go."""
        return min(MOST_BUYERS, int(2000 * self.seconds))


class Load(msgspec.Struct, frozen=True):
    """One line of the table."""

    batches: list[list[bytes]]
    """A batch a go."""
    passes: int = 1
    status: int = 200
    warm_up_seconds: float = 0.3
    calls: list[list[Any]] | None = None
    """The arguments of its calls, a batch a go, for those that call Redis."""


async def prepare(store: Store, settings: Settings, plan: Plan, advance: Callable[[], None]) -> dict[str, Load]:
    """By line. Buyers join, are called, claim and hold through the real scripts; `advance` is told four times."""
    scene = await Scene.open(store, settings)
    requests = sent.Requests(scene, "visitor")
    polls = [requests.whereabouts(buyer) for buyer in await scene.waiting(plan.polls)]
    advance()
    return {
        "hello": _same(plan, requests.hello()),
        "line": _same(plan, requests.line()),
        "whereabouts": Load([polls] * plan.goes, warm_up_seconds=20.0),
        "seatMap": _same(plan, requests.seat_map()),
        "join": _joins(plan, requests),
        "hold": await _holds(plan, requests, scene, advance),
        "order": await _orders(plan, requests, scene, advance),
        "refused": _same(plan, requests.refused((await scene.waiting(1))[0]), 401),
    }


def _same(plan: Plan, request: bytes, status: int = 200) -> Load:
    return Load([[request]] * plan.goes, ENDLESS, status)


def _joins(plan: Plan, requests: sent.Requests) -> Load:
    new = range(plan.joins * plan.goes)
    batches = _batches(plan, [requests.join(index) for index in new])
    return Load(batches, status=201, calls=_batches(plan, sent.join_args(new)))


async def _holds(plan: Plan, requests: sent.Requests, scene: Scene, advance: Callable[[], None]) -> Load:
    count = plan.buyers * plan.goes
    batches = _batches(plan, [requests.hold(buyer) for buyer in await scene.inside(count)])
    advance()
    return Load(batches, status=201, calls=_batches(plan, sent.hold_args(await scene.inside(count))))


async def _orders(plan: Plan, requests: sent.Requests, scene: Scene, advance: Callable[[], None]) -> Load:
    count = plan.buyers * plan.goes
    batches = _batches(plan, [requests.order(buyer) for buyer in await scene.holding(count)])
    advance()
    calls = _batches(plan, sent.order_args(scene, await scene.holding(count)))
    advance()
    return Load(batches, status=202, calls=calls)


def _batches(plan: Plan, items: list[Any]) -> list[list[Any]]:
    size = len(items) // plan.goes
    return [items[i * size : (i + 1) * size] for i in range(plan.goes)]
