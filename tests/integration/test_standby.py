"""A process whose secret, engine or tables are missing says which, is alive and not ready, and goes on by itself."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from boxoffice.database import connect
from boxoffice.embedded import Child, EmbeddedStore
from boxoffice.migrations import check_tables, migrate
from boxoffice.ports import free_ports
from boxoffice.settings import Settings
from boxoffice.stack import environment

PORTS = {"serve": "port", "admin": "admin_port", "settle": "settle_port"}


@pytest.fixture
def whole(tmp_path: Path) -> Settings:
    """Of a process that has all it needs but a store and tables."""
    return Settings(
        instance="standby",
        ledger_url=f"sqlite+aiosqlite:///{tmp_path}/ledger.db",
        gateway_url=f"sqlite+aiosqlite:///{tmp_path}/gateway.db",
        keys="t1:" + "5e" * 32,
        place_key="5e" * 32,
    )


class Process:
    def __init__(self, child: Child, url: str) -> None:
        self.child, self.url = child, url

    async def ready(self) -> tuple[int, str]:
        async with httpx2.AsyncClient() as client:
            answer = await client.get(f"{self.url}/readyz")
        return answer.status_code, answer.text

    async def until(self, status: int, what: str = "") -> None:
        """`/readyz` answers so."""
        async with asyncio.timeout(30):
            while True:
                try:
                    if (found := await self.ready())[0] == status and what in found[1]:
                        return
                except httpx2.TransportError:
                    assert self.child.running, self.child.last_lines()
                await asyncio.sleep(0.05)

    async def alive(self) -> bool:
        async with httpx2.AsyncClient() as client:
            return (await client.get(f"{self.url}/livez")).status_code == 200

    def log(self) -> str:
        return self.child.log.read_text()


@asynccontextmanager
async def process(command: str, settings: Settings, folder: Path, **env: str) -> AsyncIterator[Process]:
    [port] = free_ports(1)
    changes: dict[str, Any] = {PORTS[command]: port}
    variables = {name: text for name, text in environment(replace(settings, **changes)).items() if text} | env
    child = Child(command, [sys.executable, "-m", "boxoffice", command], folder / f"{command}.log", variables)
    await child.start()
    try:
        yield Process(child, f"http://127.0.0.1:{port}")
    finally:
        await child.stop()


@pytest.mark.parametrize("command", PORTS)
async def test_a_store_that_comes_late(whole: Settings, tmp_path: Path, command: str) -> None:
    store = EmbeddedStore(tmp_path / "valkey", free_ports(1)[0])
    await migrate(whole)
    async with process(command, replace(whole, store_url=store.url), tmp_path) as waiting:
        await waiting.until(503, f"Redis is out of reach at 127.0.0.1:{store.port}")
        assert await waiting.alive()
        await store.start()
        try:
            await waiting.until(200)
            assert waiting.log().count("waiting: Redis") == 1, "said once, not once a second"
            assert await waiting.child.stop() == (0 if command == "settle" else -signal.SIGTERM)
        finally:
            await store.stop()


async def test_a_secret_that_comes_late(whole: Settings, valkey: EmbeddedStore, tmp_path: Path) -> None:
    file = tmp_path / "shop-keys" / "keys"
    missing = {"BOXOFFICE_KEYS_FILE": str(file)}
    async with process("serve", replace(whole, store_url=valkey.url, keys=""), tmp_path, **missing) as waiting:
        await waiting.until(503, str(file))
        file.parent.mkdir()
        file.write_text(whole.keys)
        await waiting.until(200)
    assert f"waiting: BOXOFFICE_KEYS_FILE: {file} cannot be read: No such file" in waiting.log()


@pytest.mark.parametrize("command", ["admin", "settle"])
async def test_a_ledger_that_is_not_migrated(
    whole: Settings, valkey: EmbeddedStore, tmp_path: Path, command: str
) -> None:
    settings = replace(whole, store_url=valkey.url)
    async with process(command, settings, tmp_path) as waiting:
        await waiting.until(503, "the ledger is at revision none")
        await migrate(settings)
        await waiting.until(200)


async def test_who_is_told_to_go_while_waiting_goes(whole: Settings, tmp_path: Path) -> None:
    async with process("serve", replace(whole, store_url="redis://127.0.0.1:9/0"), tmp_path) as waiting:
        await waiting.until(503)
        assert await waiting.child.stop() == 0


async def test_a_wrong_setting_is_no_reason_to_wait(whole: Settings, valkey: EmbeddedStore, tmp_path: Path) -> None:
    async with process("serve", replace(whole, store_url=valkey.url, keys="k1:short"), tmp_path) as process_:
        assert await process_.child.wait() == 1
        assert "BOXOFFICE_KEYS must be" in process_.log().splitlines()[-1]


async def test_a_newer_ledger_is_worked_with_and_left_as_it_is(whole: Settings) -> None:
    """A release is gone back to; its tables stay."""
    await migrate(whole)
    engine = connect(whole.ledger_url)
    newer = sa.text("UPDATE alembic_version SET version_num = '9999'")
    async with engine.execution_options(writes=True).begin() as connection:
        await connection.execute(newer)
    await check_tables(whole)
    await migrate(whole)
    async with engine.connect() as connection:
        assert await connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == "9999"
    await engine.dispose()
