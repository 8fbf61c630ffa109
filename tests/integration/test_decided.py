"""What the operator decided, in Redis: whose turn it is, how long it stands without being renewed, and the stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from boxoffice.embedded import EmbeddedStore
from boxoffice.sale import parse_sale, record_of
from boxoffice.sales import spec_text
from boxoffice.seating import Seating
from tests.integration.house import SALE, resource
from tests.integration.pod import Pod, open_pod, settings_of

AUTO = {"mode": "Auto", "initialActive": 100, "minActive": 10, "fallbackActive": 40, "maxActive": 1000}


@pytest.fixture
async def pod(valkey: EmbeddedStore) -> AsyncIterator[Pod]:
    async with open_pod(settings_of(valkey)) as pod:
        yield pod


async def applied_again(pod: Pod, document: dict[str, Any]) -> None:
    """The same sale, by another spec."""
    sale, seating = (read := parse_sale(msgspec.json.encode(document))), Seating.of(read.spec)
    uid = await pod.store.execute("HGET", pod.store.key(SALE, "sale"), "uid")
    identity = ("", uid, seating.digest, seating.total, spec_text(sale), 0, sale.spec.admission.initial_active)
    assert (await pod.store.call("apply", SALE, *identity, *record_of(sale.spec)))[0] == b"ok"
    await pod.beat()
    await pod.beat()


async def decided(pod: Pod, target: int, seconds_ago: float = 0, writer: int = 7) -> int:
    """The target in force, that long after it was decided."""
    assert await pod.store.call("decide", SALE, writer, target, 0) == [b"ok"]
    await pod.store.execute("HINCRBY", pod.store.key(SALE, "sale"), "decided_ms", -int(seconds_ago * 1000))
    await pod.beat()
    await pod.beat()
    return pod.context.board.view(SALE).target


async def test_a_decision_stands_for_two_minutes_and_then_falls_to_the_fallback(pod: Pod) -> None:
    await pod.apply(resource(admission=AUTO))
    assert await decided(pod, 440, 60) == 440
    assert 200 < await decided(pod, 440, 180) <= 240  # a half-life of a minute; some seconds pass until we look
    assert 120 < await decided(pod, 440, 240) <= 140
    assert await decided(pod, 440, 3600) == 40
    assert await decided(pod, 20, 3600) == 20  # never upward


async def test_it_stays_between_the_bounds(pod: Pod) -> None:
    await pod.apply(resource(admission=AUTO))
    assert await decided(pod, 5000) == 1000
    assert await decided(pod, 1) == 10


@pytest.mark.parametrize("mode", ["Advise", "Manual"])
async def test_another_mode_does_not_fade(pod: Pod, mode: str) -> None:
    await pod.apply(resource(admission=AUTO))
    await decided(pod, 440, 3600)
    await applied_again(pod, resource(admission={**AUTO, "mode": mode}))
    assert pod.context.board.view(SALE).target == (1000 if mode == "Manual" else 440)


async def test_what_was_applied_stands_without_an_operator(pod: Pod) -> None:
    await pod.apply(resource(admission=AUTO))
    await pod.beat()
    assert pod.context.board.view(SALE).target == 100


async def test_an_operator_whose_turn_is_over_is_refused(pod: Pod) -> None:
    await pod.apply(resource(admission=AUTO))
    await decided(pod, 440, writer=7)
    for script, *words in (("decide", 6, 900, 0), ("steer", 6, "target", 900), ("orphan", 6)):
        assert await pod.store.call(script, SALE, *words) == [b"old_writer", 7], script
    assert await decided(pod, 440, writer=8) == 440


async def test_a_stop_calls_nobody_and_ends_by_itself(pod: Pod) -> None:
    await pod.apply(resource(admission=AUTO))
    assert await pod.store.call("decide", SALE, 7, 100, 600_000) == [b"ok"]
    buyer = pod.buyer()
    assert (await buyer.join()).status_code == 201
    for _ in range(8):
        await pod.beat()
    assert pod.context.board.view(SALE).called == 0
    await pod.store.execute("HSET", pod.store.key(SALE, "sale"), "stop_ms", 0)
    await buyer.until_called()


async def test_a_sale_whose_resource_is_gone_drains_until_it_is_back(pod: Pod) -> None:
    await pod.apply(resource())
    since, now = (await pod.store.call("orphan", SALE, 1))[1:]
    assert (await pod.store.call("orphan", SALE, 1))[1] == since <= now
    await pod.beat()
    await pod.beat()
    assert pod.context.board.view(SALE).state == "drain"
    await applied_again(pod, resource())
    assert pod.context.board.view(SALE).state == "open"
