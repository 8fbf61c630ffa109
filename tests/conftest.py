"""Real servers for the tests: one Valkey a run, and for each test an instance prefix of its own on it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import hypothesis
import pytest
import pytest_asyncio

from boxoffice.embedded import EmbeddedStore
from boxoffice.ledger import Ledger, open_ledger
from boxoffice.migrations import migrate
from boxoffice.settings import Settings
from boxoffice.store import Store

# A busy machine is no failure; a test that fails says how to see it again.
hypothesis.settings.register_profile("boxoffice", deadline=None, print_blob=True)
hypothesis.settings.load_profile("boxoffice")

pytest_plugins = ["tests.servers_kafka", "tests.servers_mysql", "tests.servers_redis"]

KEYS = "t1:" + "5e" * 32


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def valkey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedStore]:
    """For everybody: whoever stops, wipes or kills a server starts one of their own."""
    server = EmbeddedStore(tmp_path_factory.mktemp("valkey") / "data")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def settings_for(tmp_path: Path) -> Callable[[EmbeddedStore], Settings]:
    def settings(server: EmbeddedStore) -> Settings:
        return Settings(
            instance=f"t{secrets.token_hex(4)}",
            store_url=server.url,
            ledger_url=f"sqlite+aiosqlite:///{tmp_path}/ledger.db",
            gateway_url=f"sqlite+aiosqlite:///{tmp_path}/gateway.db",
            gateway_latency_ms=0,
            recovery_wait_seconds=0.2,
            settle_port=0,
            insecure_cookies=True,
            keys=KEYS,
        )

    return settings


@pytest.fixture
def settings(valkey: EmbeddedStore, settings_for: Callable[[EmbeddedStore], Settings]) -> Settings:
    return settings_for(valkey)


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    store = await Store.open(settings)
    yield store
    await store.close()


@pytest.fixture
async def ledger(settings: Settings) -> AsyncIterator[Ledger]:
    await migrate(settings)
    ledger = await open_ledger(settings)
    yield ledger
    await ledger.close()
