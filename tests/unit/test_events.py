"""What may stand in the log, and what is a dead letter."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from boxoffice.events import Malformed, OrderEvent, OrderPlaced, decode, encode, headers, notice

GOOD = OrderPlaced(
    order="a" * 32,
    sale="tide-seoul",
    sale_uid="b" * 32,
    buyer="c" * 32,
    hold=17,
    fence=17,
    seats=[3, 4],
    names=["stalls/1/4", "stalls/1/5"],
    amount_minor=24000,
    currency="KRW",
    method="pm_card_visa",
    placed_ms=1_700_000_000_000,
)


def test_comes_back_as_it_went() -> None:
    assert decode(encode(GOOD)) == GOOD


def test_a_newer_writer_may_add_fields() -> None:
    """And says so by its version, as long as this reader does not misread the rest."""
    added = {**msgspec.to_builtins(GOOD), "v": 2, "campaign": "spring"}
    assert decode(msgspec.json.encode(added)) == msgspec.structs.replace(GOOD, v=2)


def test_an_older_writer_said_nothing_of_readers() -> None:
    former = {name: value for name, value in msgspec.to_builtins(GOOD).items() if name != "needs"}
    assert decode(msgspec.json.encode(former)) == GOOD


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": 3, "needs": 2}, "schema version 3 needs a reader of 2"),
        ({"order": "A" * 32}, "32 hex digits"),
        ({"order": "a" * 31}, "32 hex digits"),
        ({"sale_uid": "../etc"}, "32 hex digits"),
        ({"buyer": ""}, "32 hex digits"),
        ({"seats": []}, "seats must be given"),
        ({"seats": [3, 3]}, "seats must be given"),
        ({"names": ["stalls/1/4"]}, "seats must be given"),
        ({"seats": [3, -4]}, "must not be negative"),
        ({"amount_minor": -1}, "must not be negative"),
        ({"seats": "3,4"}, "seats"),
        ({"amount_minor": 1.5}, "amount_minor"),
        ({"hold": None}, "hold"),
        ({"currency": 410}, "currency"),
    ],
)
def test_names_what_is_wrong(change: dict[str, object], reason: str) -> None:
    value = msgspec.json.encode({**msgspec.to_builtins(GOOD), **change})
    with pytest.raises(Malformed, match=reason):
        decode(value)


@pytest.mark.parametrize("value", [b"", b"\x00\xff", b"[]", b"null", b"{}", b"{", encode(GOOD)[:-9], b"\xff" * 70_000])
def test_garbage_is_malformed_and_nothing_else(value: bytes) -> None:
    with pytest.raises(Malformed):
        decode(value)


TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_record_tells_its_schema_and_the_trace_of_its_request() -> None:
    assert dict(headers()) == {"schema-version": b"1"}
    assert dict(headers(TRACE)) == {"schema-version": b"1", "traceparent": TRACE}


@pytest.mark.parametrize(
    "trace",
    [
        b"",
        TRACE[:-1],
        TRACE + b"0",
        TRACE + b"\n",
        TRACE.upper(),
        b"ff" + TRACE[2:],
        TRACE.replace(b"-", b"_"),
        b"00-" + b"0" * 32 + TRACE[35:],
        TRACE[:36] + b"0" * 16 + TRACE[52:],
    ],
)
def test_a_trace_that_is_not_well_formed_goes_no_further(trace: bytes) -> None:
    assert dict(headers(trace)) == {"schema-version": b"1"}


def test_order_events_are_as_their_page_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "order-events.md").read_text()
    schema, example = (msgspec.json.decode(part.split("```")[0]) for part in page.split("```json")[1:])
    assert schema == msgspec.json.schema(OrderEvent)["$defs"]["OrderEvent"]
    event = msgspec.convert(example, OrderEvent)
    assert notice(event) == (example["order"].encode(), msgspec.json.encode(example))
