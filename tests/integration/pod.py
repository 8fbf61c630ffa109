"""One pod in this process: the real app under the real uvicorn on a port of its own, on the Valkey of the run."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2
import msgspec
import uvicorn
from starlette.applications import Starlette

from boxoffice.app import build_app
from boxoffice.context import Context
from boxoffice.embedded import EmbeddedStore
from boxoffice.errors import PROBLEM_TYPE
from boxoffice.sale import parse_sale, record_of
from boxoffice.seating import Seating
from boxoffice.settings import Settings
from boxoffice.store import Store
from tests.conftest import KEYS
from tests.integration.buyer import Buyer
from tests.integration.house import SALE, NoJar

PLACE_KEY = "a7" * 32


def settings_of(server: EmbeddedStore, **changes: Any) -> Settings:
    """An instance of its own on that server; every test's buyers have addresses of their own."""
    given = {"keys": KEYS, "place_key": PLACE_KEY, "insecure_cookies": True, "trusted_proxies": "127.0.0.1/32"}
    return Settings(instance=f"t{secrets.token_hex(4)}", store_url=server.url, **{**given, **changes})


async def lay_out(store: Store, document: dict[str, Any]) -> None:
    """Makes the sale in Redis alone: these tests settle nothing, so they need no ledger."""
    sale = parse_sale(msgspec.json.encode(document))
    name, seating = sale.metadata.name, Seating.of(sale.spec)
    spec = msgspec.json.encode(sale.spec)
    identity = ("", secrets.token_hex(16), seating.digest, seating.total, spec, 0)
    target = sale.spec.admission.initial_active
    await store.call("apply", name, *identity, target, *record_of(sale.spec))
    await store.add_name(name)


class Pod:
    def __init__(self, url: str, app: Starlette, client: httpx2.AsyncClient) -> None:
        self.url, self.client = url, client
        self.context: Context = app.state.context

    @property
    def store(self) -> Store:
        return self.context.store

    def buyer(self, sale: str = SALE) -> Buyer:
        return Buyer(self.client, self.url, sale)

    async def apply(self, *documents: dict[str, Any]) -> None:
        for document in documents:
            await lay_out(self.store, document)
        async with asyncio.timeout(60):
            while not all(self.knows(document["metadata"]["name"]) for document in documents):
                await self.beat()

    def knows(self, sale: str) -> bool:
        view = self.context.board.views.get(sale)
        return view is not None and view.ready

    async def beat(self) -> None:
        """A snapshot of now or later: the next one may have been asked for already."""
        for _ in range(2):
            before = self.context.board.last_beat
            while self.context.board.last_beat == before:
                await asyncio.sleep(0.02)


def _server(app: Starlette) -> uvicorn.Server:
    """Keeps connections as long as the real one: one that ends just as a buyer uses it is no answer."""
    given: dict[str, Any] = {"http": "httptools", "ws": "none", "lifespan": "on", "log_level": "warning"}
    return uvicorn.Server(uvicorn.Config(app, access_log=False, timeout_keep_alive=75, **given))


def _listening() -> socket.socket:
    """Requests wait in it until the server is there. asyncio sets TCP_NODELAY only where TCP is said outright."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(1024)
    return listening


@asynccontextmanager
async def open_pod(settings: Settings) -> AsyncIterator[Pod]:
    app = build_app(settings)
    server = _server(app)
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=200)
    with _listening() as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        serving = asyncio.create_task(server.serve([listening]))
        async with httpx2.AsyncClient(limits=limits, timeout=20, cookies=NoJar()) as client:
            first = asyncio.create_task(client.get(f"{url}/livez"))
            await asyncio.wait((serving, first), return_when=asyncio.FIRST_COMPLETED)
            assert (await first).status_code == 200
            yield Pod(url, app, client)
        server.should_exit = True
        await serving


@contextmanager
def pod_in_thread(settings: Settings) -> Iterator[tuple[asyncio.AbstractEventLoop, Pod]]:
    """For tests that cannot await: the pod turns in a loop of its own."""
    started = threading.Event()
    state: dict[str, Any] = {}

    async def turn() -> None:
        state["loop"], state["stop"] = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with open_pod(settings) as pod:
                state["pod"] = pod
                started.set()
                await state["stop"].wait()
        finally:
            started.set()

    thread = threading.Thread(target=asyncio.run, args=(turn(),))
    thread.start()
    started.wait()
    try:
        yield state["loop"], state["pod"]
    finally:
        state["loop"].call_soon_threadsafe(state["stop"].set)
        thread.join()


def refused(answer: httpx2.Response, status: int, *codes: str) -> dict[str, Any]:
    """Is a problem document that says so; gives it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    problem = dict(answer.json())
    assert problem["status"] == status
    assert problem["code"] in codes
    assert problem["type"] == PROBLEM_TYPE + problem["code"]
    assert problem["title"]
    assert problem["detail"]
    return problem
