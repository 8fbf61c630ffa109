"""Whose turn it is, by a Lease of the real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from boxoffice.errors import ClusterUnavailable
from boxoffice.kubeapi import Account, KubeApi, open_kube_api
from tests.cluster.cluster import Cluster
from turn import LEASE_SECONDS, Turn

LEASE = "boxoffice-operator"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def api(account: Account) -> AsyncIterator[KubeApi]:
    async with open_kube_api(account) as api:
        yield api


async def test_the_first_takes_it_and_keeps_it(api: KubeApi, cluster: Cluster) -> None:
    turn = Turn(api, LEASE, "one")
    await turn.renew()
    await turn.renew()
    assert turn.writer == 1
    assert cluster.get("lease", LEASE, api.namespace)["spec"]["holderIdentity"] == "one"


async def test_the_second_waits_until_the_first_is_silent_by_its_own_clock(api: KubeApi) -> None:
    clock = Clock()
    one, two = Turn(api, LEASE, "one"), Turn(api, LEASE, "two", clock)
    await one.renew()
    await two.renew()
    clock.now += LEASE_SECONDS - 1
    await one.renew()
    await two.renew()
    clock.now += LEASE_SECONDS - 1
    await two.renew()
    assert (one.writer, two.writer) == (1, 0)
    clock.now += 2
    await two.renew()
    assert two.writer == 2
    await one.renew()
    assert one.writer == 0


async def test_given_up_it_is_free_at_once(api: KubeApi) -> None:
    one, two = Turn(api, LEASE, "one"), Turn(api, LEASE, "two")
    await one.renew()
    await one.give_up()
    await two.renew()
    assert (one.writer, two.writer) == (0, 2)


async def test_a_process_that_begins_anew_in_the_same_pod_takes_a_new_turn_at_once(api: KubeApi) -> None:
    await Turn(api, LEASE, "one").renew()
    again = Turn(api, LEASE, "one")
    await again.renew()
    assert again.writer == 2


async def test_of_two_at_once_one_has_it(api: KubeApi) -> None:
    one, two = Turn(api, LEASE, "one"), Turn(api, LEASE, "two")
    await one.renew()
    await one.give_up()
    lease = (await api.ask("GET", f"{one._path}/{LEASE}", 200)).json()
    await two.renew()
    await one._write(lease, 2)  # by what it read before the other one wrote
    assert (one.writer, two.writer) == (0, 2)


async def test_a_lease_made_anew_goes_on_above_the_number_that_redis_knows(api: KubeApi, cluster: Cluster) -> None:
    turn = Turn(api, LEASE, "one")
    await turn.renew()
    cluster.kubectl("delete", "lease", LEASE, namespace=api.namespace)
    again = Turn(api, LEASE, "two")
    await again.renew()
    assert again.writer == 1
    await again.outbid(7)
    assert again.writer == 8
    await turn.outbid(8)
    assert turn.writer == 0


async def test_without_the_api_the_turn_stays(account: Account, api: KubeApi) -> None:
    turn = Turn(api, LEASE, "one")
    await turn.renew()
    nowhere = Account("https://127.0.0.1:1", account.folder, account.namespace)
    async with open_kube_api(nowhere) as away:
        turn._api = away
        with pytest.raises(ClusterUnavailable):
            await turn.renew()
    assert turn.writer == 1
