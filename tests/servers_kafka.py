"""One Kafka a run, for whoever asks; who stops, wipes or kills one starts their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from boxoffice.local.kafka import LocalKafka


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalKafka]:
    server = LocalKafka(tmp_path_factory.mktemp("kafka"))
    await server.start()
    yield server
    await server.stop()
