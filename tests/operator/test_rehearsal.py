"""`kubectl sale rehearse` on a real API server with a real operator and a real crowd; where a kubelet would run the
crowd's pod and what is called in the admin pod, the test does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from boxoffice.embedded import Child, k6_binary, shipped
from boxoffice.stack import environment
from tests.cluster.cluster import Cluster, Resource
from tests.integration.house import resource
from tests.operator.apiserver import ApiServer
from tests.operator.office import LOOK_SECONDS, Office, open_office
from tests.operator.test_kubectl_sale import SALE_COMMAND, deployment, labels

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEATS, BUYERS = 20, 40
ORIGINAL = "harbour"
# A stand-in for kubelet's part of kubectl alone: `exec` runs here, with the admin pod's settings, and `logs` gives the
# crowd's.
KUBECTL = """#!{python}
import os, sys
words = sys.argv[1:]
if "exec" in words:
    command = words[words.index("--") + 1:]
    os.execve(sys.executable, [sys.executable, "-m", *command], {admin!r})
if "logs" in words:
    os.execv("/bin/cat", ["cat", {stories!r}])
os.execv({kubectl!r}, ["kubectl", *words])
"""


class Stage:
    def __init__(self, office: Office, folder: Path) -> None:
        self.office, self.folder = office, folder
        self.stories, self.bin = folder / "stories", folder / "bin"
        self.namespace = office.account.namespace
        self.started: list[subprocess.Popen[str]] = []
        self._seen: set[str] = set()
        self._write_kubectl()

    @property
    def cluster(self) -> Cluster:
        return self.office.cluster

    def _write_kubectl(self) -> None:
        real = shutil.which("kubectl", path=self.cluster.environment["PATH"])
        admin = environment(self.office.house.stack.settings())
        self.bin.mkdir()
        program = KUBECTL.format(python=sys.executable, admin=admin, stories=str(self.stories), kubectl=real)
        (self.bin / "kubectl").write_text(program)
        (self.bin / "kubectl").chmod(0o755)

    def start(self, *words: str) -> subprocess.Popen[str]:
        env = {**self.cluster.environment, "PATH": f"{self.bin}:{self.cluster.environment['PATH']}", "COLUMNS": "200"}
        command = [*SALE_COMMAND, "rehearse", ORIGINAL, f"--namespace={self.namespace}", f"--buyers={BUYERS}", *words]
        pipe = subprocess.PIPE
        self.started.append(subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True))
        return self.started[-1]

    async def job(self) -> Resource:
        """The next one; that of a test that failed may still be there."""
        async with asyncio.timeout(300):
            while not (new := await self._new_jobs()):
                await asyncio.sleep(LOOK_SECONDS)
        self._seen.add(new[0]["metadata"]["name"])
        return new[0]

    async def _new_jobs(self) -> list[Resource]:
        jobs = await asyncio.to_thread(self.cluster.select, "job", "", self.namespace)
        return [job for job in jobs if job["metadata"]["name"] not in self._seen]

    def close(self) -> None:
        for process in self.started:
            process.kill()
            if process.stdout and not process.stdout.closed:
                process.communicate()

    async def play(self, job: Resource) -> int:
        """As the kubelet would; the app is elsewhere here, and half a minute of arrivals is long."""
        [k6] = job["spec"]["template"]["spec"]["containers"]
        given = {each["name"]: each["value"] for each in k6["env"]}
        here = {"BASES": ",".join(self.office.house.stack.urls), "RAMP_SECONDS": "3"}
        words = [word for word in k6["args"] if not word.startswith("/")]
        script = shipped("load", k6["args"][-1].rpartition("/")[2])
        command: list[str | Path] = [k6_binary(), *words, f"--console-output={self.stories}", script]
        child = Child("k6", command, self.folder / "k6.log", {**os.environ, **given, **here})
        await child.start()
        return await child.wait()

    def end(self, job: Resource) -> None:
        now = "2030-01-01T00:00:00Z"
        condition = {"status": "True", "lastProbeTime": now, "lastTransitionTime": now}
        conditions = [{"type": kind, **condition} for kind in ("SuccessCriteriaMet", "Complete")]
        status = {"startTime": now, "completionTime": now, "succeeded": 1, "conditions": conditions}
        where = ("job", job["metadata"]["name"], "--subresource=status", "--type=merge")
        self.office.kubectl("patch", *where, f"--patch={json.dumps({'status': status})}")

    def left(self) -> list[str]:
        """Jobs, and sales but the original."""
        found = self.cluster.select("job", "", self.namespace) + self.cluster.select("csale", "", self.namespace)
        return [each["metadata"]["name"] for each in found if each["metadata"]["name"] != ORIGINAL]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(apiserver: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder, account = tmp_path_factory.mktemp("stage"), apiserver.account(apiserver.make_namespace())
    async with open_office(apiserver, account, folder, gateway_latency_ms=1) as office:
        hold, line = {"seconds": 5, "maxSeatsPerBuyer": 4}, {"claimSeconds": 15}
        office.apply(resource(seats=SEATS, name=ORIGINAL, opens_in=900, hold=hold, line=line))
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "shop-app", "labels": labels("app")},
            "spec": {"ports": [{"port": 80}]},
        }
        office.apply(deployment("app", 1), deployment("admin", 1), service)
        await office.until_condition("Ready", "True", name=ORIGINAL)
        with contextlib.closing(Stage(office, folder)) as stage:
            yield stage


async def test_a_rehearsal_is_played_judged_and_leaves_nothing(stage: Stage, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    rehearsing = stage.start("--html", str(page))
    job = await stage.job()
    name = job["metadata"]["name"]
    [k6] = job["spec"]["template"]["spec"]["containers"]
    assert k6["image"] == "boxoffice-k6:1"
    assert {"name": "BASES", "value": "http://shop-app:80"} in k6["env"]
    assert await stage.play(job) == 0
    await asyncio.to_thread(stage.end, job)
    out, err = await asyncio.to_thread(rehearsing.communicate)
    assert err == ""
    assert rehearsing.returncode == 0, out
    for words in (f"concertsale.boxoffice.dev/{name} created", "kept    every seat is sold", f"{name} erased"):
        assert words in out
    assert "BROKEN" not in out
    assert "every promise was kept" in page.read_text()
    assert stage.left() == []
    await nothing_is_left(stage, name)


async def nothing_is_left(stage: Stage, name: str) -> None:
    house = stage.office.house
    [(original, uid)] = await house.ledger("SELECT name, uid FROM sales")
    assert original == ORIGINAL
    for table in ("orders", "tickets", "samples", "checkpoints"):
        assert await house.ledger(f"SELECT * FROM {table} WHERE sale_uid <> :uid", uid=uid) == []
    assert "paid" not in [state for _, _, state in await house.charges()]
    async with house.store() as store:
        assert await store.names() == {ORIGINAL}
        assert not await store.execute("EXISTS", store.key(name, "sale"))


async def test_a_crowd_that_cannot_start_is_said_and_taken_away(stage: Stage) -> None:
    rehearsing = stage.start("--image=nowhere/k6:1")
    name = (await stage.job())["metadata"]["name"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "crowd", "labels": {"job-name": name}},
        "spec": {"containers": [{"name": "k6", "image": "nowhere/k6:1"}]},
    }
    waiting = {"reason": "ErrImagePull", "message": "no such image"}
    container = {"name": "k6", "image": "nowhere/k6:1", "imageID": "", "ready": False, "restartCount": 0}
    status = {"status": {"containerStatuses": [{**container, "state": {"waiting": waiting}}]}}
    stage.office.apply(pod)
    stage.office.kubectl(
        "patch", "pod", "crowd", "--subresource=status", "--type=merge", f"--patch={json.dumps(status)}"
    )
    _, err = await asyncio.to_thread(rehearsing.communicate)
    says = "the crowd's pod does not start: ErrImagePull: no such image; --image names another"
    assert (rehearsing.returncode, err) == (1, f"kubectl sale: {says}\n")
    assert stage.left() == []
    await nothing_is_left(stage, name)
