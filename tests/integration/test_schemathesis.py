"""Schemathesis against the served OpenAPI document, over the running app: two thousand requests and more, and
every answer is one that the document promises. Most come with live tokens, so that they reach the deep paths."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Iterator
from typing import Any, TypeVar

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from boxoffice.effects import Effect, apply_effects
from boxoffice.embedded import EmbeddedStore
from boxoffice.openapi import DOCUMENT
from boxoffice.orderrecords import SettledOrder
from tests.integration.buyer import Buyer
from tests.integration.house import SALE, resource
from tests.integration.pod import Pod, pod_in_thread, settings_of

T = TypeVar("T")

CASES = 190
"""For each operation; those that take no input at all have but one."""
LEAST = 2000
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {result.ok().label: result.ok() for result in SCHEMA.get_all_operations() if isinstance(result, Ok)}
BUYERS = 60
"""Take turns, so that nobody meets a limit at every request."""


class World:
    """The running app, buyers inside it, and what was answered so far."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pod: Pod) -> None:
        self.loop, self.pod = loop, pod
        self.session = requests.Session()
        self.answers: dict[str, Counter[int]] = {}
        self.buyers: list[Buyer] = []
        self.turns = itertools.count()

    def wait(self, work: Awaitable[T]) -> T:
        async def done() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(done(), self.loop).result(30)

    async def admit(self, count: int) -> None:
        """New buyers, inside, each with an order that was declined; it is final, so its stream ends."""
        buyers = [self.pod.buyer() for _ in range(count)]
        await asyncio.gather(*(buyer.enter() for buyer in buyers))
        holds = await asyncio.gather(*(buyer.hold(count=1) for buyer in buyers))
        for buyer, hold in zip(buyers, holds, strict=True):
            await self.decline((await buyer.pay(hold.json()["id"], "first")).json()["id"])
        self.buyers += buyers

    async def decline(self, order: str) -> None:
        fields = ("place", "hold", "seats", "placed_ms")
        place, hold, seats, placed_ms = await self.pod.store.execute("HMGET", self.key(order), *fields)
        settled = SettledOrder(
            id=order,
            sale_uid="",
            sale=SALE,
            buyer=place.hex(),
            hold=int(hold),
            fence=int(hold),
            seats=[int(seat) for seat in seats.split(b",")],
            names=[],
            amount_minor=1000,
            currency="KRW",
            method="pm_card_declined",
            state="declined",
            reason="card_declined",
            placed_ms=int(placed_ms),
            settled_ms=int(placed_ms),
            log_id="",
            log_partition=0,
            log_offset=0,
        )
        await apply_effects(self.pod.store, [Effect(settled)])

    def key(self, order: str) -> str:
        return self.pod.store.key(SALE, f"order:{order}")

    def next_buyer(self) -> Buyer:
        if not self.buyers:
            self.wait(self.admit(BUYERS))
        return self.buyers[next(self.turns) % len(self.buyers)]

    def learn(self, buyer: Buyer, label: str, response: Response) -> None:
        """The newest admission counts. Those whose turn is over, or who have all that they may, make room."""
        if response.status_code == 201 and label.endswith("/admissions"):
            buyer.admission = response.json()["admission"]
        gone = response.status_code == 204 and label.endswith("/me")
        if gone or response.status_code in (401, 403, 410, 422, 429):
            self.buyers.remove(buyer)


@pytest.fixture(scope="module")
def world(valkey: EmbeddedStore) -> Iterator[World]:
    settings = settings_of(valkey)
    document = resource(
        seating={
            "sections": [
                {"name": "stalls", "rows": 40, "seatsPerRow": 50, "priceMinor": 1000},
                {"name": "floor", "capacity": 3000, "priceMinor": 500},
            ]
        },
        line={"claimSeconds": 600},
        hold={"seconds": 600, "maxSeatsPerBuyer": 10},
        admission={"initialActive": 10_000, "maxActive": 10_000, "sessionSeconds": 3600},
        abuse={"joinsPerMinutePerAddress": 100_000},
    )
    with pod_in_thread(settings) as (loop, pod):
        world = World(loop, pod)
        world.wait(pod.apply(document))
        yield world
        world.session.close()


def _token(label: str, buyer: Buyer) -> str:
    return buyer.ticket if label.endswith(("/places/me", "/admissions")) else buyer.admission


def _real_order(world: World, buyer: Buyer) -> str:
    orders = world.wait(buyer.send("GET", "/orders", buyer.admission)).json().get("orders")
    return orders[0]["id"] if orders else "0" * 32


def _real_hold(world: World, buyer: Buyer) -> str:
    return str(world.wait(buyer.hold(count=1)).json().get("id", "1"))


def _make_real(world: World, case: Any, label: str, deep: bool) -> Buyer:
    """The sale that there is, a buyer who is inside; `deep`: also ids that exist."""
    buyer = world.next_buyer()
    case.headers = {k: v for k, v in (case.headers or {}).items() if k.lower() not in ("cookie", "authorization")}
    case.headers |= {"Cookie": buyer.cookie, "X-Forwarded-For": buyer.address}
    if label.split()[1] != "/api/v1/sales/{sale}/places":
        case.headers["Authorization"] = f"Bearer {_token(label, buyer)}"
    case.cookies = {}
    if "sale" in (case.path_parameters or {}):
        case.path_parameters["sale"] = SALE
    if deep and "{order}" in label:
        case.path_parameters["order"] = _real_order(world, buyer)
    if deep and "{hold}" in label:
        case.path_parameters["hold"] = _real_hold(world, buyer)
    if deep and isinstance(case.body, dict):
        _make_body_real(world, case.body, buyer)
    return buyer


def _make_body_real(world: World, body: dict[str, Any], buyer: Buyer) -> None:
    if isinstance(body.get("hold"), str):
        body["hold"] = _real_hold(world, buyer)
    if "hold" in body:
        return
    if body.get("seats"):
        body["seats"] = [f"floor/{next(world.turns) % 3000 + 1:04d}"]
    elif isinstance(body.get("count"), int) or not body.get("section"):
        count = body.get("count")
        body["count"] = abs(count) % 4 if isinstance(count, int) else 1
    if isinstance(body.get("section"), str):
        body["section"] = "stalls"


@pytest.mark.parametrize("label", OPERATIONS)
def test_answers_as_documented(world: World, label: str) -> None:
    operation = OPERATIONS[label]
    modes = list(GenerationMode) if "{" in label else [GenerationMode.POSITIVE]
    answers = world.answers.setdefault(label, Counter())

    @hypothesis.settings(
        max_examples=CASES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
    @hypothesis.given(
        case=st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes]),
        real=st.sampled_from(["deep", "deep", "live", "stranger"]),
    )
    def check(case: Any, real: str) -> None:
        buyer = _make_real(world, case, label, real == "deep") if real != "stranger" else None
        response = case.call(base_url=world.pod.url, session=world.session)
        answers[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)
        if buyer:
            world.learn(buyer, label, response)

    check()


def test_two_thousand_requests_and_more_reached_the_deep_paths(world: World) -> None:
    """Runs last; by itself it has nothing to count."""
    if len(world.answers) < len(OPERATIONS):
        pytest.skip("only counts when every operation was run")
    print(*(f"{label} {dict(a)}" for label, a in world.answers.items()), sep="\n")
    assert sum(answers.total() for answers in world.answers.values()) >= LEAST
    for label, answers in world.answers.items():
        good = sum(count for status, count in answers.items() if status < 300)
        assert good >= min(answers.total() / 10, 10), f"{label}: {dict(answers)}"
