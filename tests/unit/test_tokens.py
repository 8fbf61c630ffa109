"""A token is what we signed, byte for byte, and nothing else passes for one."""

from __future__ import annotations

import hmac
import random
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given, strategies as st

from boxoffice.errors import BadInput, Unauthorized
from boxoffice.tokens import MAC_BYTES, MAX_TOKEN_CHARS, Admission, KeyRing, Ticket, binding

OLD, NEW = f"k1:{'0f' * 32}", f"k2:{'e5' * 32}"
RING = KeyRing(NEW)
SIXTEEN = st.binary(min_size=16, max_size=16)
NUMBER = st.integers(0, 2**63 - 1)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

TICKET = Ticket(b"u" * 16, b"p" * 16, 7, 2, 1_700_000_000_000, b"b" * 16)
ADMITTED = Admission(b"u" * 16, b"p" * 16, 7, 2, 9, 1_700_000_000_000, 1_700_000_300_000, b"b" * 16)


@given(SIXTEEN, SIXTEEN, NUMBER, NUMBER, NUMBER, SIXTEEN)
def test_a_ticket_is_read_as_it_was_written(
    uid: bytes, place: bytes, number: int, epoch: int, issued: int, bound: bytes
) -> None:
    ticket = Ticket(uid, place, number, epoch, issued, bound)
    text = RING.ticket(ticket)
    assert RING.read_ticket(text) == ticket
    assert len(text) <= MAX_TOKEN_CHARS
    assert set(text) <= set(ALPHABET)


@given(SIXTEEN, SIXTEEN, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, SIXTEEN)
def test_an_admission_is_read_as_it_was_written(
    uid: bytes, place: bytes, number: int, epoch: int, sid: int, issued: int, until: int, bound: bytes
) -> None:
    admission = Admission(uid, place, number, epoch, sid, issued, until, bound)
    assert RING.read_admission(RING.admission(admission)) == admission


def _mutation(text: str, dice: random.Random) -> str:
    at = dice.randrange(len(text))
    kind = dice.randrange(5)
    if kind == 0:
        return text[:at] + dice.choice([c for c in ALPHABET if c != text[at]]) + text[at + 1 :]
    if kind == 1:
        return text[:at] + text[at + 1 :]
    if kind == 2:
        return text[:at] + dice.choice(ALPHABET + "=+/ \n\0\u00e9") + text[at:]
    if kind == 3:
        return text[:at]
    other = dice.randrange(len(text))
    return text[:at] + text[other:]


@pytest.mark.parametrize("kind", ["ticket", "admission"])
def test_ten_thousand_mutations_are_refused(kind: str) -> None:
    dice = random.Random(1)
    text = RING.ticket(TICKET) if kind == "ticket" else RING.admission(ADMITTED)
    read = RING.read_ticket if kind == "ticket" else RING.read_admission
    tried = 0
    while tried < 10_000:
        mutant = _mutation(text, dice)
        for _ in range(dice.randrange(2)):
            mutant = _mutation(mutant, dice) if mutant else mutant
        if mutant == text:
            continue
        tried += 1
        with pytest.raises(Unauthorized) as error:
            read(mutant)
        assert error.value.code == "bad_token"


@given(st.text(max_size=500))
def test_any_text_is_refused(text: str) -> None:
    for read in (RING.read_ticket, RING.read_admission):
        with pytest.raises(Unauthorized):
            read(text)


def test_one_kind_never_passes_for_the_other() -> None:
    with pytest.raises(Unauthorized):
        RING.read_admission(RING.ticket(TICKET))
    with pytest.raises(Unauthorized):
        RING.read_ticket(RING.admission(ADMITTED))


def _relabelled(text: str, kind: bytes) -> str:
    """Signed with our own key, but said to be of that kind."""
    body = urlsafe_b64decode(text + "=" * (-len(text) % 4))[:-MAC_BYTES]
    body = body[:1] + kind + body[2:]
    mac = hmac.digest(bytes.fromhex("e5" * 32), body, "sha256")[:MAC_BYTES]
    return urlsafe_b64encode(body + mac).rstrip(b"=").decode()


def test_the_kind_counts_even_where_the_fields_are_the_same() -> None:
    text = RING.ticket(TICKET)
    assert RING.read_ticket(_relabelled(text, b"T")) == TICKET
    with pytest.raises(Unauthorized):
        RING.read_ticket(_relabelled(text, b"A"))


def test_keys_are_rotated_with_both_live() -> None:
    before, during, after = KeyRing(OLD), KeyRing(f"{NEW},{OLD}"), KeyRing(NEW)
    old, new = before.ticket(TICKET), during.ticket(TICKET)
    assert old != new
    assert during.read_ticket(old) == during.read_ticket(new) == after.read_ticket(new) == TICKET
    for ring, text in ((after, old), (before, new)):
        with pytest.raises(Unauthorized):
            ring.read_ticket(text)


def test_a_key_of_the_same_name_but_another_secret_is_another_key() -> None:
    with pytest.raises(Unauthorized):
        KeyRing(f"k2:{'aa' * 32}").read_ticket(RING.ticket(TICKET))


def test_a_binding_tells_visitors_apart() -> None:
    assert binding("a" * 24) != binding("b" * 24)
    assert len(binding("a")) == 16


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "k1",
        "k1:",
        "k1:zz",
        f"k1:{'00' * 31}",
        f":{'00' * 32}",
        f"{'k' * 17}:{'00' * 32}",
        f"{NEW},k1:{'5a' * 8}",
    ],
)
def test_keys_that_are_none_are_refused_at_start(text: str) -> None:
    with pytest.raises(BadInput, match="BOXOFFICE_KEYS"):
        KeyRing(text)
