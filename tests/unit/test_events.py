"""What may stand in the log, and what is a dead letter."""

from __future__ import annotations

import msgspec
import pytest

from boxoffice.events import Malformed, OrderPlaced, decode, encode

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
    assert decode(encode(GOOD)[:-1] + b',"campaign":"spring"}') == GOOD


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": 2}, "schema version 2"),
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
