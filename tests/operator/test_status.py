"""What the operator writes into a status, as a real API server keeps it."""

from __future__ import annotations

from boxoffice.kubeapi import KubeApi
from boxoffice.status import AdmissionStatus, Seats, Status
from resources import Resources
from tests.cluster.cluster import Cluster
from tests.integration.house import SALE, resource


async def test_what_is_none_now_takes_the_place_of_what_there_was(
    kube: KubeApi, cluster: Cluster, namespace: str
) -> None:
    cluster.apply(resource(), namespace=namespace)
    busy = AdmissionStatus(active=2, active_target=50, per_minute=7, limited_by="SoldOut", reason="sold")
    over = Status(admission=AdmissionStatus(active_target=50), seats=Seats(total=30, sold=30))
    resources = Resources(kube)
    await resources.write_status(SALE, Status(admission=busy, seats=Seats(total=30, held=1, sold=29), waiting=18))
    await resources.write_status(SALE, over)
    assert (await resources.list())[SALE].status == over
