"""The door keeps as many inside as it should, whoever comes and however short they stay."""

from __future__ import annotations

import random
from statistics import fmean

import msgspec
import pytest

from boxoffice.pacing import Pacing
from boxoffice.plant import World
from boxoffice.sale import parse_sale
from boxoffice.spec import Spec
from boxoffice.turnstile import BEAT, Turnstile
from tests.integration.house import resource

EVERYBODY = 10**7
LEARNED_SECONDS, END_SECONDS = 120, 480


def spec() -> Spec:
    return parse_sale(msgspec.json.encode(resource(line={"claimSeconds": 15}))).spec


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("show", [0.4, 0.8, 1.0])
@pytest.mark.parametrize(("target", "stay"), [(16, 9.0), (60, 9.0), (100, 30.0)])
def test_as_many_are_inside_as_should_be(target: int, stay: float, show: float, seed: int) -> None:
    """Stays of nine seconds and 40 % who come were two thirds of the target once: calls were bounded at what fills an
    empty hall in five seconds, five imagined buyers counted for good, and waits at the door as delays."""
    world = World(show=show, stay_seconds=stay, claim_seconds=2.0, buys=0.0, lapses=0.0)
    turnstile = Turnstile(spec(), world, EVERYBODY, Pacing(), random.Random(seed))
    turnstile.target, turnstile.waiting = float(target), EVERYBODY
    inside = list[int]()
    for beat in range(int(END_SECONDS / BEAT)):
        turnstile.beat(beat * BEAT, 1.0, show, stop=False)
        if beat * BEAT > LEARNED_SECONDS:
            inside.append(turnstile.inside)
    assert fmean(inside) == pytest.approx(target, rel=0.1)
    assert turnstile.inside <= Pacing().most_inside(target)
