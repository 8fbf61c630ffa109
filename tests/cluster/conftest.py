"""One cluster for all tests here: our own node, or the one that KUBECONFIG leads to.

With BOXOFFICE_KEEP_NODE=1 the node stays, and the next run begins with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.alone import alone
from tests.cluster.cluster import Cluster, elsewhere
from tests.cluster.images import Images, in_cluster
from tests.cluster.machine import Machine
from tests.cluster.node import Node
from tests.cluster.programs import programs
from tests.cluster.release import Release

REGISTRY = "localhost/boxoffice"


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Only who asks for these tests gets a node: pytest tests/cluster."""
    return None if any("cluster" in argument for argument in config.invocation_params.args) else True


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """To the terminal, past what pytest captures."""
    capture = pytestconfig.pluginmanager.get_plugin("capturemanager")
    terminal = pytestconfig.pluginmanager.get_plugin("terminalreporter")
    assert capture
    assert terminal

    def line(what: str) -> None:
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(f"node: {what}")
            terminal.flush()

    return line


@pytest.fixture(scope="session")
def machine() -> Machine:
    """As it was before the node."""
    return Machine.look()


@pytest.fixture(scope="session")
def own_node(request: pytest.FixtureRequest, say: Callable[[str], None]) -> Iterator[Node | None]:
    """This thread is on its network for as long as there are tests; None where KUBECONFIG leads elsewhere."""
    if elsewhere():
        yield None
        return
    if os.getuid():
        pytest.exit("the cluster tests make a node of their own as root, or run where KUBECONFIG leads", returncode=2)
    node = Node(say)
    with alone("node", say):
        images = Images(say).make(in_cluster())
        if node.kept and node.is_up:
            node.load(images)
            node.free_volumes()
        else:
            node.stop()
            request.getfixturevalue("machine")
            node.start(images)
        try:
            with node.cell.network():
                yield node
        finally:
            if os.environ.get("BOXOFFICE_KEEP_NODE"):
                node.keep()
            elif not node.kept:
                node.stop(keep_logs=request.session.testsfailed > 0)


@pytest.fixture(scope="session")
def node(own_node: Node | None) -> Node:
    if own_node is None:
        pytest.skip("only on a node of our own")
    return own_node


@pytest.fixture(scope="session")
def before(node: Node, machine: Machine) -> Machine:
    if machine.processes:
        pytest.skip("the node was there before us (BOXOFFICE_KEEP_NODE)")
    return machine


@pytest.fixture(scope="session")
def cluster(own_node: Node | None, say: Callable[[str], None]) -> Cluster:
    if own_node:
        return Cluster(own_node.environment, REGISTRY)
    path = os.environ["PATH"]
    if not (shutil.which("kubectl") and shutil.which("helm")):
        path = f"{path}:{programs('tools', 'api')}"
    there = Cluster({**os.environ, "PATH": path}, os.environ.get("BOXOFFICE_REGISTRY", REGISTRY))
    load_into_kind(there, say)
    return there


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


def load_into_kind(cluster: Cluster, say: Callable[[str], None]) -> None:
    """Any other cluster finds our images in its registry, which BOXOFFICE_REGISTRY names."""
    kind, _, name = cluster.kubectl("config", "current-context").strip().partition("-")
    if kind == "kind":
        for archive in Images(say).make(in_cluster()):
            subprocess.run(["kind", "load", "image-archive", archive, f"--name={name}"], check=True)


@pytest.fixture(scope="session")
def installed(cluster: Cluster, say: Callable[[str], None]) -> Iterator[tuple[Release, float]]:
    """With its engines, in a namespace where restricted PodSecurity is enforced; and how long that took."""
    with cluster.namespace() as namespace:
        release = Release(cluster, namespace)
        seconds = release.install({"dev": {"enabled": True}})
        say(f"helm install with its engines: {seconds:.0f} s")
        yield release, seconds


@pytest.fixture(scope="session")
def box(installed: tuple[Release, float]) -> Release:
    return installed[0]


@pytest.fixture(scope="session")
def install_seconds(installed: tuple[Release, float]) -> float:
    return installed[1]
