"""A shortened night, as `python -m tests.cluster.nights night` has it in full, and one in which pods go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.cluster.incidents import deleting, scale, until_scaled
from tests.cluster.night import WHILE_PODS_GO, Night
from tests.cluster.release import Release
from tests.cluster.test_operator import signal_values

MOST_CORES = 0.4
USUAL = {"app": 2, "settle": 2}
"""As installed."""


async def test_a_night(box: Release, say: Callable[[str], None]) -> None:
    """On the default signals, all of which have their numbers; with more pods than usual, from before it until it is
    sold out."""
    for component, count in USUAL.items():
        await asyncio.to_thread(scale, box, component, count)
    await asyncio.to_thread(signal_values, box)
    prescale = {"minutesBefore": 1, "replicas": {"app": 3, "settle": 3}}
    night = Night(box, "night", buyers=300, seats=150, prescale=prescale)
    await asyncio.to_thread(night.apply)
    before = await asyncio.to_thread(night.until_prescaled)
    say(f"the pods that the sale asks for are ready {before:.1f} s before it opens")
    assert before > 0
    await asyncio.to_thread(night.begin, ramp_seconds=20)
    found = await night.end()
    for component, count in USUAL.items():
        await asyncio.to_thread(until_scaled, box, component, count)
    say(f"mysqld took {found.most_cores:.2f} of a core at most")
    found.assert_kept()
    assert found.report.sold == 150
    assert found.most_cores < MOST_CORES
    assert found.stale(since=night.opens_at) == []


async def test_pods_that_are_deleted_every_ten_seconds(box: Release) -> None:
    night = Night(box, "pods-deleted", buyers=200, seats=300)
    await asyncio.to_thread(night.begin, ramp_seconds=45, END_SECONDS="300")
    with deleting(box, "app", "settle", "operator") as deleted:
        await asyncio.to_thread(night.until_gone)
    found = await night.end()
    found.assert_kept(excused=WHILE_PODS_GO)
    assert len(deleted) >= 6
