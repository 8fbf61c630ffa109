"""One API server for all tests here, and a namespace of its own for each."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from boxoffice.kubeapi import Account, KubeApi, open_kube_api
from tests.cluster.cluster import Cluster
from tests.cluster.programs import ROOT
from tests.operator.apiserver import ApiServer

LOGS = ROOT / "build/apiserver-logs"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def apiserver(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ApiServer]:
    """For everybody: whoever stops one takes `own_apiserver`."""
    server = ApiServer(tmp_path_factory.mktemp("apiserver"))
    await server.start()
    yield server
    await server.stop()
    if request.session.testsfailed:
        keep_logs(server)


@pytest.fixture
async def own_apiserver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ApiServer]:
    failed = request.session.testsfailed
    server = ApiServer(tmp_path / "apiserver")
    await server.start()
    yield server
    await server.stop()
    if request.session.testsfailed > failed:
        keep_logs(server)


def keep_logs(server: ApiServer) -> None:
    """By the name of the test or of the worker that had the server."""
    shutil.copytree(server.folder / "log", LOGS / server.folder.parent.name, dirs_exist_ok=True)


@pytest.fixture
def cluster(apiserver: ApiServer) -> Cluster:
    """kubectl."""
    return apiserver.cluster


@pytest.fixture
def namespace(apiserver: ApiServer) -> str:
    """Nobody deletes it: that is a controller's work, and it goes with the server."""
    return apiserver.make_namespace()


@pytest.fixture
async def kube(apiserver: ApiServer, namespace: str) -> AsyncIterator[KubeApi]:
    """An admin's client, in the test's namespace."""
    async with open_kube_api(apiserver.admin(namespace)) as api:
        yield api


@pytest.fixture
def account(apiserver: ApiServer, namespace: str) -> Account:
    """The operator's, in the test's namespace."""
    return apiserver.account(namespace)
