"""The buyers of a demo: the real k6 with load/onsale.js, every VU one buyer who tells a story in the end."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from boxoffice.embedded import Child, Stopped, k6_binary, shipped
from boxoffice.sale import ConcertSale
from boxoffice.seating import Seating

STORIES = "stories.ndjson"
FAVOURITES = "front"
"""The section that most of them try first."""
RAMP_SECONDS = 10
LINGER_SECONDS = 150
"""Long enough for the last hold to lapse and be sold again; whoever is not done then has no story."""


class Crowd:
    def __init__(self, buyers: int, seed: int, shares: Mapping[str, float], folder: Path) -> None:
        self._buyers, self._seed, self._shares = buyers, seed, shares
        self._stories = folder / STORIES
        self._log = folder / "k6.log"
        self._child: Child | None = None

    async def start(self, urls: Sequence[str], sale: ConcertSale, starts_at: float) -> None:
        """The first buyers come at `starts_at`, seconds since the epoch. Raises BadInput without k6."""
        environment = {**os.environ, **self._environment(urls, sale, starts_at)}
        self._child = Child("k6", self._command(), self._log, environment)
        await self._child.start()

    def _command(self) -> list[str | Path]:
        judged_elsewhere = ["--no-summary", "--no-thresholds"]
        quiet = ["--quiet", *judged_elsewhere, "--no-usage-report", "--address", "", "--log-format", "raw"]
        return [k6_binary(), "run", *quiet, "--console-output", self._stories, shipped("load", "onsale.js")]

    def _environment(self, urls: Sequence[str], sale: ConcertSale, starts_at: float) -> dict[str, str]:
        return {
            "BASES": ",".join(urls),
            "SALE": sale.metadata.name,
            "BUYERS": str(self._buyers),
            "SEED": str(self._seed),
            "START_MS": str(int(starts_at * 1000)),
            "RAMP_SECONDS": str(RAMP_SECONDS),
            "END_SECONDS": str(LINGER_SECONDS + Seating.of(sale.spec).total // 5),
            "CLAIM_SECONDS": str(sale.spec.line.claim_seconds),
            "CONTESTED": FAVOURITES,
            "SHARES": msgspec.json.encode(dict(self._shares)).decode(),
        }

    def done(self) -> int:
        """How many have come to an end."""
        return self._stories.read_bytes().count(b"\n") if self._stories.exists() else 0

    async def wait(self) -> None:
        """Until all have. Raises Stopped when k6 fails."""
        assert self._child, "the crowd was not started"
        if code := await self._child.wait():
            raise Stopped(f"k6 ended with {code}:\n{self._child.last_lines()}")

    async def stop(self) -> None:
        if self._child:
            await self._child.stop(seconds=5)
