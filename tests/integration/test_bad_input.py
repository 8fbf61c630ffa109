"""Whatever is sent to whatever address: the right status, a problem document with its code, nothing changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx2
import pytest
import pytest_asyncio

from boxoffice.embedded import EmbeddedStore
from tests.integration.buyer import Buyer
from tests.integration.house import SALE, resource
from tests.integration.keys import read_keys
from tests.integration.pod import Pod, open_pod, refused, settings_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER_SALE = "other-night"
ORDER = "0" * 32


class Endpoint(NamedTuple):
    method: str
    path: str
    token: str = ""
    body: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


JOIN = Endpoint("POST", "/places", "", {})
ME = Endpoint("GET", "/places/me", "ticket")
LEAVE = Endpoint("DELETE", "/places/me", "ticket")
CLAIM = Endpoint("POST", "/admissions", "ticket")
HOLD = Endpoint("POST", "/holds", "admission", {"count": 1})
RELEASE = Endpoint("DELETE", "/holds/1", "admission")
PAY = Endpoint("POST", "/orders", "admission", {"hold": "1", "paymentMethod": "pm_card_visa"})
ORDERS = Endpoint("GET", "/orders", "admission")
STATE = Endpoint("GET", f"/orders/{ORDER}", "admission")
EVENTS = Endpoint("GET", f"/orders/{ORDER}/events", "admission")
PUBLIC = [Endpoint("GET", path) for path in ("", "/challenge", "/line", "/seats")]
WITH_TOKEN = [ME, LEAVE, CLAIM, HOLD, RELEASE, PAY, ORDERS, STATE, EVENTS]
WITH_BODY = [JOIN, HOLD, PAY]
CHANGING = [JOIN, LEAVE, CLAIM, HOLD, RELEASE, PAY]
ALL = [*PUBLIC, JOIN, *WITH_TOKEN]


def each(endpoints: list[Endpoint]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("endpoint", endpoints, ids=lambda e: e.name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pod(valkey: EmbeddedStore) -> AsyncIterator[Pod]:
    async with open_pod(settings_of(valkey)) as pod:
        generous: dict[str, Any] = {"abuse": {"joinsPerMinutePerAddress": 100_000}, "line": {"claimSeconds": 600}}
        await pod.apply(resource(**generous), resource(name=OTHER_SALE, **generous))
        yield pod


async def _inside(pod: Pod, sale: str = SALE) -> Buyer:
    buyer = pod.buyer(sale)
    await buyer.enter()
    return buyer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ann(pod: Pod) -> Buyer:
    """Is inside; nothing that she is refused costs her a seat or a turn."""
    return await _inside(pod)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ben(pod: Pod) -> Buyer:
    return await _inside(pod)


@pytest_asyncio.fixture(loop_scope="module")
async def unchanged(pod: Pod, ann: Buyer, ben: Buyer) -> AsyncIterator[None]:
    """What Redis holds is the same before and after the test."""
    before = await read_keys(pod.store)
    yield
    assert await read_keys(pod.store) == before


changes_nothing = pytest.mark.usefixtures("unchanged")


async def ask(buyer: Buyer, endpoint: Endpoint, token: str | None = None, **more: Any) -> httpx2.Response:
    """The request as it should be, but for what `more` puts in its place."""
    token = getattr(buyer, endpoint.token) if token is None and endpoint.token else token or ""
    headers = {"idempotency-key": "k", **more.pop("headers", {})}
    if not {"json", "content"} & more.keys() and endpoint.body is not None:
        more["json"] = endpoint.body
    return await buyer.send(endpoint.method, endpoint.path, token, headers=headers, **more)


@each(ALL)
@changes_nothing
@pytest.mark.parametrize("sale", ["nowhere", "x" * 5000, "%00", "*", "..%2f..", "%ff%fe", "tide%20seoul"])
async def test_unknown_sale(pod: Pod, ann: Buyer, endpoint: Endpoint, sale: str) -> None:
    stranger = pod.buyer(sale)
    stranger.cookie, stranger.ticket, stranger.admission = ann.cookie, ann.ticket, ann.admission
    refused(await ask(stranger, endpoint), 404, "unknown_sale", "not_found")


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


@pytest.mark.parametrize("path", sorted({endpoint.path for endpoint in ALL}))
@changes_nothing
async def test_wrong_method(ann: Buyer, path: str) -> None:
    right = {endpoint.method for endpoint in ALL if endpoint.path == path}
    for method in METHODS:
        if method not in right:
            answer = await ann.send(method, path, ann.admission)
            refused(answer, 405, "method_not_allowed")
            assert right <= {word.strip() for word in answer.headers["allow"].split(",")}


@each(WITH_TOKEN)
@changes_nothing
async def test_no_token(ann: Buyer, endpoint: Endpoint) -> None:
    for value in ("", "Bearer", "Basic YTpi", "bearer:x", "Token x"):
        answer = await ask(ann, endpoint, "", headers={"authorization": value})
        refused(answer, 401, "token_required")
        assert answer.headers["www-authenticate"] == "Bearer"


@each(WITH_TOKEN)
@changes_nothing
@pytest.mark.parametrize("cookie", ["", "visitor=", "visitor=short", "visitor=" + "x" * 65, "visitor=%s;", "other=1"])
async def test_no_visitor(pod: Pod, ann: Buyer, endpoint: Endpoint, cookie: str) -> None:
    stranger = pod.buyer()
    stranger.cookie = cookie
    answer = await ask(stranger, endpoint, getattr(ann, endpoint.token))
    refused(answer, 401, "cookie_required")


@each(WITH_TOKEN)
@changes_nothing
async def test_another_visitors_token(ann: Buyer, ben: Buyer, endpoint: Endpoint) -> None:
    refused(await ask(ben, endpoint, getattr(ann, endpoint.token)), 401, "bad_token")


@each(WITH_TOKEN)
@changes_nothing
async def test_another_sales_token(pod: Pod, ann: Buyer, endpoint: Endpoint) -> None:
    there = pod.buyer(OTHER_SALE)
    there.cookie = ann.cookie
    refused(await ask(there, endpoint, getattr(ann, endpoint.token)), 401, "bad_token")


@each([endpoint for endpoint in WITH_TOKEN if endpoint != LEAVE])
@changes_nothing
async def test_the_other_kind_of_token(ann: Buyer, endpoint: Endpoint) -> None:
    wrong = ann.admission if endpoint.token == "ticket" else ann.ticket
    refused(await ask(ann, endpoint, wrong), 401, "bad_token")


@pytest.mark.parametrize("endpoint", [ME, CLAIM, LEAVE, HOLD], ids=lambda e: e.name)
@changes_nothing
async def test_every_byte_of_a_token_counts(ann: Buyer, endpoint: Endpoint) -> None:
    token = getattr(ann, endpoint.token)
    changed = [f"{token[:i]}{'A' if c != 'A' else 'B'}{token[i + 1 :]}" for i, c in enumerate(token)]
    cut = [token[:-1], token[1:], token + "A", token + "=", token[: len(token) // 2], token * 3]
    for forged in (*changed, *cut):
        refused(await ask(ann, endpoint, forged), 401, "bad_token")


@each(WITH_TOKEN)
@changes_nothing
@pytest.mark.parametrize("token", ["A", "=", "A" * 399, "A" * 10_000, "..", "eyJhbGciOiJub25lIn0.e30."])
async def test_no_token_of_ours(ann: Buyer, endpoint: Endpoint, token: str) -> None:
    refused(await ask(ann, endpoint, token), 401, "bad_token")


BROKEN = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"\xff\xfe",
    b'{"hold": "\xff"}',
    b'{"proof": "\\ud800"}',
    b"{}{}",
    b"NaN",
    b"[" * 4000,
    b'{"a":' * 800,
    b'{"colour": "red"}',
    b'{"count": 1, "colour": 1}',
]


@changes_nothing
@pytest.mark.parametrize(
    ("endpoint", "body"),
    [(endpoint, body) for endpoint in WITH_BODY for body in BROKEN if body or endpoint != JOIN],
    ids=lambda part: part.name if isinstance(part, Endpoint) else repr(part[:20]),
)
async def test_broken_body(ann: Buyer, endpoint: Endpoint, body: bytes) -> None:
    answer = await ask(ann, endpoint, content=body, headers={"content-type": "application/json"})
    refused(answer, 400, "bad_input")


NUMBERS = ["-1", "0", "11", "1e400", "-1e400", "1.5", "99999999999999999999", "9" * 400, '"2"', "true", "[2]", "{}"]


@pytest.mark.parametrize("count", NUMBERS)
@changes_nothing
async def test_count_that_is_none(ann: Buyer, count: str) -> None:
    body = f'{{"count": {count}}}'.encode()
    answer = await ask(ann, HOLD, content=body, headers={"content-type": "application/json"})
    refused(answer, *((422, "unprocessable") if answer.status_code == 422 else (400, "bad_input")))


@changes_nothing
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "unprocessable"),
        ({"seats": []}, 422, "unprocessable"),
        ({"seats": ["stalls/1/1"] * 2}, 422, "unprocessable"),
        ({"seats": [f"stalls/1/{n}" for n in range(1, 12)]}, 422, "unprocessable"),
        ({"seats": [f"stalls/1/{n}" for n in range(1, 6)]}, 422, "over_cap"),
        ({"count": 5}, 422, "over_cap"),
        ({"seats": ["stalls/1/1"], "count": 1}, 422, "unprocessable"),
        ({"seats": ["stalls/1/101"]}, 404, "unknown_seat"),
        ({"seats": ["stalls/0/1"]}, 404, "unknown_seat"),
        ({"seats": ["stalls/-1/1"]}, 404, "unknown_seat"),
        ({"seats": ["stalls/01/1"]}, 404, "unknown_seat"),
        ({"seats": ["stalls/1/\u0661"]}, 404, "unknown_seat"),
        ({"seats": ["stalls/99999999999999999999/1"]}, 404, "unknown_seat"),
        ({"seats": ["", "/", "stalls"]}, 404, "unknown_seat"),
        ({"seats": ["stalls/1/1\u0000"]}, 404, "unknown_seat"),
        ({"section": "pit", "count": 1}, 404, "unknown_seat"),
        ({"section": 7, "count": 1}, 400, "bad_input"),
        ({"seats": "stalls/1/1"}, 400, "bad_input"),
        ({"seats": [1]}, 400, "bad_input"),
        ({"count": 1, "together": 1}, 400, "bad_input"),
    ],
)
async def test_wish_that_cannot_be(ann: Buyer, body: dict[str, Any], status: int, code: str) -> None:
    refused(await ask(ann, HOLD, json=body), status, code)


@changes_nothing
@pytest.mark.parametrize(
    "body",
    [
        {"hold": "1"},
        {"paymentMethod": "pm_card_visa"},
        {"hold": 1, "paymentMethod": "pm_card_visa"},
        {"hold": None, "paymentMethod": "pm_card_visa"},
        {"hold": "1", "paymentMethod": 4},
        {"hold": "1", "paymentMethod": "pm_card_visa", "amountMinor": 1},
        {"hold": "1", "paymentMethod": "x" * 3000},
        {"hold": "1" * 3000, "paymentMethod": "pm_card_visa"},
    ],
)
async def test_payment_of_the_wrong_shape(ann: Buyer, body: dict[str, Any]) -> None:
    refused(await ask(ann, PAY, json=body), 400, "bad_input")


@changes_nothing
@pytest.mark.parametrize("hold", ["0", "01", "9" * 20, "-1", "1e400", "%00", "*", "x" * 1000, "1%201", "\u0661"])
async def test_hold_that_is_none(ann: Buyer, hold: str) -> None:
    refused(await ask(ann, RELEASE._replace(path=f"/holds/{hold}")), 404, "hold_gone")
    answer = await ask(ann, PAY, json={"hold": hold, "paymentMethod": "pm_card_visa"})
    if hold.isascii() and hold.isdigit():
        refused(answer, 409, "hold_gone")
    else:
        refused(answer, 400, "bad_input")


@each([STATE, EVENTS])
@changes_nothing
@pytest.mark.parametrize("order", ["0", "-1", "9" * 100, "%00", "*", "%2e%2e", "F" * 32, "%ff"])
async def test_order_that_is_none(ann: Buyer, endpoint: Endpoint, order: str) -> None:
    path = endpoint.path.replace(ORDER, order)
    refused(await ask(ann, endpoint._replace(path=path)), 404, "unknown_order", "not_found")


@each(WITH_BODY)
@changes_nothing
async def test_body_past_the_bound(ann: Buyer, endpoint: Endpoint) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b" " * 1000

    headers = {"content-type": "application/json"}
    refused(await ask(ann, endpoint, content=b" " * 4097, headers=headers), 413, "body_too_large")
    refused(await ask(ann, endpoint, content=b" " * 200_000, headers=headers), 413, "body_too_large")
    refused(await ask(ann, endpoint, content=chunks(), headers=headers), 413, "body_too_large")
    refused(await ask(ann, endpoint, content=b" " * 4096, headers=headers), 400, "bad_input")


@each(WITH_BODY)
@changes_nothing
@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json"])
async def test_body_of_another_type(ann: Buyer, endpoint: Endpoint, kind: str) -> None:
    refused(await ask(ann, endpoint, content=b"{}", headers={"content-type": kind}), 415, "not_json")


@each(CHANGING)
@changes_nothing
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "x", "http://"])
async def test_foreign_origin(ann: Buyer, endpoint: Endpoint, origin: str) -> None:
    refused(await ask(ann, endpoint, headers={"origin": origin}), 403, "foreign_origin")


@changes_nothing
async def test_idempotency_key_missing_or_too_long(ann: Buyer) -> None:
    for key in ("", "k" * 256, "k" * 8000):
        refused(await ask(ann, PAY, headers={"idempotency-key": key}), 400, "idempotency_key_required")
    answer = await ann.send("POST", "/orders", ann.admission, json=PAY.body)
    refused(answer, 400, "idempotency_key_required")


READ = ("authorization", "cookie", "origin")
HARMLESS = ("content-type", "if-none-match", "x-forwarded-for")
"""Where they do not matter the request is a good one, so it goes only to those that cannot change anything."""


@changes_nothing
@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        *((endpoint, name) for endpoint in ALL for name in READ),
        *((endpoint, name) for endpoint in ALL if endpoint not in (JOIN, LEAVE, CLAIM, HOLD) for name in HARMLESS),
    ],
    ids=lambda part: part.name if isinstance(part, Endpoint) else part,
)
async def test_header_that_is_no_text(ann: Buyer, endpoint: Endpoint, name: str) -> None:
    answer = await _raw(ann, endpoint, {name: b"Bearer \xff\xfe\xf0"})
    assert answer.status_code < 500
    if answer.status_code >= 400:
        refused(answer, answer.status_code, answer.json()["code"])


async def _raw(buyer: Buyer, endpoint: Endpoint, odd: dict[str, bytes]) -> httpx2.Response:
    headers = {b"cookie": buyer.cookie.encode(), b"idempotency-key": b"\xff\xfe"}
    if endpoint.token:
        headers[b"authorization"] = f"Bearer {getattr(buyer, endpoint.token)}".encode()
    if endpoint == JOIN and "cookie" in odd:
        headers[b"origin"] = b"\xff"  # a visitor that we cannot have named is a new one, who may well join
    headers |= {name.encode(): value for name, value in odd.items()}
    url = f"{buyer.url}/api/v1/sales/{buyer.sale}{endpoint.path}"
    return await buyer.client.request(endpoint.method, url, headers=headers, json=endpoint.body)


@changes_nothing
@pytest.mark.parametrize("key", ["a b", "k\tk", "\u00ff" * 255])
async def test_idempotency_key_of_any_characters_is_a_key(ann: Buyer, key: str) -> None:
    answer = await _raw(ann, PAY, {"idempotency-key": key.encode("latin-1")})
    assert answer.status_code in (400, 409, 429)


@each([JOIN, LEAVE, CLAIM, HOLD, PAY])
@changes_nothing
async def test_what_is_not_http_is_refused(pod: Pod, endpoint: Endpoint) -> None:
    host, port = pod.url.removeprefix("http://").split(":")
    for junk in (b"\x16\x03\x01\x02", b"GET", f"{endpoint.name} HTTP/9.9\r\n\r\n".encode(), b"\r\n" * 3 + b"\0" * 99):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(junk + b"\r\n\r\n")
        writer.write_eof()
        answer = await reader.read()
        assert not answer or answer.startswith(b"HTTP/1.1 4")
        writer.close()
        await writer.wait_closed()


async def test_after_all_that_the_sale_goes_on(ann: Buyer, ben: Buyer) -> None:
    for buyer in (ann, ben):
        assert (await ask(buyer, ORDERS)).json() == {"orders": []}
        hold = await buyer.hold(count=1)
        assert hold.status_code == 201, hold.text
