"""The drill of docs/backup.md: the ledger's server and Redis are lost at once, and all there is are the copies."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from boxoffice.audit import AuditReport
from boxoffice.errors import Unavailable
from boxoffice.local.mysql import LocalMySql
from boxoffice.local.redis import LocalRedis
from boxoffice.stack import environment
from tests.chaos.conftest import Chaos
from tests.chaos.night import Night, open_night
from tests.integration.house import SALE

pytestmark = pytest.mark.asyncio(loop_scope="session")
"""The houses' own."""

HEAL_SECONDS = 90.0


async def test_ledger_and_redis_are_lost_at_once(tmp_path: Path, chaos: Chaos) -> None:
    """What was settled since the copy comes again from Kafka. What only the ledger knew, a refund, is to be
    asked for again, and the audit says which; an order that is settled again is declined, for it is paid back."""
    mysql = LocalMySql(tmp_path / "mysql")
    paid = chaos.scale(20, 200)
    async with open_night(tmp_path, mysql=mysql) as night:
        async with night.crowd() as crowd:
            await crowd.paid(20)
            copy = await copied(mysql, tmp_path / "copy")
            old = await night.house.orders()
            await crowd.paid(paid)
            await lose_and_restore(night, mysql, copy)
            await crowd.heals()
            await crowd.paid(10)
        findings = await night.close()
        chaos.row("MySQL and Redis are lost, a copy put back", 1, findings)
        findings.assert_clean()
        known = await night.house.orders()
        early, late = min(old), min(known.keys() - old.keys())
        for order in (early, late):
            await boxoffice(night, "orders", "refund", order, "--why", "a drill")
        await lose_and_restore(night, mysql, copy)
        report = await healed(night)
        assert {(d.kind, d.order) for d in report.differences} == {("ticket_without_charge", early)}
        await boxoffice(night, "audit", SALE, code=1)
        await boxoffice(night, "orders", "refund", early, "--why", "asked again")
        await boxoffice(night, "audit", SALE)
        orders = await night.house.orders()
    assert orders.keys() == known.keys()
    assert (orders[early], orders[late]) == ("refunded", "declined")


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


async def lose_and_restore(night: Night, mysql: LocalMySql, copy: Path) -> None:
    """Of MySQL's own disk and of Redis nothing is left."""
    begun, redis = time.monotonic(), night.engine(LocalRedis)
    await asyncio.gather(mysql.kill(), redis.kill())
    redis.wipe()
    shutil.rmtree(mysql.data_dir / "data")
    shutil.copytree(copy, mysql.data_dir / "data")
    settle = night.stack.child("settle")
    await settle.stop()  # nobody may settle before all is in again
    await asyncio.gather(mysql.start(), redis.start())
    await night.stack.restart("settle")
    print(f"restored in {time.monotonic() - begun:.1f} s")


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
