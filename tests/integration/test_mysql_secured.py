"""MySQL by TLS: with the right authority, with a wrong one, and not at all."""

from __future__ import annotations

from asyncio.trsock import TransportSocket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from boxoffice.errors import LedgerUnavailable
from boxoffice.ledger import open_ledger
from boxoffice.local.mysql import LocalMySql
from boxoffice.migrations import migrate
from boxoffice.settings import Settings
from tests.integration.test_kafka_secured import write_certificates
from tests.servers_mysql import run_sql


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def secured(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMySql]:
    """With a certificate that an authority of ours signed; in the clear it lets nobody in over the network."""
    folder = tmp_path_factory.mktemp("secured")
    write_certificates(folder)
    files = {"ssl-ca": "ca.pem", "ssl-cert": "server.pem", "ssl-key": "server.key"}
    server = LocalMySql(folder / "mysql", [f"--{option}={folder / name}" for option, name in files.items()])
    await server.start()
    await run_sql(server, "SET GLOBAL require_secure_transport = ON")
    yield server
    await server.stop()


async def _socket(connection: AsyncConnection) -> TransportSocket:
    driver: Any = (await connection.get_raw_connection()).driver_connection
    socket: TransportSocket = driver._writer.get_extra_info("socket")
    return socket


async def test_by_tls_with_an_authority_that_vouches(secured: LocalMySql, settings: Settings) -> None:
    own = replace(settings, **secured.changes, ledger_ca_file=str(secured.data_dir.parent / "ca.pem"))
    await migrate(own)
    for reading in (False, True):
        ledger = await open_ledger(own, reading)
        assert await ledger.sales() == []
        async with ledger.reading() as connection:
            [(_, cipher)] = (await connection.execute(sa.text("SHOW STATUS LIKE 'Ssl_cipher'"))).all()
            socket = await _socket(connection)
        assert cipher
        await ledger.close()
        assert socket.fileno() == -1, "it is left open"


async def test_by_tls_with_an_authority_that_knows_nothing_of_it(
    tmp_path: Path, secured: LocalMySql, settings: Settings
) -> None:
    write_certificates(tmp_path)
    ledger = await open_ledger(replace(settings, **secured.changes, ledger_ca_file=str(tmp_path / "ca.pem")))
    with pytest.raises(LedgerUnavailable, match="certificate verify failed"):
        await ledger.sales()
    await ledger.close()


async def test_in_the_clear_where_the_server_wants_tls(secured: LocalMySql, settings: Settings) -> None:
    ledger = await open_ledger(replace(settings, **secured.changes))
    with pytest.raises(LedgerUnavailable, match="secure transport"):
        await ledger.sales()
    await ledger.close()
