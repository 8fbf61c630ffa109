"""What happens to a release while a crowd is at it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.release import Release

EVERY_SECONDS = 10.0
UNCAPPED = "2"
"""As many cores as there are: a limit that was given once can be raised, not taken away."""


@contextmanager
def deleting(release: Release, *components: str) -> Iterator[list[str]]:
    """A pod every ten seconds, the oldest of each component in turn, until the block ends. Names those deleted."""
    ended, deleted = threading.Event(), list[str]()
    thread = threading.Thread(target=_delete, args=(release, components, ended, deleted))
    thread.start()
    try:
        yield deleted
    finally:
        ended.set()
        thread.join()


def _delete(release: Release, components: tuple[str, ...], ended: threading.Event, deleted: list[str]) -> None:
    turn = 0
    while not ended.wait(EVERY_SECONDS):
        pods = sorted(
            release.pods(components[turn % len(components)]), key=lambda pod: pod["metadata"]["creationTimestamp"]
        )
        name = pods[0]["metadata"]["name"]
        release.cluster.kubectl("delete", "pod", name, "--wait=false", namespace=release.namespace)
        deleted.append(name)
        turn += 1


@contextmanager
def without(release: Release, component: str) -> Iterator[None]:
    """No pod of it, until the block ends."""
    what = f"deployment/{release.full}-{component}"
    usual = len(release.pods(component))
    release.cluster.kubectl("scale", what, "--replicas=0", namespace=release.namespace)
    try:
        yield
    finally:
        scale(release, component, usual)


def scale(release: Release, component: str, count: int) -> None:
    """As an autoscaler does; returns when so many are ready."""
    what = f"deployment/{release.full}-{component}"
    release.cluster.kubectl("scale", what, f"--replicas={count}", namespace=release.namespace)
    release.cluster.rolled_out(what, release.namespace)


def lose_engine(release: Release, engine: str) -> None:
    """Its pod at once, as a node that is gone takes it; returns when there is another one, with the same volume."""
    name = f"{release.full}-{engine}-0"
    release.cluster.kubectl("delete", "pod", name, "--grace-period=0", "--force", namespace=release.namespace)
    release.cluster.rolled_out(f"statefulset/{release.full}-{engine}", release.namespace)


@contextmanager
def capped(release: Release, cores: str) -> Iterator[None]:
    """So much CPU for MySQL at most, in place: its pod stays."""
    _limit(release, cores)
    try:
        yield
    finally:
        _limit(release, UNCAPPED)


def _limit(release: Release, cores: str) -> None:
    pod = f"{release.full}-mysql-0"
    change = {"spec": {"containers": [{"name": "mysql", "resources": {"limits": {"cpu": cores}}}]}}
    patch = ("patch", "pod", pod, "--subresource=resize", f"--patch={json.dumps(change)}")
    release.cluster.kubectl(*patch, namespace=release.namespace)
    in_force = 'jsonpath={.status.containerStatuses[?(@.name=="mysql")].resources.limits.cpu}=' + cores
    release.cluster.wait(f"pod/{pod}", in_force, release.namespace)


def until_scaled(release: Release, component: str, count: int, seconds: float = 120) -> None:
    """By an autoscaler: so many pods, all ready."""
    deadline = time.monotonic() + seconds
    while (found := _ready(release, component)) != (count, count):
        assert time.monotonic() < deadline, f"{found} of {count} {component} pods are there and ready"
        time.sleep(1)


def _ready(release: Release, component: str) -> tuple[int, int]:
    deployment = release.cluster.get("deployment", f"{release.full}-{component}", release.namespace)
    return deployment["spec"]["replicas"], deployment["status"].get("readyReplicas", 0)


def allow_at_most(release: Release, component: str, count: int) -> None:
    """Of its HorizontalPodAutoscaler."""
    name, patch = f"{release.full}-{component}", json.dumps({"spec": {"minReplicas": 1, "maxReplicas": count}})
    release.cluster.kubectl("patch", "hpa", name, "--type=merge", f"--patch={patch}", namespace=release.namespace)
