"""Our own processes die, stand still or have the wrong time, with a crowd at the door."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import textwrap
import time
from contextlib import closing, suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from boxoffice.embedded import Child, Stopped
from tests.chaos.conftest import Chaos
from tests.chaos.crowd import Crowd
from tests.chaos.houses import Houses
from tests.chaos.night import Night

pytestmark = pytest.mark.asyncio(loop_scope="session")
"""The houses' own."""

APP_STEPS = ("pay.recorded", "pay.published", "pay.marked")
SETTLE_STEPS = ("settle.fetched", "settle.charged", "settle.committed", "settle.applied")
SETTLES = ("settle", "settle-2")
DIE_SECONDS = 60
ALL_PARTITIONS = b"settling partitions [0, 1, 2, 3]"
WRONG_SECONDS = 300


@pytest.mark.parametrize("step", APP_STEPS)
async def test_an_app_is_killed_between_two_steps_of_an_order(houses: Houses, chaos: Chaos, step: str) -> None:
    count = chaos.scale(1, 20)
    async with houses.night(seats=chaos.scale(3000, 20_000)) as night:
        name = f"serve-{night.stack.serve_ports[0]}"
        async with night.crowd() as crowd:
            await crowd.paid(20)
            for _ in range(count):
                await dies(night, name, f"{step}:3")
                await night.stack.restart(name)
                await crowd.heals()
        findings = await night.close()
    chaos.row(f"an app is killed at {step}", count, findings)
    findings.assert_clean()


async def dies(night: Night, name: str, failpoint: str) -> None:
    """Starts it again, to die there; it may, before it was seen to live."""
    with suppress(Stopped):
        await night.stack.restart(name, failpoint)
    async with asyncio.timeout(DIE_SECONDS):
        assert await night.stack.child(name).wait() == -signal.SIGKILL


@pytest.mark.parametrize("step", SETTLE_STEPS)
async def test_settlement_is_killed_at_every_step(houses: Houses, chaos: Chaos, step: str) -> None:
    """Both processes, over and over, each in the middle of what the other left behind."""
    each = chaos.scale(1, 25)

    async def dies_often(name: str) -> None:
        for _ in range(each):
            await dies(night, name, f"{step}:{random.randint(1, 3)}")
        await night.stack.restart(name)

    async with houses.night() as night:
        async with night.crowd() as crowd:
            await crowd.paid(20)
            await asyncio.gather(*map(dies_often, SETTLES))
            await crowd.heals()
            await crowd.paid(20)
        findings = await night.close()
    chaos.row(f"settlement is killed at {step}", 2 * each, findings)
    findings.assert_clean()


@pytest.mark.parametrize("step", ["settle.fetched", "settle.charged"])
async def test_a_zombie_comes_back_to_partitions_that_another_has(houses: Houses, chaos: Chaos, step: str) -> None:
    """It stands still with a batch in hand until the other has settled that too, and then goes on with it."""
    count = chaos.scale(1, 10)
    async with houses.night() as night:
        async with night.crowd() as crowd:
            fenced = [await haunts(night, crowd, SETTLES[nth % 2], f"{step}:3:stop") for nth in range(count)]
        findings = await night.close()
    chaos.row(f"a zombie at {step}; {sum(fenced)} wrote and were fenced off", count, findings)
    findings.assert_clean()
    assert count == 1 or any(fenced)


async def haunts(night: Night, crowd: Crowd, name: str, failpoint: str) -> bool:
    """Whether the ledger fenced it off when it wrote; else it heard from Kafka first that its turn was over."""
    await crowd.paid(20)
    other = night.stack.child(next(each for each in SETTLES if each != name))
    zombie = await night.stack.restart(name, failpoint)
    async with asyncio.timeout(DIE_SECONDS):
        while not stands_still(zombie):
            await asyncio.sleep(0.05)
        if gateway_is_locked(night):
            os.kill(zombie.pid, signal.SIGCONT)
            return await haunts(night, crowd, name, failpoint)
        begun = time.monotonic()
        taken = times(other, ALL_PARTITIONS)  # until Kafka has missed it, nobody else has its partitions
        while times(other, ALL_PARTITIONS) == taken:
            await asyncio.sleep(0.05)
        owed = [guest for guest in crowd.guests if guest.unsettled]
        while any(guest.unsettled for guest in owed):
            await asyncio.sleep(0.05)
        crowd.healed.append(time.monotonic() - begun)
    assert stands_still(zombie)
    os.kill(zombie.pid, signal.SIGCONT)
    async with asyncio.timeout(DIE_SECONDS):
        while not zombie.said(b"settling partitions", times=2):
            assert zombie.running, zombie.last_lines()
            await asyncio.sleep(0.05)
    await crowd.heals()
    return zombie.said(b"has another consumer")


def times(child: Child, word: bytes) -> int:
    return child.log.read_bytes().count(word)


def gateway_is_locked(night: Night) -> bool:
    """The simulated gateway is a file, and who is frozen while it writes there keeps it from all others: no real one
    would stop for that."""
    file = sa.make_url(night.stack.settings().gateway_url).database
    assert file
    with closing(sqlite3.connect(file, timeout=0.5)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
    return False


def stands_still(child: Child) -> bool:
    stat = Path(f"/proc/{child.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize("seconds", [WRONG_SECONDS, -WRONG_SECONDS])
async def test_a_pod_has_the_wrong_time(tmp_path: Path, houses: Houses, chaos: Chaos, seconds: int) -> None:
    """Every other buyer is served by that pod alone."""
    paid = chaos.scale(40, 400)
    async with houses.night() as night:
        name = f"serve-{night.stack.serve_ports[0]}"
        async with night.otherwise(name, **clock(tmp_path, seconds)):
            wrong, right = await time_of_day(night, 0), await time_of_day(night, 1)
            async with night.crowd() as crowd:
                await crowd.paid(paid)
                await crowd.heals()
        findings = await night.close()
    chaos.row(f"an app's clock is {seconds} s off", paid, findings)
    assert abs((wrong - right).total_seconds() - seconds) < 30
    findings.assert_clean()


async def time_of_day(night: Night, pod: int) -> datetime:
    """As it tells everybody it answers."""
    answer = await night.house.client.get(f"{night.stack.urls[pod]}/livez")
    return parsedate_to_datetime(answer.headers["date"])


@pytest.mark.parametrize("seconds", [WRONG_SECONDS, -WRONG_SECONDS])
async def test_settlement_has_the_wrong_time(tmp_path: Path, houses: Houses, chaos: Chaos, seconds: int) -> None:
    """One of two; one charge in ten has to be tried again later, by the clock."""
    paid = chaos.scale(40, 400)
    faulty = {"BOXOFFICE_GATEWAY_FAULT_PER_MILLE": "100"}
    async with houses.night() as night:
        wrong, right = SETTLES
        async with (
            night.otherwise(wrong, **faulty, **clock(tmp_path, seconds)),
            night.otherwise(right, **faulty),
            night.crowd() as crowd,
        ):
            await crowd.paid(paid)
            await crowd.heals()
        findings = await night.close()
        lags = [lag for (lag,) in await night.orders("settled_ms - placed_ms")]
    chaos.row(f"a settle's clock is {seconds} s off", paid, findings)
    assert any(abs(lag / 1000 - seconds) < 60 for lag in lags), "it settled nothing"
    assert any(abs(lag / 1000) < 60 for lag in lags), "the other settled nothing"
    findings.assert_clean()


def clock(folder: Path, seconds: int) -> dict[str, str]:
    """The environment of a process with another time of day; what only measures time goes on, as it does on Linux."""
    code = f"""
        import time

        def shift(clock, by):
            return lambda: clock() + by

        time.time = shift(time.time, {seconds})
        time.time_ns = shift(time.time_ns, {seconds} * 10**9)
    """
    (folder / "sitecustomize.py").write_text(textwrap.dedent(code))
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
