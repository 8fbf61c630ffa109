"""Redis by TLS, with a password."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio

from boxoffice.embedded import EmbeddedStore
from boxoffice.errors import StoreUnavailable
from boxoffice.local.redis import LocalRedis
from boxoffice.ports import free_ports
from boxoffice.settings import Settings
from boxoffice.store import Store
from tests.integration.house import SALE, resource
from tests.integration.pod import open_pod, settings_of
from tests.integration.test_kafka_secured import write_certificates

USER, PASSWORD = "boxoffice", "correct%20horse"
SHOWN = "correct horse"
"""The password as Redis has it; in an address it is written otherwise."""


@dataclass
class Secured:
    folder: Path
    server: LocalRedis
    port: int
    """Of TLS; the other one of `server` is for those in the house."""

    def settings(self, account: str, ca: str = "ca.pem", scheme: str = "rediss", host: str = "127.0.0.1") -> Settings:
        usual = settings_of(cast(EmbeddedStore, self.server))
        url = f"{scheme}://{account}{host}:{self.port}/0"
        return replace(usual, store_url=url, store_ca_file=str(self.folder / ca) if ca else "")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def secured(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    write_certificates(folder)
    (folder / "strangers").mkdir()
    write_certificates(folder / "strangers")
    [port] = free_ports(1)
    options = {
        "tls-port": str(port),
        "tls-cert-file": str(folder / "server.pem"),
        "tls-key-file": str(folder / "server.key"),
        "tls-ca-cert-file": str(folder / "ca.pem"),
        "tls-auth-clients": "no",
    }
    server = LocalRedis(folder / "redis", options=options)
    await server.start()
    await server.processes[0].ask("ACL", "SETUSER", USER, "on", f">{SHOWN}", "~*", "&*", "+@all")
    await server.processes[0].ask("CONFIG", "SET", "requirepass", SHOWN)
    yield Secured(folder, server, port)
    await server.stop()


@pytest.mark.parametrize("user", ["", USER])
async def test_all_goes_by_tls(secured: Secured, user: str) -> None:
    """What many share, and what has a connection of its own."""
    async with open_pod(secured.settings(f"{user}:{PASSWORD}@")) as pod:
        await pod.apply(resource())
        buyer = pod.buyer()
        await buyer.enter()
        hold = (await buyer.hold(count=2)).json()
        answer = await buyer.pay(hold["id"], "a key")
        assert (answer.status_code, answer.json()["state"]) == (202, "accepted"), answer.text
        [order] = await pod.store.keys(SALE, "order:")
        client = await pod.store.client(pod.store.key(SALE, "sale"))
        assert await client.hget(order, "state") == b"accepted"
        guests = await client.client_list()
        assert len(guests) >= 2
        assert {guest["laddr"] for guest in guests} == {f"127.0.0.1:{secured.port}"}


@pytest.mark.parametrize(
    ("account", "ca", "scheme", "why"),
    [
        ("", "ca.pem", "rediss", "does not let us in: NOAUTH"),
        (":wrong@", "ca.pem", "rediss", "does not let us in: WRONGPASS"),
        (f"nobody:{PASSWORD}@", "ca.pem", "rediss", "does not let us in: WRONGPASS"),
        (f":{PASSWORD}@", "strangers/ca.pem", "rediss", "certificate verify failed"),
        (f":{PASSWORD}@", "", "rediss", "certificate verify failed"),
        (f":{PASSWORD}@", "", "redis", "broke"),
    ],
)
async def test_the_wrong_ones_stay_outside(secured: Secured, account: str, ca: str, scheme: str, why: str) -> None:
    """And are told why, without the password."""
    with pytest.raises(StoreUnavailable, match=why) as refusal:
        await Store.open(secured.settings(account, ca, scheme))
    assert PASSWORD not in str(refusal.value)
    assert SHOWN not in str(refusal.value)


async def test_a_certificate_of_another_host_is_refused(secured: Secured) -> None:
    """It vouches for 127.0.0.1, not for the name."""
    with pytest.raises(StoreUnavailable, match="certificate"):
        await Store.open(secured.settings(f":{PASSWORD}@", host="localhost"))
