"""What happens to a release while a crowd is at it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.release import Release

EVERY_SECONDS = 10.0


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
    """So much CPU for MySQL at most: another pod of it, before and after."""
    _limit(release, cores)
    try:
        yield
    finally:
        _limit(release, "0")


def _limit(release: Release, cores: str) -> None:
    what = f"statefulset/{release.full}-mysql"
    limits = ("set", "resources", what, "--containers=mysql", f"--limits=cpu={cores}")
    release.cluster.kubectl(*limits, namespace=release.namespace)
    release.cluster.rolled_out(what, release.namespace)
