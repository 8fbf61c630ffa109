"""The ledger's database fails under a crowd: gone, standing still, deadlocking."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from boxoffice.database import connect
from boxoffice.local.mysql import LocalMySql
from boxoffice.tasks import end
from tests.chaos.conftest import Chaos
from tests.chaos.night import open_night


async def test_mysql_is_gone(tmp_path: Path, chaos: Chaos) -> None:
    mysql, seconds = LocalMySql(tmp_path / "mysql"), chaos.scale(3, 60)
    async with open_night(tmp_path, mysql=mysql) as night:
        async with night.crowd() as crowd:
            await crowd.paid(20)
            await mysql.kill()
            await asyncio.sleep(seconds)
            await mysql.start()
            await crowd.heals()
            await crowd.paid(20)
        findings = await night.close()
    chaos.row(f"MySQL is gone for {seconds} s", 1, findings)
    findings.assert_clean()


async def test_mysql_stands_still(tmp_path: Path, chaos: Chaos) -> None:
    """Every call takes two seconds longer while it does, and is answered."""
    mysql, count = LocalMySql(tmp_path / "mysql"), chaos.scale(1, 10)
    async with open_night(tmp_path, mysql=mysql) as night:
        async with night.crowd() as crowd:
            for _ in range(count):
                await crowd.paid(20)
                mysql.pause()
                await asyncio.sleep(2)
                mysql.resume()
                await crowd.heals()
            await crowd.paid(20)
        findings = await night.close()
    chaos.row("MySQL stands still for 2 s", count, findings)
    findings.assert_clean()


async def test_mysql_deadlocks(tmp_path: Path, chaos: Chaos) -> None:
    """Somebody locks what settlement writes to, in the wrong order, over and over."""
    mysql, paid = LocalMySql(tmp_path / "mysql"), chaos.scale(40, 400)
    async with open_night(tmp_path, mysql=mysql) as night:
        async with night.crowd() as crowd:
            await crowd.paid(10)
            quarrel = asyncio.create_task(lock_for_ever(mysql.url))
            await crowd.paid(paid)
            await end([quarrel])
            await crowd.heals()
        findings = await night.close()
    chaos.row("MySQL deadlocks", paid, findings)
    findings.assert_clean()


async def lock_for_ever(url: str) -> None:
    engine = connect(url)
    try:
        while True:
            with suppress(DBAPIError):
                async with engine.begin() as connection:
                    for table in ("sales", "positions"):
                        await connection.execute(sa.text(f"SELECT * FROM {table} FOR UPDATE"))
                        await asyncio.sleep(random.uniform(0.01, 0.2))
    finally:
        await engine.dispose()
