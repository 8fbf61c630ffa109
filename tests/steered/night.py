"""A sale on the production engines, with an operator, a Prometheus and a crowd, whose MySQL is slow for a while."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import yaml

from boxoffice.engines import production
from boxoffice.local.mysql import LocalMySql
from boxoffice.local.prometheus import LocalPrometheus
from boxoffice.ports import free_ports
from tests.cluster.cluster import Resource
from tests.cluster.programs import ROOT
from tests.operator.apiserver import ApiServer
from tests.operator.office import Office, open_office
from tests.servers_prometheus import Exporter
from tests.steered.crowd import Crowd, Habits
from tests.steered.database import Limited
from tests.steered.record import STEP_SECONDS, Record, Sample, decisions

SALE = "steered-night"
MANIFEST = ROOT / "manifests/concertsale.yaml"
STEERING = "DatabaseCpu"
LIMIT = 'sum(kube_pod_container_resource_limits{namespace="mysql", container="mysql", resource="cpu"})'
PREQUEUE_SECONDS = 6.0
WAITING = 400
THINK_SECONDS = 8.0
INITIAL, MOST = 20, 4000
SEATS = 100_000
SLOWED = 0.5
EXPLAIN = [sys.executable, "-c", "from boxoffice.kubectl_sale import main; main()", "explain", SALE]


@dataclass(frozen=True)
class Times:
    """In seconds after the opening: MySQL is slow from, and until; the night's end."""

    slow: float
    well: float
    end: float


@dataclass(frozen=True)
class Stage:
    office: Office
    limited: Limited
    prometheus: LocalPrometheus

    async def explain(self) -> str:
        """`kubectl sale explain`, as a person sees it."""
        account = self.office.account
        environment = {**self.office.cluster.environment, "COLUMNS": "200"}
        command = [*EXPLAIN, f"--namespace={account.namespace}"]
        done = await asyncio.to_thread(
            subprocess.run, command, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout


@asynccontextmanager
async def open_stage(folder: Path, cores: float) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        apiserver = ApiServer(folder / "apiserver")
        stack.push_async_callback(apiserver.stop)
        await apiserver.start()
        account = apiserver.account(apiserver.make_namespace())
        prometheus = LocalPrometheus(folder / "prometheus", {})
        [prometheus.port] = free_ports(1)
        engines = production(folder / "house")
        assert isinstance(engines.ledger, LocalMySql)
        opening = open_office(apiserver, account, folder, engines=engines, prometheus_url=prometheus.url)
        office = await stack.enter_async_context(opening)
        limited = Limited(engines.ledger, cores)
        exporter = await stack.enter_async_context(Exporter(limited.page).open())
        house = office.house.stack
        ports = {"app": house.serve_ports, "settle": house.settle_ports, "mysql": [exporter.port]}
        prometheus.targets = {job: [f"127.0.0.1:{port}" for port in of] for job, of in ports.items()}
        stack.push_async_callback(prometheus.stop)
        await prometheus.start()
        await stack.enter_async_context(limited.limiting())
        yield Stage(office, limited, prometheus)


def sale(mode: str, per_minute: int) -> Resource:
    """The manifest's, for this crowd; its DatabaseCpu by the cores that this MySQL has."""
    document: Resource = yaml.safe_load(MANIFEST.read_text())
    spec, opens = document["spec"], datetime.now(UTC) + timedelta(seconds=PREQUEUE_SECONDS)
    document["metadata"]["name"] = SALE
    spec["preQueueTime"] = (opens - timedelta(hours=1)).isoformat()
    spec["opensTime"], spec["closesTime"] = opens.isoformat(), (opens + timedelta(hours=2)).isoformat()
    spec["seating"] = {"sections": [{"name": "floor", "capacity": SEATS, "priceMinor": 5900}]}
    spec["line"]["claimSeconds"] = 15
    spec["abuse"] = {"joinsPerMinutePerAddress": 1000, "proofOfWork": "Off"}
    spec["admission"] |= {"mode": mode, "minActive": 10, "maxActive": MOST, "initialActive": INITIAL}
    spec["admission"] |= {"fallbackActive": INITIAL} | ({"perMinute": per_minute} if mode == "Manual" else {})
    spec["signals"][0]["query"] += f" / {LIMIT}"
    return document


async def play(
    stage: Stage, mode: str, per_minute: int, show: float, seed: int, times: Times, tell: Callable[[str], None]
) -> Record:
    office, limited, cores = stage.office, stage.limited, stage.limited.cores
    document = sale(mode, per_minute)
    office.apply(document)
    await office.until_known_by_all(SALE)
    crowd = Crowd(office.house.stack.urls, SALE, Habits(show, THINK_SECONDS), seed, WAITING)
    async with crowd.before_the_door():
        await office.until_state("open", 60, SALE)
        opened = time.time()
        tell(f"{mode}: open; {show:.0%} of the called come")
        await _until(opened + times.slow)
        limited.cores = cores * SLOWED
        tell(f"MySQL has {limited.cores:g} cores instead of {cores:g}")
        await _until(opened + (times.slow + times.well) / 2)
        explained = await stage.explain()
        tell(explained)
        await _until(opened + times.well)
        limited.cores = cores
        tell(f"MySQL has {cores:g} cores again")
        await _until(opened + times.end)
    steering = document["spec"]["signals"][0]
    assert steering["name"] == STEERING
    return Record(
        mode=mode,
        seed=seed,
        show=round(show, 2),
        cores=cores,
        setpoint=steering["setpoint"] / 1000,
        slow=times.slow,
        well=times.well,
        samples=await _samples(stage.prometheus, steering["query"], crowd, opened, times.end),
        decisions=decisions(_log(office), opened),
        explained=explained,
        problems=crowd.problems[:5],
    )


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.time()))


def _log(office: Office) -> list[bytes]:
    found = office.operator.log.read_bytes().splitlines()
    return [line for line in found if line.startswith(b'{"sale":"' + SALE.encode())]


async def _samples(prometheus: LocalPrometheus, use: str, crowd: Crowd, opened: float, end: float) -> list[Sample]:
    queries = {
        "inside": f'max(boxoffice_admission_inside{{sale="{SALE}"}})',
        "target": f'max(boxoffice_admission_target{{sale="{SALE}"}})',
        "called": f'max(boxoffice_admission_calls_per_minute{{sale="{SALE}"}})',
        "use": use,
    }
    async with httpx2.AsyncClient(base_url=prometheus.url, timeout=30) as client:
        found = {name: await _range(client, query, opened, opened + end) for name, query in queries.items()}
    return [
        Sample(
            at=at,
            inside=round(found["inside"].get(at, 0)),
            target=round(found["target"].get(at, 0)),
            per_minute=round(found["called"].get(at, 0)),
            use=round(found["use"].get(at, 0.0), 3),
            seconds_to_ticket=_mean([took for done, took in crowd.settled if 0 <= opened + at - done < 15]),
        )
        for at in range(0, int(end) + 1, STEP_SECONDS)
    ]


async def _range(client: httpx2.AsyncClient, query: str, begin: float, end: float) -> dict[int, float]:
    parameters: dict[str, Any] = {"query": query, "start": begin, "end": end, "step": STEP_SECONDS}
    answer = (await client.get("/api/v1/query_range", params=parameters)).raise_for_status().json()
    return {round(at - begin): float(value) for series in answer["data"]["result"] for at, value in series["values"]}


def _mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 2) if values else None
