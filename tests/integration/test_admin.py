"""The admin port: nothing without the token, everything with a name and a reason, and nothing that a field of it
can break."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
import uvicorn

from boxoffice.admin import build_admin
from boxoffice.ledger import Ledger
from boxoffice.sale import parse_sale, to_builtins
from boxoffice.settings import Settings
from boxoffice.store import Store
from boxoffice.tables import dead_letters
from tests.integration.house import SALE, resource

TOKEN = "a token for tests"
REASON = {"who": "the night shift", "why": "the ledger is slow"}


@pytest.fixture
async def desk(settings: Settings, ledger: Ledger) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the admin API, signed in."""
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    app = build_admin(replace(settings, admin_token_sha256=digest))
    server = uvicorn.Server(uvicorn.Config(app, ws="none", lifespan="on", log_level="warning", access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        serving = asyncio.create_task(server.serve([listening]))
        async with httpx2.AsyncClient(base_url=url, headers={"authorization": f"Bearer {TOKEN}"}, timeout=10) as client:
            yield client
        server.should_exit = True
        await serving


async def apply(desk: httpx2.AsyncClient, document: dict[str, Any]) -> httpx2.Response:
    return await desk.post("/admin/api/sales", content=json.dumps(document).encode())


async def until(desk: httpx2.AsyncClient, name: str, **wanted: Any) -> dict[str, Any]:
    """The figures of a sale, once they are as wanted."""
    async with asyncio.timeout(60):
        while True:
            sales: list[dict[str, Any]] = (await desk.get("/admin/api/sales")).json()["sales"]
            found = {sale["name"]: sale for sale in sales}
            if name in found and wanted.items() <= found[name].items():
                return found[name]
            await asyncio.sleep(0.05)


async def test_nothing_without_the_token(desk: httpx2.AsyncClient) -> None:
    calls = [
        ("GET", "/admin/api/sales"),
        ("POST", "/admin/api/sales"),
        ("GET", f"/admin/api/sales/{SALE}"),
        ("DELETE", f"/admin/api/sales/{SALE}"),
        ("POST", f"/admin/api/sales/{SALE}/hold"),
        ("GET", f"/admin/api/sales/{SALE}/audit"),
        ("GET", "/admin/api/dead-letters"),
        ("POST", "/admin/api/dead-letters/1/replay"),
    ]
    for method, path in calls:
        for authorization in ("", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN} "[:-2]):
            answer = await desk.request(method, path, headers={"authorization": authorization})
            assert answer.status_code == 401, (method, path, authorization)
            assert answer.headers["content-type"] == "application/problem+json"


async def test_nobody_gets_in_where_no_token_is_set(settings: Settings) -> None:
    from boxoffice.admin import check_token
    from boxoffice.errors import Unauthorized

    empty = hashlib.sha256(b"").hexdigest()
    for expected, token in (("", ""), ("", TOKEN), (empty, TOKEN)):
        with pytest.raises(Unauthorized):
            check_token(expected, token)


async def test_applies_a_sale_and_gives_it_back(desk: httpx2.AsyncClient) -> None:
    document = resource(seats=40)
    assert (await apply(desk, document)).status_code == 201
    assert (await apply(desk, document)).status_code == 200
    shown = await until(desk, SALE)
    assert (shown["total"], shown["free"], shown["sold"], shown["policy"]) == (40, 40, 0, "Open")
    assert (shown["revenueMinor"], shown["currency"], shown["sellThroughPerMille"]) == (0, "KRW", 0)
    assert shown["override"] is None
    given = await desk.get(f"/admin/api/sales/{SALE}", headers={"accept": "application/yaml"})
    assert given.headers["content-type"] == "application/yaml"
    wanted = to_builtins(parse_sale(json.dumps(document).encode()))
    assert to_builtins(parse_sale(given.content)) == wanted
    assert parse_sale((await desk.get(f"/admin/api/sales/{SALE}")).content) == parse_sale(given.content)


@pytest.mark.parametrize(
    ("action", "policy"), [("hold", "Hold"), ("drain", "Drain"), ("close", "Closed"), ("resume", "Open")]
)
async def test_overrides_with_a_name_and_a_reason(
    desk: httpx2.AsyncClient, ledger: Ledger, action: str, policy: str
) -> None:
    await apply(desk, resource())
    answer = await desk.post(f"/admin/api/sales/{SALE}/{action}", json=REASON)
    assert (answer.status_code, answer.json()) == (200, {"policy": policy})
    override = {**REASON, "policy": policy, "until": 0} if action != "resume" else None
    assert (await until(desk, SALE, override=override))["policy"] == "Open"
    noted = (await ledger.trail(1))[0]
    assert (noted["who"], noted["what"], noted["subject"], noted["why"]) == (
        REASON["who"],
        "closed" if action == "close" else action,
        SALE,
        REASON["why"],
    )


async def test_resume_takes_an_override_back_but_not_the_resource(desk: httpx2.AsyncClient) -> None:
    await apply(desk, resource(policy="Hold"))
    await desk.post(f"/admin/api/sales/{SALE}/close", json=REASON)
    answer = await desk.post(f"/admin/api/sales/{SALE}/resume", json=REASON)
    assert answer.json() == {"policy": "Hold"}


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"who":"a"}', b'{"who":"a","why":7}', b'{"who":"a","why":"b","x":1}', b"[", b'{"who":"","why":""}'],
)
async def test_no_action_without_a_name_and_a_reason(desk: httpx2.AsyncClient, body: bytes) -> None:
    await apply(desk, resource())
    headers = {"content-type": "application/json"}
    for path in (f"/admin/api/sales/{SALE}/close", "/admin/api/dead-letters/1/discard"):
        answer = await desk.post(path, content=body, headers=headers)
        assert answer.status_code in (400, 422), answer.text
    assert (await until(desk, SALE))["override"] is None


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"{", "invalid_yaml", None),
        (b"", "invalid_yaml", None),
        (b"kind: ConcertSale", "invalid_sale", "the resource"),
        (json.dumps(resource(policy="Ajar")).encode(), "invalid_sale", "spec.policy"),
        (json.dumps(resource(currency="won")).encode(), "invalid_sale", "spec.currency"),
        (json.dumps(resource(name="Not A Name")).encode(), "invalid_sale", "metadata.name"),
    ],
)
async def test_a_wrong_resource_is_refused_naming_the_field(
    desk: httpx2.AsyncClient, body: bytes, code: str, field: str | None
) -> None:
    answer = await desk.post("/admin/api/sales", content=body)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem.get("field")) == (422, code, field)
    assert (await desk.get("/admin/api/sales")).json() == {"sales": []}


async def test_a_resource_has_a_bound(desk: httpx2.AsyncClient) -> None:
    assert (await desk.post("/admin/api/sales", content=b"#" * 70_000)).status_code == 413


async def test_the_seating_is_fixed_once_the_sale_is_open(desk: httpx2.AsyncClient) -> None:
    await apply(desk, resource(seats=40))
    await until(desk, SALE, state="open")
    answer = await apply(desk, resource(seats=41))
    assert (answer.status_code, answer.json()["code"]) == (409, "seating_fixed")
    assert (await until(desk, SALE))["total"] == 40


async def test_a_sale_that_is_not_open_yet_may_change_its_seating(desk: httpx2.AsyncClient) -> None:
    await apply(desk, resource(seats=40, opens_in=600))
    assert (await apply(desk, resource(seats=41, opens_in=600))).status_code == 200
    await until(desk, SALE, total=41, free=41)


async def test_deletes_only_what_is_over(desk: httpx2.AsyncClient, store: Store, ledger: Ledger) -> None:
    await apply(desk, resource())
    await until(desk, SALE, state="open")
    path = f"/admin/api/sales/{SALE}"
    running = await desk.request("DELETE", path, json=REASON)
    assert (running.status_code, running.json()["code"]) == (409, "sale_running")
    await desk.post(f"{path}/close", json=REASON)
    await until(desk, SALE, state="closed")
    assert (await desk.request("DELETE", path, json=REASON)).status_code == 204
    assert (await desk.get(path)).status_code == 404
    client = await store.client(store.key(SALE, "sale"))
    left = [key async for key in client.scan_iter(match=f"*{store.instance}:{SALE}*")]
    assert left == [store.key(SALE, "dropped").encode()]
    assert await ledger.sale(SALE) is not None


async def test_a_deleted_sale_that_is_applied_again_is_the_same_sale(desk: httpx2.AsyncClient, ledger: Ledger) -> None:
    await apply(desk, resource(opens_in=600))
    await until(desk, SALE, state="prequeue")
    before = await ledger.sale(SALE)
    path = f"/admin/api/sales/{SALE}"
    await desk.post(f"{path}/close", json=REASON)
    await until(desk, SALE, state="closed")
    await desk.request("DELETE", path, json=REASON)
    assert (await apply(desk, resource(opens_in=600))).status_code == 201
    await until(desk, SALE, state="prequeue")
    after = await ledger.sale(SALE)
    assert before is not None
    assert after is not None
    assert before.uid == after.uid


async def test_unknown_sales_methods_and_paths(desk: httpx2.AsyncClient) -> None:
    for method, path, status in (
        ("GET", "/admin/api/sales/nobody", 404),
        ("POST", "/admin/api/sales/nobody/hold", 404),
        ("DELETE", "/admin/api/sales/nobody", 404),
        ("PUT", "/admin/api/sales", 405),
        ("GET", "/admin/api/nothing", 404),
        ("POST", "/admin/api/dead-letters/1/replay", 404),
        ("POST", f"/admin/api/dead-letters/{'9' * 30}/discard", 404),
        ("POST", "/admin/api/dead-letters/x/discard", 404),
    ):
        answer = await desk.request(method, path, json=REASON)
        assert answer.status_code == status, (method, path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_page_of_another_site_changes_nothing(desk: httpx2.AsyncClient) -> None:
    await apply(desk, resource())
    answer = await desk.post(
        f"/admin/api/sales/{SALE}/close", json=REASON, headers={"origin": "https://elsewhere.example"}
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")
    assert (await until(desk, SALE))["override"] is None


async def test_dead_letters_are_shown_replayed_and_discarded(desk: httpx2.AsyncClient, ledger: Ledger) -> None:
    rows = [letter(offset, payload) for offset, payload in enumerate((b"not an order", b"\xff\xfe"))]
    async with ledger.writing() as connection:
        await connection.execute(sa.insert(dead_letters), rows)
    first, second = (await desk.get("/admin/api/dead-letters")).json()["deadLetters"]
    assert (first["payload"], first["error"], first["state"]) == ("not an order", "it is not JSON", "open")
    replayed = await desk.post(f"/admin/api/dead-letters/{first['id']}/replay", json=REASON)
    assert replayed.status_code == 200
    discarded = await desk.post(f"/admin/api/dead-letters/{second['id']}/discard", json=REASON)
    assert discarded.status_code == 204
    assert (await desk.get("/admin/api/dead-letters")).json() == {"deadLetters": []}
    again = await desk.post(f"/admin/api/dead-letters/{first['id']}/discard", json=REASON)
    assert (again.status_code, again.json()["code"]) == (409, "letter_closed")
    assert {(a["what"], a["who"]) for a in await ledger.trail(2)} == {
        ("dead letter replayed", REASON["who"]),
        ("dead letter discarded", REASON["who"]),
    }


def letter(offset: int, payload: bytes) -> dict[str, Any]:
    return {
        "topic": "orders",
        "log_id": "a log",
        "log_partition": 0,
        "log_offset": offset,
        "record_key": bytes(16),
        "payload": payload,
        "payload_digest": hashlib.sha256(payload).hexdigest(),
        "error": "it is not JSON",
        "attempts": 1,
        "first_seen_ms": 1_900_000_000_000,
        "state": "open",
        "who": "",
        "why": "",
    }


async def test_serves_its_pages_and_nothing_of_the_buyers(desk: httpx2.AsyncClient) -> None:
    for path, status in (
        ("/", 302),
        ("/admin/dashboard", 200),
        (f"/admin/sales/{SALE}", 200),
        ("/assets/admin.js", 200),
        ("/livez", 200),
        ("/concerts", 404),
        ("/api/v1/sales", 404),
    ):
        assert (await desk.get(path, headers={"authorization": ""})).status_code == status, path
