"""The alerts of the operator, seen firing and resolving as `tests/alerts` sees the others: by a real operator that is
gone, or whose Prometheus is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from boxoffice.kubeapi import Account
from boxoffice.local.prometheus import LocalPrometheus
from tests.alerts.watch import Watch, open_watch
from tests.integration.house import SALE, resource
from tests.operator.apiserver import ApiServer
from tests.operator.office import Office, open_office
from tests.servers_prometheus import Exporter

SIGNALS = [{"name": "DatabaseCpu", "kind": "Utilisation", "query": "cpu", "setpoint": 700}]
TWO_ROUNDS = 20.0
"""Seconds: the operator looks at all sales every ten, here too."""


@asynccontextmanager
async def watched(office: Office, folder: Path) -> AsyncIterator[Watch]:
    ports = {"app": office.house.stack.serve_ports, "operator": [office.port]}
    targets = {job: [f"127.0.0.1:{port}" for port in of] for job, of in ports.items()}
    async with open_watch(folder, targets, at_least=TWO_ROUNDS) as watch:
        yield watch


async def test_signals_are_stale_and_the_operator_is_silent(
    apiserver: ApiServer, account: Account, tmp_path: Path
) -> None:
    async with Exporter(lambda: "cpu 0.35\n").open() as exporter:
        signals = LocalPrometheus(tmp_path / "signals", {"database": [f"127.0.0.1:{exporter.port}"]})
        await signals.start()
        async with (
            open_office(apiserver, account, tmp_path, prometheus_url=signals.url) as office,
            watched(office, tmp_path) as watch,
        ):
            office.apply(resource(signals=SIGNALS, admission={"mode": "Auto", "initialActive": 100}))
            await office.until_known_by_all()
            await signals.stop()
            await watch.fires("SignalsStale", "ticket", SALE, saying=": DatabaseCpu")
            await signals.start()
            await watch.resolves("SignalsStale", "ticket", SALE)
            await office.operator.kill()
            await watch.fires("OperatorSilent")
            await office.start()
            await watch.resolves("OperatorSilent")
