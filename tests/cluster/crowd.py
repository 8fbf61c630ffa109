"""The crowd of manifests/load, as users get it: only names are changed."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import yaml

from boxoffice.witnesses import Story
from tests.cluster.cluster import Resource
from tests.cluster.programs import ROOT
from tests.cluster.release import Release
from tests.integration.house import resource

JOB = ROOT / "manifests/load/job.yaml"
STARTS_SECONDS, ENDS_SECONDS = 60, 600


class Crowd:
    """In the release's namespace, from when its pod runs. `settings`: in place of the manifest's own."""

    def __init__(self, release: Release, sale: str, **settings: str) -> None:
        self._cluster, self._namespace = release.cluster, release.namespace
        names = {"BASES": f"http://{release.full}-app", "SALE": sale}
        self._cluster.apply(job(sale, self._cluster.image("k6"), names | settings), namespace=self._namespace)
        selector = f"job-name=crowd-{sale}"
        self._cluster.wait(f"job/crowd-{sale}", "jsonpath={.status.active}=1", self._namespace)
        [pod] = self._cluster.select("pod", selector, self._namespace)
        self._pod = f"pod/{pod['metadata']['name']}"
        self._until("{.status.containerStatuses[0].state.running}", STARTS_SECONDS)

    def ended(self) -> int:
        """k6's exit code: 0 when no threshold was crossed."""
        self._until("{.status.containerStatuses[0].state.terminated}", ENDS_SECONDS)
        pod = self._cluster.get("pod", self._pod.removeprefix("pod/"), self._namespace)
        return int(pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"])

    def log(self) -> str:
        return self._cluster.logs(self._pod, self._namespace)

    def _until(self, there: str, seconds: int) -> None:
        self._cluster.wait(self._pod, f"jsonpath={there}", self._namespace, seconds)


def job(sale: str, image: str, environment: dict[str, str]) -> Resource:
    found: Resource = yaml.safe_load(JOB.read_text())
    found["metadata"]["name"] = f"crowd-{sale}"
    [k6] = found["spec"]["template"]["spec"]["containers"]
    k6["image"] = image
    given = {variable["name"]: variable["value"] for variable in k6["env"]} | environment
    k6["env"] = [{"name": name, "value": value} for name, value in given.items()]
    return found


def stories(log: str) -> Iterator[Story]:
    return (msgspec.json.decode(line, type=Story) for line in log.splitlines() if line.startswith("{"))


def crowded(sale: str, seats: int = 1000) -> Resource:
    """A sale for it: to the app all its buyers have one address, and whoever dawdles is not waited for long."""
    return resource(
        seats=seats,
        name=sale,
        line={"claimSeconds": 15},
        hold={"seconds": 10, "maxSeatsPerBuyer": 4},
        abuse={"joinsPerMinutePerAddress": 100000, "proofOfWork": "Off"},
    )
