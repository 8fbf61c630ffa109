"""Redis fails under a crowd: killed, wiped, behind by a second, still answering when another is the master."""

from __future__ import annotations

from pathlib import Path

from boxoffice.local.redis import LocalRedis
from tests.chaos.conftest import Chaos
from tests.chaos.night import open_night


async def test_redis_is_killed_and_reads_its_file(tmp_path: Path, chaos: Chaos) -> None:
    redis, count = LocalRedis(tmp_path / "redis"), chaos.scale(1, 10)
    async with open_night(tmp_path, redis=redis) as night:
        async with night.crowd() as crowd:
            for _ in range(count):
                await crowd.paid(20)
                await redis.kill()
                await redis.start()
                await crowd.heals()
        findings = await night.close()
    chaos.row("Redis is killed and reads its file", count, findings)
    findings.assert_clean()
