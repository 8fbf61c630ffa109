"""Another version in mid-sale, there and back: no buyer notices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.cluster.night import WHILE_PODS_GO, Night
from tests.cluster.release import Release
from tests.cluster.upgrade import beside, there_and_back, versions


async def test_the_next_version_comes_and_goes_while_buyers_buy(box: Release, say: Callable[[str], None]) -> None:
    """Failed is what a client sees who does not try again: no answer, one of 5xx, or one after five seconds."""
    with beside(box, "boxoffice_upgraded") as (release, values):
        night = Night(release, "upgraded", buyers=400, seats=600, engines=box, signals=[])
        await asyncio.to_thread(night.begin, ramp_seconds=75, END_SECONDS="300")
        await asyncio.to_thread(night.until_sold, 1 / 60)
        await asyncio.to_thread(there_and_back, night, values)
        found = await night.end()
        found.assert_kept(excused=WHILE_PODS_GO)
        seen = versions(night)
        say(f"upgraded and rolled back: {night.moments}, {seen}")
        assert seen["placed and settled by this version"] > 5
        assert seen["placed and settled by the next"] > 5
