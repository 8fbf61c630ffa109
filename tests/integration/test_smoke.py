"""The smoke test walks the whole way, says where it is blocked, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from boxoffice import smoke as smoke_module
from boxoffice.console import open_office
from boxoffice.stack import environment, own_environment
from tests.integration.house import House, open_house
from tests.integration.keys import read_keys


def smoke(house: House, url: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "boxoffice", "smoke", "--url", url or house.stack.urls[0]]
    env = environment(house.stack.settings())
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


async def test_walks_from_enter_to_paid_and_leaves_nothing(tmp_path: Path) -> None:
    async with open_house(tmp_path, gateway_latency_ms=1) as house:
        done = smoke(house)
        assert done.returncode == 0, done.stderr
        steps = [line.partition(":")[0] for line in done.stdout.splitlines() if not line.startswith("{")]
        assert steps == ["enter", "wait", "admit", "hold", "pay", "settle", "audit", "erased"]
        for table in ("sales", "orders", "tickets", "checkpoints", "samples"):
            assert await house.ledger(f"SELECT * FROM {table}") == []
        assert [state for _, _, state in await house.charges()] == ["refunded"]
        async with house.store() as store:
            kept = [key for key in await read_keys(store) if b"smoke-" in key]
            assert all([await store.execute("PTTL", key) > 0 for key in kept]), "what tells the pods goes by itself"
        listed = (await house.client.get(f"{house.stack.urls[0]}/api/v1/sales")).json()
        assert listed == {"sales": []}


async def test_says_where_the_way_is_blocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke_module, "STEP_SECONDS", 1.0)
    async with open_house(tmp_path, gateway_latency_ms=1) as house:
        for name, text in own_environment(house.stack.settings()).items():
            monkeypatch.setenv(name, text)
        async with open_office() as office:
            with pytest.raises(smoke_module.Failed, match="enter: POST /places was not answered"):
                await smoke_module.smoke(office, "http://127.0.0.1:9", print)
        assert await house.ledger("SELECT * FROM sales") == []
