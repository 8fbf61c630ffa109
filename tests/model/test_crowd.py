"""At the same instant: many connections want the same seat, the same place, the same payment."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from boxoffice.admission import claim, entry_args
from boxoffice.board import Board
from boxoffice.embedded import EmbeddedStore
from boxoffice.errors import Conflict, TooMany
from boxoffice.holds import HoldRequest, take
from boxoffice.line import join
from boxoffice.snapshot import View
from boxoffice.store import Store
from boxoffice.tokens import Admission, KeyRing, Ticket
from tests.conftest import KEYS
from tests.integration.house import SALE, resource
from tests.integration.pod import lay_out, settings_of

PODS, BUYERS = 4, 200
BINDING = b"b" * 16


@pytest.fixture
async def stores(valkey: EmbeddedStore) -> AsyncIterator[list[Store]]:
    """As many pods: a connection of its own each."""
    settings = settings_of(valkey)
    stores = [await Store.open(settings) for _ in range(PODS)]
    yield stores
    for store in stores:
        await store.close()


@pytest.fixture
async def view(stores: list[Store]) -> View:
    document = resource(
        seats=40,
        active=500,
        line={"claimSeconds": 600},
        abuse={"joinsPerMinutePerAddress": 100_000},
    )
    await lay_out(stores[0], document)
    board = Board(stores[0])
    await board.beat()
    return board.view(SALE)


def spread(stores: list[Store], count: int = BUYERS) -> list[Store]:
    return [stores[i % len(stores)] for i in range(count)]


async def enter(store: Store, view: View, place: bytes) -> Ticket:
    ticket, _, _ = await join(store, view, KeyRing(KEYS), place, "10.0.0.1", "", BINDING)
    return ticket


async def everybody_in(stores: list[Store], view: View) -> list[Admission]:
    """All called at once, by the watermark; how they are called is not the matter here."""
    places = [secrets.token_bytes(16) for _ in range(BUYERS)]
    pods = spread(stores)
    await asyncio.gather(*(enter(pod, view, place) for pod, place in zip(pods, places, strict=True)))
    await stores[0].execute("HSET", stores[0].key(SALE, "sale"), "epoch", 2, "called", BUYERS)
    tickets = await asyncio.gather(*(enter(pod, view, place) for pod, place in zip(pods, places, strict=True)))
    claims = await asyncio.gather(*(claim(pod, view, ticket) for pod, ticket in zip(pods, tickets, strict=True)))
    return [admission for admission, _ in claims]


async def outcomes(work: Any) -> list[Any]:
    return await asyncio.gather(*work, return_exceptions=True)


async def test_a_crowd_gets_dense_numbers(stores: list[Store], view: View) -> None:
    work = (enter(pod, view, secrets.token_bytes(16)) for pod in spread(stores, 500))
    tickets = await asyncio.gather(*work)
    assert sorted(ticket.number for ticket in tickets) == list(range(1, 501))


async def test_the_same_join_a_hundred_times_at_once_is_one_place(stores: list[Store], view: View) -> None:
    place = secrets.token_bytes(16)
    replies = await outcomes(enter(pod, view, place) for pod in spread(stores, 100))
    tickets = [reply for reply in replies if isinstance(reply, Ticket)]
    assert {ticket.number for ticket in tickets} == {1}
    assert all(isinstance(reply, Ticket | TooMany) for reply in replies)
    assert len(tickets) >= 30
    assert await stores[0].execute("HGET", stores[0].key(SALE, "sale"), "issued") == b"1"
    assert await stores[0].execute("ZCARD", stores[0].key(SALE, "line")) == 1


async def test_two_hundred_want_one_seat_and_one_gets_it(stores: list[Store], view: View) -> None:
    admissions = await everybody_in(stores, view)
    wish = HoldRequest(seats=["stalls/1/20"])
    replies = await outcomes(
        take(pod, view, admission, wish) for pod, admission in zip(spread(stores), admissions, strict=True)
    )
    won = [reply for reply in replies if not isinstance(reply, BaseException)]
    lost = [reply for reply in replies if isinstance(reply, Conflict)]
    assert (len(won), len(lost)) == (1, BUYERS - 1)
    assert {error.code for error in lost} == {"seats_taken"}
    assert won[0].seats == [19]
    owner = await stores[0].execute("HGETALL", stores[0].key(SALE, "owner"))
    assert owner == [b"19", f"h{won[0].id}".encode()]


async def test_two_hundred_want_the_best_and_every_seat_goes_once(stores: list[Store], view: View) -> None:
    admissions = await everybody_in(stores, view)
    wish = HoldRequest(count=1)
    replies = await outcomes(
        take(pod, view, admission, wish) for pod, admission in zip(spread(stores), admissions, strict=True)
    )
    seats = Counter(seat for reply in replies if not isinstance(reply, BaseException) for seat in reply.seats)
    assert seats == Counter(range(40))
    assert {reply.code for reply in replies if isinstance(reply, Conflict)} == {"not_enough_seats"}


async def test_one_session_stays_of_a_hundred_windows(stores: list[Store], view: View) -> None:
    place = secrets.token_bytes(16)
    await enter(stores[0], view, place)
    await stores[0].execute("HSET", stores[0].key(SALE, "sale"), "epoch", 2, "called", 1)
    ticket = await enter(stores[0], view, place)
    claims = await asyncio.gather(*(claim(pod, view, ticket) for pod in spread(stores, 100)))
    assert len({admission.sid for admission, _ in claims}) == 100
    newest = max(claims, key=lambda claim: claim[0].sid)[0]
    replies = await outcomes(take(stores[0], view, admission, HoldRequest(count=1)) for admission, _ in claims)
    won = [claims[i][0] for i, reply in enumerate(replies) if not isinstance(reply, BaseException)]
    assert won == [newest]


async def test_one_hold_becomes_one_order(stores: list[Store], view: View) -> None:
    admissions = await everybody_in(stores, view)
    mine = admissions[0]
    hold = await take(stores[0], view, mine, HoldRequest(count=2))
    replies = await asyncio.gather(
        *(
            pod.call("pay", SALE, *entry_args(mine), f"{i % 5:032x}", hold.id, "f", "pm", 5000, "KRW")
            for i, pod in enumerate(spread(stores, 100))
        )
    )
    codes = Counter(reply[0] for reply in replies)
    assert codes[b"new"] == 1
    assert codes.keys() <= {b"new", b"busy", b"gone", b"limited"}
