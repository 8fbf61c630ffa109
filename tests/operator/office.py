"""A box office with an operator that looks after a namespace of a real API server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from boxoffice.embedded import Child, answers
from boxoffice.kubeapi import Account
from boxoffice.ports import free_ports
from tests.cluster.cluster import Cluster, Resource
from tests.cluster.programs import ROOT
from tests.integration.house import SALE, House, open_house
from tests.operator.apiserver import ApiServer

LOOK_SECONDS = 0.05


class Office:
    def __init__(self, house: House, apiserver: ApiServer, account: Account, folder: Path) -> None:
        self.house, self.apiserver, self.account, self.folder = house, apiserver, account, folder
        self.port, self.other_port = free_ports(2)
        self.operator = self.make_operator("first", self.port)

    @property
    def cluster(self) -> Cluster:
        return self.apiserver.cluster

    def make_operator(self, name: str, port: int, **env: str) -> Child:
        command: list[str | Path] = [sys.executable, "-m", "kopf", "run", "--standalone"]
        command += ["--namespace", self.account.namespace, ROOT / "operator/main.py"]
        settings = {
            f"BOXOFFICE_{key.upper()}": str(value) for key, value in asdict(self.house.stack.settings()).items()
        }
        told = {
            "HOSTNAME": name,
            "BOXOFFICE_OPERATOR_PORT": str(port),
            **self.apiserver.environment(self.account),
            **env,
        }
        return Child(name, command, self.folder / f"operator-{name}.log", {**os.environ, **settings, **told})

    async def start(self, operator: Child | None = None, port: int = 0) -> None:
        await (operator or self.operator).start(lambda: answers(f"http://127.0.0.1:{port or self.port}/readyz"))

    def freeze(self) -> None:
        os.kill(self.operator.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.operator.pid, signal.SIGCONT)

    def apply(self, *documents: Resource) -> None:
        self.cluster.apply(*documents, namespace=self.account.namespace)

    def kubectl(self, *words: str) -> str:
        return self.cluster.kubectl(*words, namespace=self.account.namespace)

    def patch(self, spec: dict[str, Any], name: str = SALE) -> None:
        self.kubectl("patch", "csale", name, "--type=merge", f"--patch={json.dumps({'spec': spec})}")

    def replace(self, document: Resource) -> None:
        """As `kubectl replace` does: what the document does not have is taken away."""
        self.cluster.kubectl(
            "replace", "--filename=-", namespace=self.account.namespace, input=yaml.safe_dump(document)
        )

    def get(self, name: str = SALE) -> Resource:
        return self.cluster.get("concertsale", name, self.account.namespace)

    def condition(self, kind: str, name: str = SALE) -> tuple[str, str]:
        """Status and reason; empty when there is none yet."""
        for condition in self.get(name).get("status", {}).get("conditions", []):
            if condition["type"] == kind:
                return condition["status"], condition["reason"]
        return "", ""

    async def until(self, holds: Callable[[], bool], seconds: float = 60.0) -> None:
        async with asyncio.timeout(seconds):
            while not await asyncio.to_thread(holds):
                await asyncio.sleep(LOOK_SECONDS)

    async def until_condition(self, kind: str, *expected: str, name: str = SALE, seconds: float = 60.0) -> None:
        """`expected`: status, and the reason too if it matters."""
        await self.until(lambda: self.condition(kind, name)[: len(expected)] == expected, seconds)

    async def until_known_by_all(self, sale: str = SALE) -> None:
        for url in self.house.stack.urls:
            await self.house.until_known(url, sale)

    async def until_state(self, state: str, seconds: float = 60.0, sale: str = SALE) -> None:
        """In every pod."""
        async with asyncio.timeout(seconds):
            for pod in range(len(self.house.stack.urls)):
                while (await self.house.line(sale, pod)).get("state") != state:
                    await asyncio.sleep(LOOK_SECONDS)

    def metric(self, name: str, port: int = 0) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{port or self.port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    def writer(self, port: int) -> float:
        return self.metric("boxoffice_operator_writer", port)

    def alive(self) -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/livez", timeout=10) as answer:
            return bool(answer.status == 200)

    def events(self, name: str = SALE) -> list[str]:
        """Reasons, the oldest first."""
        found = self.cluster.select("events", namespace=self.account.namespace)
        mine = [event for event in found if event["involvedObject"]["name"] == name]
        return [event["reason"] for event in sorted(mine, key=lambda event: event["metadata"]["creationTimestamp"])]


@asynccontextmanager
async def open_office(apiserver: ApiServer, account: Account, folder: Path, **changes: Any) -> AsyncIterator[Office]:
    """Two pods, settlement and the operator, which runs when the block begins."""
    async with open_house(folder / "house", **changes) as house:
        office = Office(house, apiserver, account, folder)
        await office.start()
        try:
            yield office
        finally:
            if office.operator.running:
                office.thaw()  # a test that failed may have left it frozen
            await office.operator.stop()
