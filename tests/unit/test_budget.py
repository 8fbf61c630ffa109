"""Weighted max-min: nobody could have more without taking it from somebody who has less for their weight."""

from __future__ import annotations

from hypothesis import given, strategies as st

from boxoffice.budget import Claim, ceilings

CLAIMS = st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 20_000)), min_size=1, max_size=30)


def claims_of(pairs: list[tuple[int, int]]) -> list[Claim]:
    return [Claim(name=f"sale-{n}", weight=weight, wanted=wanted) for n, (weight, wanted) in enumerate(pairs)]


def test_by_hand() -> None:
    claims = claims_of([(100, 50), (100, 5000), (300, 5000), (100, 10)])
    assert ceilings(1000, claims) == {"sale-0": 235, "sale-1": 235, "sale-2": 705, "sale-3": 235}
    assert ceilings(20_000, claims) == {}


@given(st.integers(1, 50_000), CLAIMS)
def test_max_min(budget: int, pairs: list[tuple[int, int]]) -> None:
    claims = claims_of(pairs)
    most = ceilings(budget, claims)
    if not most:
        assert sum(claim.wanted for claim in claims) <= budget
        return
    used = sum(min(claim.wanted, most[claim.name]) for claim in claims)
    assert budget - len(claims) <= used <= budget
    levels = [(most[claim.name], (most[claim.name] + 1)) for claim in claims]
    for (low, _), one in zip(levels, claims, strict=True):
        assert all(low / one.weight < high / other.weight for (_, high), other in zip(levels, claims, strict=True))
