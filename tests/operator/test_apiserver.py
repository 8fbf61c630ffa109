"""The bench itself: a real API server, on which the operator may do what the chart says and no more."""

from __future__ import annotations

import pytest

from boxoffice.errors import Unavailable
from boxoffice.kubeapi import Account, open_kube_api
from tests.cluster.cluster import Cluster
from tests.operator.apiserver import OPERATOR, ApiServer

SALES = "/apis/boxoffice.dev/v1alpha1/namespaces/{}/concertsales"


async def test_an_operators_pod_is_who_it_says(account: Account, namespace: str) -> None:
    async with open_kube_api(account) as api:
        assert (await api.ask("GET", SALES.format(namespace), 200)).json()["items"] == []
        with pytest.raises(Unavailable, match=f"403.*system:serviceaccount:{namespace}:{OPERATOR}"):
            await api.ask("GET", SALES.format("default"), 200)


def test_its_environment_leads_to_it(apiserver: ApiServer, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in apiserver.environment(account).items():
        monkeypatch.setenv(name, value)
    assert Account.of_this_pod() == account


async def test_stopped_and_started_it_is_the_same(own_apiserver: ApiServer) -> None:
    namespace = own_apiserver.make_namespace()
    async with open_kube_api(own_apiserver.account(namespace)) as api:
        await api.ask("GET", SALES.format(namespace), 200)
        await own_apiserver.stop()
        with pytest.raises(Unavailable, match="out of reach"):
            await api.ask("GET", SALES.format(namespace), 200)
        await own_apiserver.start()
        await api.ask("GET", SALES.format(namespace), 200)


def test_the_operator_may_do_what_the_chart_says_and_no_more(
    cluster: Cluster, namespace: str, account: Account
) -> None:
    def rights(name: str) -> set[str]:
        account = f"--as=system:serviceaccount:{namespace}:{name}"
        listed = cluster.kubectl("auth", "can-i", "--list", account, "--no-headers", namespace=namespace)
        return {" ".join(line.split()) for line in listed.splitlines()}

    assert rights(OPERATOR) - rights("somebody-else") == {
        "concertsales.boxoffice.dev [] [] [list watch patch]",
        "concertsales.boxoffice.dev/status [] [] [patch]",
        "events [] [] [create]",
        "leases.coordination.k8s.io [] [] [create]",
        f"leases.coordination.k8s.io [] [{OPERATOR}] [get update]",
        *(f"deployments.apps [] [boxoffice-{name}] [get]" for name in ("app", "settle")),
        *(f"deployments.apps/scale [] [boxoffice-{name}] [get patch]" for name in ("app", "settle")),
    }
