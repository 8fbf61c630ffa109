"""Good requests at the wrong time: too early, too late, twice; each is told what it is and changes nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import altcha.v1
import msgspec
import pytest
import pytest_asyncio

from boxoffice import payments
from boxoffice.embedded import EmbeddedStore
from boxoffice.errors import StoreUnavailable
from tests.integration.buyer import Buyer
from tests.integration.house import SALE, resource
from tests.integration.keys import read_keys
from tests.integration.pod import Pod, open_pod, refused, settings_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pod(valkey: EmbeddedStore) -> AsyncIterator[Pod]:
    async with open_pod(settings_of(valkey)) as pod:
        await pod.apply(resource(line={"claimSeconds": 600}))
        yield pod


async def _inside(pod: Pod, sale: str = SALE) -> Buyer:
    buyer = pod.buyer(sale)
    await buyer.enter()
    return buyer


def _place(pod: Pod, buyer: Buyer) -> bytes:
    return pod.context.keys.read_ticket(buyer.ticket).place


async def _end_turn_in(pod: Pod, buyer: Buyer, ms: int) -> None:
    """Moves the end of the buyer's session, as if the rest of it had passed."""
    until = pod.context.board.view(buyer.sale).now_ms() + ms
    await pod.store.execute("ZADD", pod.store.key(buyer.sale, "sessions"), until, _place(pod, buyer))


async def _until(pod: Pod, sale: str, **counts: int) -> None:
    view = pod.context.board.view(sale)
    async with asyncio.timeout(60):
        while any(getattr(view, name) != count for name, count in counts.items()):
            await pod.beat()


async def _held(pod: Pod) -> int:
    return int(await pod.store.execute("HGET", pod.store.key(SALE, "sale"), "held"))


async def _until_held(pod: Pod, seats: int) -> None:
    async with asyncio.timeout(60):
        while await _held(pod) != seats:
            await pod.beat()


async def _short_hold(pod: Pod, buyer: Buyer) -> str:
    """A hold that runs out at once, in a turn that goes on."""
    await _end_turn_in(pod, buyer, 3_000)
    hold = await buyer.hold(count=2)
    assert hold.status_code == 201
    await _end_turn_in(pod, buyer, 300_000)
    return str(hold.json()["id"])


async def test_a_hold_that_ran_out_can_be_neither_paid_nor_given_back(pod: Pod) -> None:
    buyer, held = await _inside(pod), await _held(pod)
    hold = await _short_hold(pod, buyer)
    await _until_held(pod, held)
    before = await read_keys(pod.store)
    refused(await buyer.pay(hold, "k"), 409, "hold_gone")
    refused(await buyer.send("DELETE", f"/holds/{hold}", buyer.admission), 404, "hold_gone")
    assert await read_keys(pod.store) == before


async def test_who_is_out_of_time_is_out(pod: Pod) -> None:
    buyer, held = await _inside(pod), await _held(pod)
    hold = (await buyer.hold(count=1)).json()["id"]
    await _end_turn_in(pod, buyer, -1)
    refused(await buyer.hold(count=1), 403, "not_admitted")
    refused(await buyer.pay(hold, "k"), 403, "not_admitted")
    refused(await buyer.claim(), 410, "lapsed")
    await _until_held(pod, held)
    refused(await buyer.hold(count=1), 403, "not_admitted")
    refused(await buyer.claim(), 410, "lapsed")
    assert (await buyer.send("GET", "/orders", buyer.admission)).json() == {"orders": []}


async def test_the_newest_window_wins(pod: Pod) -> None:
    buyer = await _inside(pod)
    hold = (await buyer.hold(count=1)).json()["id"]
    first = buyer.admission
    assert (await buyer.claim()).status_code == 201
    second, buyer.admission = buyer.admission, first
    before = await read_keys(pod.store)
    refused(await buyer.hold(count=1), 403, "superseded")
    refused(await buyer.pay(hold, "k"), 403, "superseded")
    assert await read_keys(pod.store) == before
    buyer.admission = second
    assert (await buyer.pay(hold, "k")).status_code == 202


async def test_who_has_left_is_gone_with_all_that_was_held(pod: Pod) -> None:
    buyer = await _inside(pod)
    hold = (await buyer.hold(count=2)).json()["id"]
    assert (await buyer.send("DELETE", "/places/me", buyer.admission)).status_code == 204
    assert (await buyer.send("DELETE", "/places/me", buyer.ticket)).status_code == 204
    refused(await buyer.hold(count=1), 403, "not_admitted")
    refused(await buyer.pay(hold, "k"), 403, "not_admitted")
    refused(await buyer.claim(), 410, "lapsed")


async def test_a_payment_is_the_same_however_often_it_is_sent(pod: Pod) -> None:
    buyer = await _inside(pod)
    hold = (await buyer.hold(count=1)).json()["id"]
    first = await buyer.pay(hold, "k")
    assert first.headers["location"].endswith(f"/orders/{first.json()['id']}")
    assert "idempotent-replayed" not in first.headers
    before = await read_keys(pod.store)
    again = await buyer.pay(hold, "k")
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    refused(await buyer.pay(hold, "k", "pm_card_declined"), 422, "idempotency_mismatch")
    refused(await buyer.pay(hold, "another"), 409, "hold_gone")
    refused(await buyer.send("DELETE", f"/holds/{hold}", buyer.admission), 404, "hold_gone")
    assert await read_keys(pod.store) == before


async def test_nobody_reads_or_touches_what_is_anothers(pod: Pod) -> None:
    ann, ben = await _inside(pod), await _inside(pod)
    hold = (await ann.hold(count=1)).json()["id"]
    order = (await ann.pay((await ann.hold(count=1)).json()["id"], "k")).json()["id"]
    before = await read_keys(pod.store)
    refused(await ben.send("DELETE", f"/holds/{hold}", ben.admission), 404, "hold_gone")
    refused(await ben.pay(hold, "k"), 409, "hold_gone")
    refused(await ben.send("GET", f"/orders/{order}", ben.admission), 404, "unknown_order")
    refused(await ben.send("GET", f"/orders/{order}/events", ben.admission), 404, "unknown_order")
    assert await read_keys(pod.store) == before


async def test_seats_that_are_gone_are_named(pod: Pod) -> None:
    await pod.apply(resource(name="fought"))
    ann, ben = await _inside(pod, "fought"), await _inside(pod, "fought")
    assert (await ann.hold(seats=["stalls/1/50", "stalls/1/51"])).status_code == 201
    before = await read_keys(pod.store)
    problem = refused(await ben.hold(seats=["stalls/1/51", "stalls/1/52"]), 409, "seats_taken")
    assert problem["seats"] == ["stalls/1/51"]
    after = await read_keys(pod.store)
    record = pod.store.key("fought", "sale").encode()
    assert after[record].pop(b"contested") != before[record].pop(b"contested")  # that it was fought for is counted
    assert after == before


async def test_nobody_comes_in_who_has_not_been_called(pod: Pod) -> None:
    await pod.apply(resource(name="held-back", policy="Hold"))
    buyer = pod.buyer("held-back")
    await buyer.join()
    before = await read_keys(pod.store)
    answer = await buyer.claim()
    refused(answer, 425, "not_called")
    assert int(answer.headers["retry-after"]) >= 1
    assert await read_keys(pod.store) == before


async def test_polling_faster_than_told_is_slowed_down(pod: Pod) -> None:
    await pod.apply(resource(name="patient", policy="Hold"))
    buyer = pod.buyer("patient")
    await buyer.join()
    answers = [await buyer.whereabouts() for _ in range(20)]
    early = [answer for answer in answers if answer.status_code == 429]
    assert 10 <= len(early) < 20
    problem = refused(early[0], 429, "too_many_requests")
    assert problem["detail"]
    assert int(early[0].headers["retry-after"]) >= 2


async def test_joins_and_holds_are_limited_and_say_until_when(pod: Pod) -> None:
    await pod.apply(resource(name="calm", abuse={"joinsPerMinutePerAddress": 2}))
    address = pod.buyer("calm").address
    crowd = [pod.buyer("calm") for _ in range(4)]
    for buyer in crowd:
        buyer.address = address
    answers = [await buyer.join() for buyer in crowd]
    assert [answer.status_code for answer in answers] == [201, 201, 429, 429]
    refused(answers[2], 429, "too_many_requests")
    assert 1 <= int(answers[2].headers["retry-after"]) <= 30
    assert answers[0].headers["ratelimit-policy"] == '"join";q=2;w=60'
    assert answers[0].headers["ratelimit"] == '"join";r=1'


async def test_a_sale_that_is_not_open_yet(pod: Pod) -> None:
    now = datetime.now(UTC)
    times = {"preQueueTime": 1, "opensTime": 2, "closesTime": 3}
    at: dict[str, Any] = {name: (now + timedelta(hours=hours)).isoformat() for name, hours in times.items()}
    await pod.apply(resource(name="later", **at))
    buyer = pod.buyer("later")
    before = await read_keys(pod.store)
    answer = await buyer.join()
    problem = refused(answer, 425, "too_early")
    assert datetime.fromisoformat(problem["opensTime"]) == now + timedelta(hours=2)
    assert datetime.fromisoformat(problem["preQueueTime"]) == now + timedelta(hours=1)
    assert 3590 <= int(answer.headers["retry-after"]) <= 3600
    assert await read_keys(pod.store) == before


async def test_a_ticket_from_before_the_opening_is_swapped_first(pod: Pod) -> None:
    await pod.apply(resource(name="dawn", opens_in=600))
    buyer = pod.buyer("dawn")
    answer = await buyer.join()
    assert answer.json()["state"] == "prequeue"
    refused(await buyer.claim(), 425, "not_called")
    await pod.store.execute("HSET", pod.store.key("dawn", "sale"), "opens_ms", 0)
    await _until(pod, "dawn", epoch=2)
    refused(await buyer.claim(), 401, "ticket_stale")
    old = buyer.ticket
    assert (await buyer.whereabouts()).json()["number"] == buyer.number
    assert buyer.ticket != old
    await buyer.go_in()


@pytest.mark.parametrize(("policy", "code"), [("Closed", "over"), ("Drain", "joining_closed")])
async def test_nobody_joins_a_sale_that_is_closed(pod: Pod, policy: str, code: str) -> None:
    await pod.apply(resource(name=policy.lower(), policy=policy))
    before = await read_keys(pod.store)
    refused(await pod.buyer(policy.lower()).join(), 410, code)
    assert await read_keys(pod.store) == before


async def test_a_sale_that_closes_takes_no_more_holds(pod: Pod) -> None:
    await pod.apply(resource(name="evening"))
    buyer, waiting = await _inside(pod, "evening"), pod.buyer("evening")
    await waiting.join()
    await pod.store.call("override", "evening", "Closed", "test", "test", 0)
    before = await read_keys(pod.store)
    refused(await buyer.hold(count=1), 410, "over")
    refused(await waiting.claim(), 410, "over")
    refused(await waiting.join(), 410, "over")
    assert await read_keys(pod.store) == before
    view = pod.context.board.view("evening")
    async with asyncio.timeout(60):
        while view.state != "closed":
            await pod.beat()
    assert (await waiting.whereabouts()).json()["state"] == "over"


async def _solve(pod: Pod, sale: str) -> str:
    challenge = (await pod.client.get(f"{pod.url}/api/v1/sales/{sale}/challenge")).json()
    salt, number = challenge["salt"], challenge["maxnumber"]
    solution = altcha.v1.solve_challenge(challenge["challenge"], salt, challenge["algorithm"], number)
    assert solution
    payload = {**challenge, "number": solution.number}
    return altcha.v1.Payload(**{k: payload[k] for k in _PAYLOAD}).to_base64()


_PAYLOAD = ("algorithm", "challenge", "number", "salt", "signature")


async def test_proof_of_work_is_asked_for_and_spent_once(pod: Pod) -> None:
    work: dict[str, Any] = {"abuse": {"proofOfWork": "Always"}}
    await pod.apply(resource(name="work", **work), resource(name="toil", **work))
    for sale in ("work", "toil"):
        await _until(pod, sale, epoch=2)
    buyer = pod.buyer("work")
    before = await read_keys(pod.store)
    for body in ({}, {"proof": ""}, {"proof": "x"}, {"proof": "e30="}, {"proof": await _solve(pod, "toil")}):
        problem = refused(await buyer.send("POST", "/places", json=body), 403, "proof_required")
        assert problem["challenge"]["salt"]
    refused(await buyer.send("POST", "/places", json={"proof": "x" * 2049}), 400, "bad_input")
    assert await read_keys(pod.store) == before
    proof = await _solve(pod, "work")
    assert (await buyer.send("POST", "/places", json={"proof": proof})).status_code == 201
    refused(await pod.buyer("work").send("POST", "/places", json={"proof": proof}), 403, "proof_required")


async def test_documents_are_the_same_bytes_until_something_changes(pod: Pod) -> None:
    await pod.apply(resource(name="quiet", policy="Hold"))
    for path in ("/line", "/seats"):
        url = f"{pod.url}/api/v1/sales/quiet{path}"
        first = await pod.client.get(url)
        same = await pod.client.get(url, headers={"if-none-match": first.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")
        assert same.headers["etag"] == first.headers["etag"]
        assert first.headers["cache-control"] == "public, max-age=1"
    line = await pod.client.get(f"{pod.url}/api/v1/sales/quiet/line")
    await pod.buyer("quiet").join()
    await _until(pod, "quiet", waiting=1)
    newer = await pod.client.get(f"{pod.url}/api/v1/sales/quiet/line", headers={"if-none-match": line.headers["etag"]})
    assert newer.status_code == 200
    assert newer.json()["version"] > line.json()["version"]


async def test_the_stream_of_an_order_tells_each_change_and_ends(pod: Pod) -> None:
    buyer = await _inside(pod)
    order = (await buyer.pay((await buyer.hold(count=1)).json()["id"], "k")).json()["id"]
    headers = {"authorization": f"Bearer {buyer.admission}", "cookie": buyer.cookie}
    url = f"{pod.url}/api/v1/sales/{SALE}/orders/{order}/events"
    states = []
    async with pod.client.stream("GET", url, headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        async for line in stream.aiter_lines():
            if line.startswith("data: "):
                states.append(msgspec.json.decode(line[6:])["state"])
                if len(states) == 1:
                    key = pod.store.key(SALE, f"order:{order}")
                    place, hold, seats = await pod.store.execute("HMGET", key, "place", "hold", "seats")
                    effect = (order, "paid", "", place, hold, seats, "", 0, "pm_card_visa", "KRW")
                    await pod.store.call("effect", SALE, *effect)
    assert states == ["accepted", "paid"]


async def test_the_stream_of_an_order_ends_when_redis_is_away(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client connects again, and is told then."""
    buyer = await _inside(pod)
    order = (await buyer.pay((await buyer.hold(count=1)).json()["id"], "k")).json()["id"]
    headers = {"authorization": f"Bearer {buyer.admission}", "cookie": buyer.cookie}

    async def away(*_: object) -> NoReturn:
        raise StoreUnavailable("Redis is out of reach")

    lines = []
    async with pod.client.stream("GET", f"{pod.url}/api/v1/sales/{SALE}/orders/{order}/events", headers=headers) as it:
        async for line in it.aiter_lines():
            lines.append(line)
            monkeypatch.setattr(payments, "read_order", away)
    assert lines[0] == "event: order"
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
