"""Pods before the crowd: real Deployments and autoscalers of a real API server, moved with the chart's rights alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from boxoffice.kubeapi import Account
from tests.cluster.cluster import Resource
from tests.integration.house import resource
from tests.operator.apiserver import ApiServer, rights
from tests.operator.office import Office, open_office

SCALES = "app=Deployment/boxoffice-app:2,settle=Deployment/boxoffice-settle:1"


def deployment(name: str, replicas: int) -> Resource:
    labels = {"app": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "it", "image": "none"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod},
    }


@pytest.fixture
async def office(apiserver: ApiServer, account: Account, tmp_path: Path) -> AsyncIterator[Office]:
    pods = deployment("boxoffice-app", 2), deployment("boxoffice-settle", 1)
    apiserver.cluster.apply(*pods, namespace=account.namespace)
    async with open_office(apiserver, account, tmp_path, scales=SCALES) as office:
        yield office


def sale(**replicas: int) -> Resource:
    """Opens in five minutes."""
    opens = datetime.now(UTC) + timedelta(minutes=5)
    times: dict[str, Any] = {"opensTime": opens.isoformat(), "closesTime": (opens + timedelta(hours=1)).isoformat()}
    return resource(prescale={"minutesBefore": 10, "replicas": replicas}, **times)


def numbers(office: Office) -> tuple[int, int]:
    return (
        office.cluster.get("deployment", "boxoffice-app", office.account.namespace)["spec"]["replicas"],
        office.cluster.get("deployment", "boxoffice-settle", office.account.namespace)["spec"]["replicas"],
    )


def say_ready(office: Office, name: str, count: int) -> None:
    """What the controllers would."""
    status = {"status": {"replicas": count, "readyReplicas": count, "availableReplicas": count}}
    patch = ["--subresource=status", "--type=merge", f"--patch={json.dumps(status)}"]
    office.kubectl("patch", "deployment", name, *patch)


async def test_pods_are_there_before_the_crowd_and_go_after_it(office: Office) -> None:
    office.apply(sale(app=6, settle=3))
    await office.until(lambda: numbers(office) == (6, 3))
    await office.until_condition("Prescaled", "False", "PodsStarting")
    say_ready(office, "boxoffice-app", 6)
    say_ready(office, "boxoffice-settle", 3)
    await office.until_condition("Prescaled", "True", "PodsReady")
    office.patch({"prescale": {"replicas": {"app": 4}}})
    await office.until(lambda: numbers(office) == (4, 3))
    office.patch({"policy": "Closed"})
    await office.until(lambda: numbers(office) == (2, 1))
    await office.until_condition("Prescaled", "Unknown", "PrescaleNotDue")


async def test_a_new_operator_lowers_what_another_one_raised(office: Office) -> None:
    office.apply(sale(app=6))
    await office.until(lambda: numbers(office) == (6, 1))
    await office.operator.stop()
    office.patch({"policy": "Closed"})
    await office.start()
    await office.until(lambda: numbers(office) == (2, 1))


async def test_the_floor_of_an_autoscaler_is_its_minimum(
    apiserver: ApiServer, account: Account, tmp_path: Path
) -> None:
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "boxoffice-app"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "boxoffice-app"},
            "minReplicas": 2,
            "maxReplicas": 5,
        },
    }
    cluster, namespace = apiserver.cluster, account.namespace
    cluster.apply(autoscaler, deployment("boxoffice-app", 2), namespace=namespace)
    cluster.apply(*rights(namespace, "--set=app.autoscaling.kind=HPA"), namespace=namespace)
    scales = "app=HorizontalPodAutoscaler/boxoffice-app:2"

    def least() -> int:
        return int(cluster.get("hpa", "boxoffice-app", namespace)["spec"]["minReplicas"])

    async with open_office(apiserver, account, tmp_path, scales=scales) as office:
        office.apply(sale(app=9))
        await office.until(lambda: least() == 5)
        office.patch({"policy": "Closed"})
        await office.until(lambda: least() == 2)
