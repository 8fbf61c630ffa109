"""The ledger's database fails under a crowd: gone, standing still, deadlocking."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import sqlalchemy as sa
from pymysql.constants import ER  # type: ignore[import-untyped]
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from boxoffice.database import connect
from boxoffice.local.mysql import LocalMySql
from boxoffice.tasks import end
from tests.chaos.conftest import Chaos
from tests.chaos.night import open_night
from tests.servers_mysql import run_sql


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
    """Somebody locks what settlement writes to, in the other order, over and over."""
    mysql, paid = LocalMySql(tmp_path / "mysql"), chaos.scale(40, 400)
    async with open_night(tmp_path, mysql=mysql) as night:
        async with night.crowd() as crowd:
            await crowd.paid(10)
            quarrel = Quarrel(mysql)
            await crowd.paid(paid)
            ours = await quarrel.end()
            await crowd.heals()
        findings = await night.close()
    chaos.row("MySQL deadlocks, settlement gives way", ours, findings)
    findings.assert_clean()
    assert ours > 0, "settlement was never in a deadlock"


class Quarrel:
    """Locks all tickets, and then what settlement locks first. With so many rows of its own that InnoDB mostly
    takes the other one back."""

    def __init__(self, mysql: LocalMySql) -> None:
        self._mysql = mysql
        self._lost = 0
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await run_sql(self._mysql, "CREATE TABLE boxoffice.quarrel (id INT PRIMARY KEY)")
        engine = connect(self._mysql.url)
        try:
            while True:
                async with engine.connect() as connection:
                    await connection.execution_options(isolation_level="REPEATABLE READ")
                    await self._lock(connection)
                    await connection.rollback()
        finally:
            await engine.dispose()

    async def _lock(self, connection: AsyncConnection) -> None:
        try:
            await connection.execute(sa.text("INSERT INTO quarrel VALUES (:id)"), [{"id": i} for i in range(1000)])
            await connection.execute(sa.text("SELECT * FROM tickets FOR UPDATE"))
            await asyncio.sleep(random.uniform(0.01, 0.2))
            await connection.execute(sa.text("SELECT * FROM positions FOR UPDATE"))
        except DBAPIError as error:
            self._lost += _is_deadlock(error)

    async def end(self) -> int:
        """How many deadlocks were not decided against us."""
        await end([self._task])
        count = "SELECT count FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'"
        [[(all_of_them,)]] = await run_sql(self._mysql, count)
        return int(str(all_of_them)) - self._lost


def _is_deadlock(error: DBAPIError) -> bool:
    return error.orig is not None and error.orig.args[0] == ER.LOCK_DEADLOCK
