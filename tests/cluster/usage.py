"""python -m tests.cluster.usage [BUYERS]: what the pods take, idle and under load, for the chart's `resources`.

On the node, which must be up (python -m tests.cluster up), or where KUBECONFIG leads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource as limits
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator

from tests.cluster.cluster import Cluster, elsewhere
from tests.cluster.conftest import REGISTRY
from tests.cluster.crowd import Crowd, crowded
from tests.cluster.images import Images, in_cluster
from tests.cluster.node import Node
from tests.cluster.release import Release

UNITS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}
COMPONENTS = ("app", "admin", "settle")
CONNECTIONS, FULL = 10_000, 20_000
LOOK_SECONDS = 3.0
SETTLED_SECONDS = 20.0
"""Until metrics-server, which looks every 10 s, knows of nothing older."""


class Usage:
    """The most that one pod of each component was seen to take, by metrics-server."""

    def __init__(self, release: Release) -> None:
        self._release = release
        self.bytes: dict[str, float] = defaultdict(float)
        self.cpus: dict[str, float] = defaultdict(float)

    def look(self) -> None:
        selector = f"app.kubernetes.io/instance={self._release.name}"
        for pod in self._release.cluster.select("pods.metrics.k8s.io", selector, self._release.namespace):
            component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
            for container in pod["containers"]:
                self.bytes[component] = max(self.bytes[component], quantity(container["usage"]["memory"]))
                self.cpus[component] = max(self.cpus[component], quantity(container["usage"]["cpu"]))

    async def watch(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            await asyncio.to_thread(self.look)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), LOOK_SECONDS)

    def row(self, what: str) -> str:
        cells = [f"{self.bytes[c] / UNITS['Mi']:.0f} MiB, {self.cpus[c] * 1000:.0f} m" for c in COMPONENTS]
        return f"| {what} | {' | '.join(cells)} |"


def quantity(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)([a-zA-Z]*)", text)
    assert found, text
    return float(found[1]) * UNITS[found[2]]


@contextlib.asynccontextmanager
async def connected(host: str, count: int) -> AsyncIterator[None]:
    """So many connections on which nobody says anything."""
    most = limits.getrlimit(limits.RLIMIT_NOFILE)[1]
    limits.setrlimit(limits.RLIMIT_NOFILE, (most, most))
    idle = [await asyncio.open_connection(host, 8083) for _ in range(count)]
    try:
        yield
    finally:
        for _, writer in idle:
            writer.close()


@contextlib.asynccontextmanager
async def watched(release: Release, what: str) -> AsyncIterator[list[str]]:
    """Prints a row when the block is left, with what the block had to add."""
    usage, ended, notes = Usage(release), asyncio.Event(), list[str]()
    async with asyncio.TaskGroup() as group:
        group.create_task(usage.watch(ended))
        try:
            yield notes
        finally:
            ended.set()
    print(usage.row(", ".join([what, *notes])), flush=True)


async def measure(release: Release, buyers: int) -> None:
    print(f"| | {' | '.join(COMPONENTS)} |\n|---|{'---|' * len(COMPONENTS)}", flush=True)
    await asyncio.sleep(SETTLED_SECONDS)
    async with watched(release, "idle"):
        await asyncio.sleep(SETTLED_SECONDS)
    for count in (CONNECTIONS, FULL):
        await sit(release, count)
    for pods in (1, 3):
        await scale(release, pods)
        await meet(release, f"usage-{pods}", buyers, pods)


async def sit(release: Release, count: int) -> None:
    await scale(release, 1)
    host = release.pods("app")[0]["status"]["podIP"]
    async with watched(release, f"{count:,} idle connections"), connected(host, count):
        await asyncio.sleep(SETTLED_SECONDS)


async def scale(release: Release, pods: int) -> None:
    """To new pods: the old ones keep memory that they had use for before."""
    what = f"deployment/{release.full}-app"
    release.cluster.kubectl("scale", what, f"--replicas={pods}", namespace=release.namespace)
    await asyncio.to_thread(release.restart, "app")
    await asyncio.sleep(SETTLED_SECONDS)


async def meet(release: Release, sale: str, buyers: int, pods: int) -> None:
    release.apply(crowded(sale, seats=buyers))
    async with watched(release, f"{buyers:,} buyers, app pods: {pods}") as notes:
        began = time.monotonic()
        crowd = await asyncio.to_thread(Crowd, release, sale, BUYERS=str(buyers))
        code = await asyncio.to_thread(crowd.ended)
        assert code == 0, crowd.log()[-3000:]
        rate = re.search(r"http_reqs\.*: (\d+) ", crowd.log())
        assert rate
        notes.append(f"{rate[1]} requests in {time.monotonic() - began:.0f} s")
        await asyncio.to_thread(release.boxoffice, "audit", sale)


@contextlib.contextmanager
def reached() -> Iterator[Cluster]:
    if elsewhere():
        yield Cluster(os.environ, os.environ.get("BOXOFFICE_REGISTRY", REGISTRY))
        return
    node = Node(print)
    node.load(Images(print).make(in_cluster()))
    with node.cell.network():
        yield Cluster(node.environment, REGISTRY)


def main(buyers: str = "1000") -> None:
    with reached() as cluster, cluster.namespace() as namespace:
        release = Release(cluster, namespace)
        release.install({"dev": {"enabled": True}, "app": {"replicas": 1}, "settle": {"replicas": 1}})
        asyncio.run(measure(release, int(buyers)))


if __name__ == "__main__":
    main(*sys.argv[1:])
