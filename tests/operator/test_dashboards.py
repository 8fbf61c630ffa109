"""The dashboards over a sale with everything: the operator reads its signals from the Prometheus that scrapes it."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from boxoffice.kubeapi import Account
from boxoffice.local.prometheus import LocalPrometheus
from boxoffice.ports import free_ports
from tests.integration.boards import buy, database_page, open_boards, targets
from tests.integration.house import resource
from tests.operator.apiserver import ApiServer
from tests.operator.office import Office, open_office
from tests.servers_prometheus import Exporter

BUYERS = 16
AUTO = {"mode": "Auto", "initialActive": 8, "minActive": 4, "fallbackActive": 4, "maxActive": 100}
SIGNALS = [
    {
        "name": "LedgerPool",
        "kind": "Utilisation",
        "setpoint": 800,
        "query": "max(boxoffice_ledger_pool_in_use / boxoffice_ledger_pool_size)",
    }
]
SECONDS = 90.0


async def sell(office: Office) -> None:
    office.apply(resource(seats=BUYERS, signals=SIGNALS, admission=AUTO))
    await office.until_known_by_all()
    await office.until_state("open")
    await asyncio.gather(*(buy(office.house, nth) for nth in range(BUYERS)))


async def test_every_query_has_data(apiserver: ApiServer, account: Account, tmp_path: Path) -> None:
    server = LocalPrometheus(tmp_path / "prometheus", {})
    [server.port] = free_ports(1)
    async with (
        open_office(apiserver, account, tmp_path, prometheus_url=server.url) as office,
        Exporter(partial(database_page, office.house)).open() as database,
    ):
        server.targets = targets(office.house, operator=office.port, mysql=database.port)
        try:
            await server.start()
            async with open_boards(server) as boards:
                await sell(office)
                await boards.until_all_have_data(SECONDS)
                assert not await boards.unknown_names()
        finally:
            await server.stop()
