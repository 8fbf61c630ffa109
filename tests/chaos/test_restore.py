"""The drill of docs/backup.md: the ledger's server and Redis are lost at once, and all there is are the copies."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import aiomysql  # type: ignore[import-untyped]
import pytest

from boxoffice.audit import AuditReport
from boxoffice.errors import Unavailable
from boxoffice.local import installed
from boxoffice.local.mysql import LocalMySql
from boxoffice.local.redis import LocalRedis
from boxoffice.stack import environment
from tests.chaos.conftest import Chaos
from tests.chaos.night import Night, open_night
from tests.integration.house import SALE

pytestmark = pytest.mark.asyncio(loop_scope="session")
"""The houses' own."""

HEAL_SECONDS = 90.0


@pytest.mark.filterwarnings("ignore::pymysql.err.Warning")  # of words that mysqlbinlog still uses
@pytest.mark.parametrize("binlog", [False, True], ids=["last night's copy", "and the binary log"])
async def test_ledger_and_redis_are_lost_at_once(tmp_path: Path, chaos: Chaos, binlog: bool) -> None:
    """With the copy alone what was settled since comes again from Kafka. What only the ledger knew, a refund, is to be
    asked for again, and the audit says which; of an order that is settled again the gateway says that it is paid back.
    With the binary log nothing is missing."""
    mysql = LocalMySql(tmp_path / "mysql")
    paid = chaos.scale(20, 200)
    async with open_night(tmp_path, mysql=mysql) as night:
        async with night.crowd() as crowd:
            await crowd.paid(20)
            copy = await copied(mysql, tmp_path / "copy")
            old = await night.house.orders()
            await crowd.paid(paid)
            await lose_and_restore(night, mysql, copy, binlog)
            await crowd.heals()
            await crowd.paid(10)
        findings = await night.close()
        chaos.row(f"MySQL and Redis are lost, {'copy and binary log' if binlog else 'copy'} put back", 1, findings)
        findings.assert_clean()
        known = await night.house.orders()
        early, late = min(old), min(known.keys() - old.keys())
        for order in (early, late):
            await boxoffice(night, "orders", "refund", order, "--why", "a drill")
        await lose_and_restore(night, mysql, copy, binlog)
        report = await healed(night)
        if not binlog:
            assert {(d.kind, d.order) for d in report.differences} == {("ticket_without_charge", early)}
            await boxoffice(night, "audit", SALE, code=1)
            await boxoffice(night, "orders", "refund", early, "--why", "asked again")
        await boxoffice(night, "audit", SALE)
        orders = await night.house.orders()
    assert orders.keys() == known.keys()
    assert (orders[early], orders[late]) == ("refunded", "refunded" if binlog else "declined")


async def boxoffice(night: Night, *argv: str, code: int = 0) -> None:
    """As an SRE types it; `pytest -s` shows what they read."""
    command, env = [sys.executable, "-m", "boxoffice", *argv], environment(night.stack.settings())
    done = await asyncio.to_thread(subprocess.run, command, env=env, capture_output=True, text=True, timeout=60)
    print(f"$ boxoffice {' '.join(argv)}\n{done.stdout}", end="")
    assert done.returncode == code, done.stderr


async def copied(mysql: LocalMySql, to: Path) -> Path:
    await mysql.stop()
    shutil.copytree(mysql.data_dir / "data", to)
    await mysql.start()
    return to


async def lose_and_restore(night: Night, mysql: LocalMySql, copy: Path, binlog: bool) -> None:
    """Of MySQL's own disk nothing is left; the binary log was kept elsewhere, as it must be."""
    begun, redis = time.monotonic(), night.engine(LocalRedis)
    await asyncio.gather(mysql.kill(), redis.kill())
    redis.wipe()
    data, kept = mysql.data_dir / "data", copy.parent / "binlogs"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    for log in newer(data, copy):
        shutil.copy(log, kept)
    shutil.rmtree(data)
    shutil.copytree(copy, data)
    settle = night.stack.child("settle")
    await settle.stop()  # nobody may settle before the binary log is in again
    await asyncio.gather(mysql.start(), redis.start())
    if binlog:
        await replay(mysql, sorted(kept.iterdir()))
    await night.stack.restart("settle")
    print(f"restored in {time.monotonic() - begun:.1f} s")


def newer(data: Path, copy: Path) -> Sequence[Path]:
    """The binary logs since the copy: each start of the server begins another one."""
    return [log for log in data.glob("binlog.[0-9]*") if not (copy / log.name).exists()]


async def replay(mysql: LocalMySql, logs: Sequence[Path]) -> None:
    """`mysqlbinlog LOG … | mysql`, of which the latter is not among the test's servers."""
    done = await asyncio.to_thread(subprocess.run, [*mysqlbinlog(), *logs], capture_output=True, text=True, check=True)
    connection = await aiomysql.connect(host="127.0.0.1", port=mysql.port, user="root", autocommit=True)
    try:
        async with connection.cursor() as cursor:
            for statement in statements(done.stdout):
                await cursor.execute(statement)
    finally:
        connection.close()


def statements(script: str) -> Iterator[str]:
    """Of a script for the client `mysql`, which may change what ends a statement."""
    end, lines = ";", list[str]()
    for line in script.splitlines():
        if line.startswith("DELIMITER "):
            end = line.split()[1]
        elif line and not line.startswith(("#", "/*!\\C ")):  # comments, and the client's own command
            lines.append(line.removesuffix(end))
            if line.endswith(end):
                yield "\n".join(lines)
                lines.clear()


def mysqlbinlog() -> list[str | Path]:
    """With the libraries that were unpacked beside it."""
    home = installed(LocalMySql.title)
    [loader] = [path for path in home.glob("usr/lib/*/ld-linux*.so.*") if not path.is_symlink()]
    return [loader, "--library-path", loader.parent, home / "usr/bin/mysqlbinlog"]


async def healed(night: Night) -> AuditReport:
    async with asyncio.timeout(HEAL_SECONDS):
        while True:
            try:
                report = await night.house.audit(SALE)
            except Unavailable:
                pass
            else:
                if not report.in_flight:
                    return report
            await asyncio.sleep(0.5)
