"""The operator: carries ConcertSales into the pods, and says in their status what is going on.

    kopf run --standalone --namespace shop operator/main.py

kopf watches; everything else is one loop of our own (loop.py), because a timer or daemon of kopf ends for good when
one patch of a status fails, and would put a finalizer on every sale.
"""

# ruff: noqa: E402
from __future__ import annotations

import sigterm  # noqa: F401  before all that takes long to import

# isort: split
import asyncio
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import kopf

from boxoffice import logs

logs.start(anew=True)  # in place of what kopf has set up, and before alembic is imported, which logs

from boxoffice import crd
from boxoffice.board import Board
from boxoffice.errors import ClusterUnavailable
from boxoffice.kubeapi import Account, KubeApi, open_kube_api
from boxoffice.ledger import Ledger, open_ledger
from boxoffice.migrations import check_tables
from boxoffice.probe import Readiness, serve_probes
from boxoffice.settings import Settings
from boxoffice.standby import persist
from boxoffice.store import Store
from boxoffice.tasks import end
from boxoffice.vitals import watch_loop
from loop import Loop
from prescale import Prescaler, targets
from prometheus import Prometheus, open_prometheus
from reconcile import Reconciler
from resources import Resources
from steering import Steering
from turn import Turn

API_SECONDS = 4.0
"""For one call of the Kubernetes API: a round makes several in a row, and must end."""
WATCH_SECONDS = 600

logger = logging.getLogger("boxoffice.operator")


class Patience:
    """Seconds between tries, without end: kopf ends the operator when they run out."""

    def __iter__(self) -> Iterator[float]:
        yield from (1, 1, 2, 3)
        while True:
            yield 5


class Operator:
    """What the handlers share."""

    def __init__(self) -> None:
        self.loop: Loop | None = None
        self.readiness = Readiness("the engines")
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Returns when all that is needed was there once; it may be away later."""
        settings = Settings.from_env()
        self.readiness.alive = lambda: self.loop is None or not self.loop.stuck
        await self._stack.enter_async_context(serve_probes(settings.host, settings.operator_port, self.readiness))
        api = await self._stack.enter_async_context(open_kube_api(Account.of_this_pod(), API_SECONDS))
        store = await persist(lambda: Store.open(settings), self.readiness)
        self._stack.push_async_callback(store.close)
        ledger = await persist(lambda: _open_ledger(settings), self.readiness)
        self._stack.push_async_callback(ledger.close)
        await persist(Resources(api).list, self.readiness)
        prometheus = None
        if settings.prometheus_url:
            prometheus = await self._stack.enter_async_context(open_prometheus(settings.prometheus_url))
        self._begin(api, settings, store, ledger, prometheus)
        self.readiness.waits_for = ""

    def _begin(
        self, api: KubeApi, settings: Settings, store: Store, ledger: Ledger, prometheus: Prometheus | None
    ) -> None:
        turn = Turn(api, settings.lease, os.environ.get("HOSTNAME") or socket.gethostname())
        self._stack.push_async_callback(_give_up, turn)
        reconciler = Reconciler(store, ledger, Board(store), Resources(api), turn, api.namespace)
        steering = Steering(store, turn, prometheus, settings.budget_max_active, _write_out)
        self.loop = Loop(reconciler, turn, steering, Prescaler(api, targets(settings.scales)))
        running = [asyncio.create_task(self.loop.run()), asyncio.create_task(watch_loop())]
        self._stack.push_async_callback(end, running)

    async def stop(self) -> None:
        await self._stack.aclose()


async def _open_ledger(settings: Settings) -> Ledger:
    await check_tables(settings)
    return await open_ledger(settings)


async def _give_up(turn: Turn) -> None:
    try:
        await turn.give_up()
    except ClusterUnavailable as error:
        logger.warning("the next operator waits until our Lease runs out: %s", error)


def _write_out(line: bytes) -> None:
    """The decision log is what stands on stdout; all else goes to stderr."""
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


operator = Operator()


@kopf.on.login()
def login(**_: Any) -> kopf.ConnectionInfo:
    """As our own calls do; asked again whenever the token is refused."""
    account = Account.of_this_pod()
    return kopf.ConnectionInfo(
        server=account.url, ca_path=str(account.ca_file), token=account.token(), default_namespace=account.namespace
    )


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
    for noisy in ("httpx2", "alembic", "kopf.objects"):  # a line for each call of the API, and for each event
        logging.getLogger(noisy).setLevel(logging.WARNING)
    settings.scanning.disabled = True  # a Role of one namespace is enough
    settings.posting.enabled = False
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = Patience()
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.client_timeout = WATCH_SECONDS + 60
    settings.process.ultimate_exiting_timeout = 20
    await operator.start()


@kopf.on.cleanup()
async def stop(**_: Any) -> None:
    await operator.stop()


@kopf.on.event(crd.GROUP, crd.VERSION, crd.PLURAL)
def changed(event: kopf.RawEvent, **_: Any) -> None:
    if operator.loop is not None:
        operator.loop.saw(event["type"], dict(event["object"]))
