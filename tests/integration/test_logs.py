"""No log of any process holds what a buyer must keep to himself: a sale is driven with such things in every place."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from boxoffice.eventlog import open_log
from tests.integration.buyer import Buyer
from tests.integration.house import SALE, House, open_house, resource

EMAIL, CARD = "ida.noether@mail.test", "4929123412341234"
PLANTED = f"planted-{secrets.token_hex(8)}"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PROCESSES = ("serve", "admin", "settle", "migrate")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Every answer has a line."""
    async with open_house(tmp_path_factory.mktemp("logged"), 1, access_log_every=1) as house:
        await house.apply(resource())
        yield house


def logged(house: House) -> dict[str, str]:
    """By process."""
    files = [file for file in house.stack.data_dir.glob("*.log") if file.name.startswith(PROCESSES)]
    return {file.name.partition("-")[0].removesuffix(".log"): file.read_text() for file in files}


def events(text: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in text.splitlines() if line.startswith("{")]


async def _buy(house: House, buyer: Buyer) -> str:
    await buyer.enter()
    hold = (await buyer.hold()).json()["id"]
    headers = {"idempotency-key": f"{EMAIL}-1", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    body = {"hold": hold, "paymentMethod": f"pm_{CARD}"}
    answer = await buyer.send("POST", "/orders", buyer.admission, json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    await buyer.until_settled(answer.json()["id"])
    return str(answer.json()["id"])


async def _ask_wrongly(house: House, buyer: Buyer) -> None:
    """Things that do not belong where they are, in each place of a request."""
    everywhere = {"user-agent": EMAIL, "referer": f"http://x/?{PLANTED}", "cookie": f"session={PLANTED}"}
    url = house.stack.urls[0]
    asked: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("GET", f"/api/v1/sales/{EMAIL}/line", {}),
        ("POST", f"/api/v1/sales/{EMAIL}/places", {"json": {}}),
        ("GET", f"/{PLANTED}/{CARD}", {}),
        ("GET", f"/api/v1/sales/{SALE}/line?email={EMAIL}", {}),
        ("GET", f"/api/v1/sales/{SALE}/orders/{PLANTED}", {"headers": {"authorization": f"Bearer {PLANTED}"}}),
        ("POST", f"/api/v1/sales/{SALE}/places", {"json": {EMAIL: CARD}}),
        ("POST", f"/api/v1/sales/{SALE}/holds", {"content": f"{PLANTED}{CARD}"}),
        ("POST", f"/api/v1/sales/{SALE}/orders", {"json": {"hold": PLANTED, "paymentMethod": f"{CARD} {EMAIL}"}}),
    )
    for method, path, more in asked:
        headers = everywhere | {"x-forwarded-for": buyer.address} | more.pop("headers", {})
        assert (await house.client.request(method, url + path, headers=headers, **more)).status_code < 500
    admin = {"authorization": f"Bearer {PLANTED}"}
    assert (await house.client.get(f"{house.stack.admin_url}/admin/api/sales", headers=admin)).status_code == 401


async def _break(house: House, buyer: Buyer, order: str) -> None:
    """Faults that nobody foresaw, in the midst of a payment and of reading one: each leaves a traceback."""
    async with house.store() as store:
        place = await store.execute("HGET", store.key(SALE, f"order:{order}"), "place")
        await store.execute("SET", store.key_bytes(SALE, b"orders:" + place), PLANTED)
    hold = (await buyer.hold()).json()["id"]
    assert (await buyer.pay(hold, f"{EMAIL}-2", f"pm_{CARD}")).status_code == 500
    closing = {"connection": "close"}  # as uvicorn does after a fault like this
    assert (await buyer.send("GET", "/orders", buyer.admission, headers=closing)).status_code == 500


async def _publish_rubbish(house: House) -> None:
    """A record that is no order, and one that is for no sale: both go to the dead letters."""
    settings = house.stack.settings()
    order = {"order": "1" * 32, "sale": EMAIL, "sale_uid": "2" * 32, "buyer": "3" * 32, "method": f"pm_{CARD}"}
    order |= {"hold": 1, "fence": 1, "seats": [0], "names": [PLANTED], "amount_minor": 1, "currency": "KRW"}  # type: ignore[dict-item]
    async with house.store() as store:
        log = await open_log(settings, store)
        await log.publish(b"1" * 16, f"{PLANTED} {EMAIL} {CARD}".encode())
        await log.publish(b"1" * 16, msgspec.json.encode(order | {"placed_ms": 1}))
        await log.close()
    async with asyncio.timeout(30):
        while len(await house.ledger("SELECT payload_digest FROM dead_letters")) < 2:
            await asyncio.sleep(0.05)


@pytest.mark.asyncio(loop_scope="module")
async def test_no_secret_is_in_any_log(house: House) -> None:
    buyer = house.buyer()
    order = await _buy(house, buyer)
    await _ask_wrongly(house, buyer)
    await _break(house, buyer, order)
    await _publish_rubbish(house)
    texts = logged(house)
    assert set(texts) == set(PROCESSES)
    settings = asdict(house.stack.settings())
    secret = {
        "email": EMAIL,
        "card": CARD,
        "planted": PLANTED,
        "visitor": buyer.cookie.partition("=")[2],
        "ticket": buyer.ticket,
        "admission": buyer.admission,
        "address": buyer.address,
        "admin token": house.stack.admin_token,
        "its hash": settings["admin_token_sha256"],
        "key": settings["keys"].partition(":")[2],
        "place key": settings["place_key"],
    }
    assert all(len(each) > 7 for each in secret.values()), "none so short that it is found by chance"
    found = [(process, name) for process, text in texts.items() for name, each in secret.items() if each in text]
    assert found == []
    faults = [event for event in events(texts["serve"]) if "error" in event]
    assert {event["logger"] for event in faults} == {"boxoffice.app", "uvicorn.error"}, "both were met"


@pytest.mark.asyncio(loop_scope="module")
async def test_every_line_is_one_of_json(house: House) -> None:
    for process, text in logged(house).items():
        plain = [line for line in text.splitlines() if not line.startswith("{")]
        assert plain == (["the ledger and the log are ready"] if process == "migrate" else [])
        assert all(event.keys() >= {"time", "level", "logger", "message"} for event in events(text))


@pytest.mark.asyncio(loop_scope="module")
async def test_an_answer_is_found_by_its_trace(house: House) -> None:
    await _buy(house, house.buyer())
    [ordered, *_] = [event for event in events(logged(house)["serve"]) if event.get("trace") == TRACE]
    assert ordered.pop("ms") > 0
    told = {"logger": "boxoffice.access", "message": "POST", "step": "order", "status": 202, "sale": SALE}
    assert ordered.items() >= told.items()
