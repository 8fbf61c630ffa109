"""One back end, several sales: how many each may have inside, by weighted max-min fairness.

Nobody gets more than they can use; what is left over goes to the others in proportion to their weights, so that no
share can grow without taking from a sale that has less for its weight. N controllers without it would push each
other aside: it is one number that is split.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A sale that takes part: `wanted` is what it could use now, those inside and those waiting."""

    name: str
    weight: int
    wanted: int


def ceilings(budget: int, claims: Sequence[Claim]) -> dict[str, int]:
    """The most that each may have inside; none where there is enough for all.

    All get the same for their weight, whether they use it or not: whoever wants more a second later need not wait for
    the next look. What all use of it is the budget at most.
    """
    if sum(claim.wanted for claim in claims) <= budget:
        return {}
    level = _level(budget, claims)
    return {claim.name: int(claim.weight * level) for claim in claims}


def _level(budget: int, claims: Sequence[Claim]) -> float:
    """Water filling: whoever wants least for their weight is served first, and the rest is split again."""
    left, weights = float(budget), sum(claim.weight for claim in claims)
    for claim in sorted(claims, key=lambda claim: claim.wanted / claim.weight):
        if claim.wanted / claim.weight * weights >= left:
            break
        left, weights = left - claim.wanted, weights - claim.weight
    return left / weights
