"""Our own processes die, stand still or have the wrong time, with a crowd at the door."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxoffice.engines import embedded
from tests.chaos.conftest import Chaos
from tests.chaos.night import open_night

APP_STEPS = ("pay.recorded", "pay.published", "pay.marked")


@pytest.mark.parametrize("step", APP_STEPS)
async def test_an_app_is_killed_between_two_steps_of_an_order(tmp_path: Path, chaos: Chaos, step: str) -> None:
    count = chaos.scale(1, 20)
    async with open_night(tmp_path, engines=embedded(tmp_path)) as night:
        name = f"serve-{night.stack.serve_ports[0]}"
        async with night.crowd() as crowd:
            await crowd.paid(20)
            for _ in range(count):
                dying = await night.stack.restart(name, failpoint=f"{step}:3")
                assert await dying.wait() == -9
                await night.stack.restart(name)
                await crowd.heals()
        findings = await night.close()
    chaos.row(f"an app is killed at {step}", count, findings)
    findings.assert_clean()
