"""The simulated turnstile calls as the real one does: the same buyers, the real scripts, one clock."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from boxoffice.embedded import EmbeddedStore
from boxoffice.pacing import Pacing
from boxoffice.plant import World
from boxoffice.turnstile import BEAT, Turnstile
from tests.model.clockwork import Clockwork, Workshop, open_workshop

TARGET, BUYERS, DELAY, STAY, SECONDS = 20, 300, 4.0, 15.0, 90
ADMISSION = {"initialActive": TARGET, "maxActive": 100, "sessionSeconds": 600}


@pytest.fixture(scope="module")
def workshop(valkey: EmbeddedStore) -> Iterator[Workshop]:
    with open_workshop(valkey) as workshop:
        yield workshop


class NoLuck(random.Random):
    """All who are called come, after the same delay, and stay as long; nobody buys."""

    def random(self) -> float:
        return 0.99

    def expovariate(self, lambd: float = 1.0) -> float:
        return DELAY

    def lognormvariate(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        return STAY


class Hall:
    """The same buyers before the real scripts."""

    def __init__(self, sale: Clockwork) -> None:
        self.sale = sale
        sale.pass_time(0)
        self._places = [f"place-{n:010d}".encode() for n in range(1, BUYERS + 1)]
        sale.pass_time(1000)
        self._tickets = [sale.call("join", place, f"10.0.0.{n % 250}", "") for n, place in enumerate(self._places)]
        self._coming: list[tuple[int, int]] = []
        self._inside: list[tuple[int, int]] = []
        self._called = 0

    def beat(self) -> tuple[int, int]:
        """Returns how many were called so far, and how many are inside."""
        seen = self.sale.pass_time(250, step=250)
        self._coming += [(self.sale.now + int(1000 * DELAY), n) for n in range(self._called, seen["called"])]
        self._called = seen["called"]
        while self._inside and self._inside[0][0] <= self.sale.now:
            n = self._inside.pop(0)[1]
            assert self.sale.call("leave", self._places[n], n + 1)[0] == b"ok"
        while self._coming and self._coming[0][0] <= self.sale.now and self._claim(self._coming[0][1]):
            self._inside.append((self.sale.now + int(1000 * STAY), self._coming.pop(0)[1]))
        return self._called, len(self._inside)

    def _claim(self, n: int) -> bool:
        _, number, _, epoch, issued, _ = self._tickets[n]
        reply = self.sale.call("claim", self._places[n], number, epoch, issued)
        assert reply[0] in (b"ok", b"crowded")
        return bool(reply[0] == b"ok")


def test_it_calls_as_the_real_one(workshop: Workshop) -> None:
    seating = {"sections": [{"name": "floor", "capacity": 10_000, "priceMinor": 1}]}
    sale = workshop.sale(seating=seating, admission=ADMISSION, abuse={"joinsPerMinutePerAddress": 1000})
    hall = Hall(sale)
    simulated = Turnstile(sale.spec, World(show=1.0), 10_000, Pacing(), NoLuck())
    simulated.waiting = BUYERS
    real, toy = list[tuple[int, int]](), list[tuple[int, int]]()
    for beat in range(1, int(SECONDS / BEAT) + 1):
        real.append(hall.beat())
        simulated.beat(beat * BEAT, 1.0, 1.0, stop=False)
        toy.append((simulated.called, simulated.inside))
    assert real[-1][0] > 60
    for (called, inside), (called_too, inside_too) in zip(real, toy, strict=True):
        assert called_too == pytest.approx(called, abs=3)
        assert inside_too == pytest.approx(inside, abs=3)
