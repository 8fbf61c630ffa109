"""A night in the cluster: a sale run by its operator, the crowd of manifests/load, and what the witnesses say."""

from __future__ import annotations

import base64
import itertools
import json
import re
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import msgspec
import yaml

from boxoffice.decisionlog import Entry
from boxoffice.demo import house
from boxoffice.report import Report
from boxoffice.verdict import judge
from boxoffice.witnesses import Books, Charge, Evidence, Story, read_books, read_charges
from tests.cluster.cluster import Cluster, Failed, Resource
from tests.cluster.crowd import Crowd, crowded, stories
from tests.cluster.incidents import until_scaled
from tests.cluster.programs import ROOT
from tests.cluster.release import Release, merged

LOGS = ROOT / "build/nights"
MANIFEST = ROOT / "manifests/concertsale.yaml"
OPENS_SECONDS = 20
"""From when the sale is applied: the crowd's pod is there by then, and a line."""
SETTLED_SECONDS = 60
SLOW_MS = 5000
UNANSWERED = ": 0 "
"""In what a buyer says of a request that got no answer."""
WHILE_PODS_GO = ("every request is answered", "every buyer reaches an end")
"""On a machine that is busy enough a pod is gone before the node's proxy knows: a page is asked for again. What a buyer
must not do twice is counted by itself, and what a buyer was told wrong is too."""
KNOWN_SECONDS = 20
SCRAPE_SECONDS = 5
CLOCK = """
import asyncio
from boxoffice.settings import Settings
from boxoffice.store import Store
async def main():
    store = await Store.open(Settings.from_env())
    print(await store.now_ms("any"))
    await store.close()
asyncio.run(main())
"""
CPU = 'namedprocess_namegroup_cpu_seconds_total{groupname="mysqld"}'


@dataclass(frozen=True)
class Found:
    """What came of a night."""

    report: Report
    stories: Sequence[Story]
    failed: Sequence[str]
    """Holds and orders that a client who does not try again would call failed."""
    cores: Sequence[tuple[float, float]]
    """Of mysqld, at every scrape (5 s): seconds since the epoch, and how many since the one before."""
    decisions: Sequence[Entry]

    @property
    def most_cores(self) -> float:
        return max(cores for _, cores in self.cores)

    def stale(self, since: float) -> list[str]:
        """Signals that were without a number for too long."""
        return sorted({name for entry in self.decisions if entry.now > since for name in entry.decision.stale})

    def broken(self, excused: Collection[str] = ()) -> list[str]:
        """Promises, as sentences; `excused` are the names of those that were not made."""
        unkept = (promise for promise in self.report.promises if not promise.held and promise.name not in excused)
        return [f"{promise.name}: {promise.found}" for promise in unkept]

    def assert_kept(self, excused: Collection[str] = ()) -> None:
        assert self.broken(excused) == []
        assert list(self.failed) == []
        assert [story.problem for story in self.stories if story.problem and UNANSWERED not in story.problem] == []


class Night:
    """`engines` is the release that brought them, if it is another one. `spec` replaces members of the sale's."""

    def __init__(
        self,
        release: Release,
        name: str,
        buyers: int,
        seats: int,
        engines: Release | None = None,
        opens_seconds: float = OPENS_SECONDS,
        **spec: Any,
    ) -> None:
        self.release, self.name, self.buyers, self.seats = release, name, buyers, seats
        self.engines = engines or release
        self.opens_at = time.time() + opens_seconds
        self.document = merged(sale(name, seats, self.opens_at), {"spec": spec})
        self.moments: dict[str, float] = {}
        """What happened, and when, in seconds since the opening."""
        self._crowd: Crowd | None = None

    def mark(self, what: str) -> None:
        self.moments[what] = round(time.time() - self.opens_at, 1)

    @property
    def cluster(self) -> Cluster:
        return self.release.cluster

    def begin(self, ramp_seconds: int = 30, **settings: str) -> None:
        """Returns when the crowd's pod runs; `settings` are k6's."""
        self.apply()
        self._known()
        given = {"BUYERS": str(self.buyers), "RAMP_SECONDS": str(ramp_seconds), "CONTESTED": "front"}
        self._crowd = Crowd(self.release, self.name, **(given | settings))

    def apply(self) -> None:
        self.cluster.apply(self.document, namespace=self.release.namespace)

    def until_prescaled(self) -> float:
        """Returns when as many pods are ready as the sale asks for: how many seconds before the opening, by Redis'
        clock."""
        for component, count in self.document["spec"]["prescale"]["replicas"].items():
            until_scaled(self.release, component, count)
        return self.opens_at - int(self.release.execute("admin", CLOCK)) / 1000

    def _known(self) -> None:
        deadline = time.monotonic() + KNOWN_SECONDS
        for pod in self.release.pods("app"):
            line = f"http://{pod['status']['podIP']}:8083/api/v1/sales/{self.name}/line"
            while httpx2.get(line).status_code != 200:
                assert time.monotonic() < deadline, pod["metadata"]["name"]
                time.sleep(0.1)

    def sold(self) -> int:
        return int(self._listed()["sold"])

    def until_sold(self, share: float, seconds: float = 120) -> None:
        """Such a share of the seats, or all that there were buyers for."""
        deadline = time.monotonic() + seconds
        while self.sold() < share * self.seats:
            assert time.monotonic() < deadline, f"{self.sold()} seats are sold after {seconds:.0f} s"
            time.sleep(1)

    def until_gone(self) -> int:
        """The crowd; returns k6's exit code."""
        assert self._crowd
        return self._crowd.ended()

    async def end(self) -> Found:
        """When all buyers have gone home and every order is settled."""
        code = self.until_gone()
        told = list(stories(log := self._log()))
        assert told, f"k6 ended with {code}: {log[-3000:]}"
        self._settled()
        return Found(
            report=judge(await self._evidence(told)),
            stories=told,
            failed=failed(told),
            cores=self._cores(),
            decisions=[entry for entry in self._decisions() if entry.sale == self.name],
        )

    def _log(self) -> str:
        """Of k6; it stays, for whoever looks for the cause of something."""
        assert self._crowd
        LOGS.mkdir(parents=True, exist_ok=True)
        log = self._crowd.log()
        (LOGS / f"{self.name}.log").write_text(log)
        return log

    def _settled(self) -> None:
        deadline = time.monotonic() + SETTLED_SECONDS
        while self._listed()["paying"]:
            assert time.monotonic() < deadline, "orders are still on their way"
            time.sleep(0.5)

    def _listed(self) -> dict[str, Any]:
        listed = json.loads(self.release.boxoffice("sale", "list", "-o", "json"))["sales"]
        return next(each for each in listed if each["name"] == self.name)

    async def _evidence(self, told: list[Story]) -> Evidence:
        books, charges = await self._books()
        return Evidence(
            buyers=self.buyers,
            seats=self.seats,
            opened_ms=int(self.opens_at * 1000),
            sold_out_ms=books.last_paid_ms if len(books.tickets) == self.seats else None,
            stories=told,
            tickets=books.tickets,
            amounts=books.amounts,
            charges=charges,
            differences=self._audit(),
        )

    async def _books(self) -> tuple[Books, list[Charge]]:
        """From the engine itself, past everything of ours."""
        with self.engines.cluster.forward(f"service/{self.engines.full}-mysql", 3306, self.engines.namespace) as port:
            books = await read_books(self._url("ledger", port), self.name)
            return books, await read_charges(self._url("gateway", port), books.uid)

    def _url(self, kind: str, port: int) -> str:
        """The one that settlement has, by way of a port of this machine."""
        volumes = self.release.pods("settle")[0]["spec"]["volumes"]
        secret = next(volume["secret"]["secretName"] for volume in volumes if volume["name"] == kind)
        data = self.cluster.get("secret", secret, self.release.namespace)["data"]["url"]
        return re.sub(r"@[^/]+/", f"@127.0.0.1:{port}/", base64.b64decode(data).decode())

    def _audit(self) -> list[str]:
        try:
            report = json.loads(self.release.boxoffice("audit", self.name, "-o", "json"))
        except Failed as error:  # it ends with 1 when there are differences, and says which
            return [str(error)]
        return [f"{each['kind']}: {each['text']}" for each in report["differences"]]

    def curve(self, query: str) -> list[tuple[float, float]]:
        """What Prometheus answers, every five seconds since the opening."""
        span: dict[str, str | float] = {
            "query": query,
            "start": self.opens_at,
            "end": time.time(),
            "step": SCRAPE_SECONDS,
        }
        answer = httpx2.get(f"{self.engines.url('prometheus')}/api/v1/query_range", params=span, timeout=10).json()
        [series] = answer["data"]["result"]
        return [(round(float(at) - self.opens_at), round(float(value), 3)) for at, value in series["values"]]

    def _cores(self) -> list[tuple[float, float]]:
        """As scraped, without what Prometheus makes of it."""
        seconds = int(time.time() - self.opens_at) + OPENS_SECONDS
        query = {"query": f"{CPU}[{seconds}s]"}
        answer = httpx2.get(f"{self.engines.url('prometheus')}/api/v1/query", params=query, timeout=10).json()
        of_mode = [[(float(at), float(value)) for at, value in each["values"]] for each in answer["data"]["result"]]
        return rates(of_mode)

    def _decisions(self) -> Iterator[Entry]:
        log = self.cluster.logs(f"deployment/{self.release.full}-operator", self.release.namespace)
        return (msgspec.json.decode(line, type=Entry) for line in log.splitlines() if line.startswith('{"sale":'))


def sale(name: str, seats: int, opens_at: float) -> Resource:
    """As shipped, signals and all, but for its times and its house: everybody wants the front."""
    shipped = yaml.safe_load(MANIFEST.read_text())["spec"]
    seating = msgspec.to_builtins(house(seats, [8900, 6900, 5900]))
    opens = datetime.fromtimestamp(opens_at, UTC)
    given = crowded(name)
    given["spec"] |= {
        "seating": msgspec.json.decode(msgspec.json.encode(seating)),
        "admission": shipped["admission"],
        "signals": shipped["signals"],
        "preQueueTime": (opens - timedelta(seconds=OPENS_SECONDS)).isoformat(),
        "opensTime": opens.isoformat(),
    }
    return given


def failed(told: Sequence[Story]) -> list[str]:
    """Every try counts by itself."""
    return [
        f"buyer {story.buyer}: {name} {status} {code} after {ms:.0f} ms"
        for story in told
        for name, ms, status, code, _ in story.steps
        if name in ("hold", "order") and (status == 0 or status >= 500 or ms > SLOW_MS)
    ]


def rates(of_mode: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Cores between two scrapes, user and system together; a counter that began anew says nothing."""
    sums = [(values[0][0], sum(value for _, value in values)) for values in zip(*of_mode, strict=False)]
    return [
        (round(at, 1), round((now - before) / (at - then), 3))
        for (then, before), (at, now) in itertools.pairwise(sums)
        if now >= before
    ]
