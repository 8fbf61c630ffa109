"""Work is asked for, and only the work that was asked for counts."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from altcha import v1 as altcha
from hypothesis import given, strategies as st

from boxoffice import proof
from boxoffice.errors import Forbidden
from boxoffice.proof import MAX_NUMBER, MAX_PAYLOAD_CHARS, Proofs

SALE, OTHER = b"s" * 16, b"o" * 16
PROOFS = Proofs(b"secret" * 6)


def solve(challenge: dict[str, Any]) -> dict[str, Any]:
    """As the page does it."""
    algorithm, most = challenge["algorithm"], challenge["maxnumber"]
    solution = altcha.solve_challenge(challenge["challenge"], challenge["salt"], algorithm, most)
    assert solution
    return {name: challenge[name] for name in ("algorithm", "challenge", "salt", "signature")} | {
        "number": solution.number
    }


def packed(payload: Any) -> str:
    return base64.b64encode(json.dumps(payload).encode()).decode()


@pytest.fixture(scope="module")
def solved() -> dict[str, Any]:
    return solve(PROOFS.challenge(SALE))


def refused(payload: str | None, sale: bytes = SALE, proofs: Proofs = PROOFS) -> None:
    with pytest.raises(Forbidden) as error:
        proofs.check(sale, payload)
    assert error.value.code == "proof_required"
    assert error.value.extra["challenge"]["maxnumber"] == MAX_NUMBER


def test_a_solution_counts_and_can_be_told_from_others(solved: dict[str, Any]) -> None:
    digest = PROOFS.check(SALE, packed(solved))
    assert digest == PROOFS.check(SALE, packed(solved))
    assert digest == PROOFS.check(SALE, packed(dict(reversed(solved.items()))))
    assert digest != PROOFS.check(SALE, packed(solve(PROOFS.challenge(SALE))))


def test_it_counts_for_one_sale(solved: dict[str, Any]) -> None:
    refused(packed(solved), OTHER)


def test_it_counts_under_our_key_only(solved: dict[str, Any]) -> None:
    refused(packed(solved), proofs=Proofs(b"another" * 6))


def test_it_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Earlier(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Earlier:
            return cls.fromtimestamp(datetime.now(UTC).timestamp(), UTC) - timedelta(seconds=proof.EXPIRES_SECONDS + 2)

    monkeypatch.setattr(proof, "datetime", Earlier)
    old = solve(PROOFS.challenge(SALE))
    monkeypatch.undo()
    refused(packed(old))


@pytest.mark.parametrize("name", ["algorithm", "challenge", "salt", "signature", "number"])
@pytest.mark.parametrize("value", ["", "x", -1, None, [], {}, 10**400, "MD5"])
def test_it_counts_as_it_was_given(solved: dict[str, Any], name: str, value: Any) -> None:
    refused(packed(solved | {name: value}))


@pytest.mark.parametrize("name", ["algorithm", "challenge", "salt", "signature", "number"])
def test_nothing_may_be_missing(solved: dict[str, Any], name: str) -> None:
    refused(packed({key: value for key, value in solved.items() if key != name}))


def test_another_salt_with_the_sale_appended_is_no_way_round(solved: dict[str, Any]) -> None:
    challenge = PROOFS.challenge(OTHER)
    theirs = solve(challenge)
    refused(packed(theirs | {"salt": theirs["salt"] + f"&sale={SALE.hex()}&"}))
    refused(packed(theirs | {"salt": theirs["salt"].replace(OTHER.hex(), SALE.hex())}))


@pytest.mark.parametrize("payload", [None, "", "x", "e30=", "bnVsbA==", "W10=", "NQ==", "\u00e9", "=" * 9])
def test_what_is_no_solution_is_refused_with_a_fresh_challenge(payload: str | None) -> None:
    refused(payload)


def test_what_is_too_long_is_not_looked_at(solved: dict[str, Any]) -> None:
    refused(packed(solved | {"padding": "x" * MAX_PAYLOAD_CHARS}))


@given(st.text(max_size=300))
def test_any_text_is_refused(text: str) -> None:
    refused(text)


def test_no_two_challenges_are_alike() -> None:
    assert len({PROOFS.challenge(SALE)["salt"] for _ in range(100)}) == 100
