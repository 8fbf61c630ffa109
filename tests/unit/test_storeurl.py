"""The address of Redis says all that is needed to reach it, and a wrong one is told so without its password."""

from __future__ import annotations

import pytest

from boxoffice.errors import BadInput
from boxoffice.settings import Settings
from boxoffice.storeurl import Address, StoreUrl


def parsed(url: str) -> StoreUrl:
    return StoreUrl.of(Settings(store_url=url))


def test_one_server() -> None:
    url = parsed("redis://me:p%40ss@store:6380/3")
    assert (url.kind, url.addresses) == ("", (Address("store", 6380),))
    assert (url.access.user, url.access.password, url.access.database, url.access.tls) == ("me", "p@ss", 3, None)


def test_sentinels_and_the_master_that_they_name() -> None:
    url = parsed("redis+sentinel://:secret@a:1,b/tickets/2")
    assert (url.kind, url.master, url.access.database) == ("sentinel", "tickets", 2)
    assert url.addresses == (Address("a", 1), Address("b", 26379))
    assert url.access.password == "secret"


def test_nodes_of_a_cluster_by_tls() -> None:
    url = parsed("rediss+cluster://[::1]:7000,b:7001")
    assert (url.kind, url.addresses) == ("cluster", (Address("::1", 7000), Address("b", 7001)))
    assert url.access.tls is not None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "store:6379",
        "http://store",
        "redis://",
        "redis://:secret@a,b/0",
        "redis://:secret@store:99999",
        "redis://:secret@store/zero",
        "redis+sentinel://:secret@a:1",
        "redis+cluster://:secret@a:1/2",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(BadInput, match="BOXOFFICE_STORE_URL") as error:
        parsed(url)
    assert "secret" not in str(error.value)
