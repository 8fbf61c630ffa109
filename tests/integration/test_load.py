"""The crowds of load/ on a real house: each plays to its end, says so, and is judged with ledger and gateway."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from boxoffice.cli_load import read
from boxoffice.console import open_office
from boxoffice.embedded import Child, k6_binary, shipped
from boxoffice.errors import BoxofficeError
from boxoffice.loadevidence import judge_crowd
from boxoffice.loadreport import LoadReport
from boxoffice.stack import own_environment
from boxoffice.witnesses import Story, read_stories
from tests.integration.house import House, open_house, resource

in_module = pytest.mark.asyncio(loop_scope="module")

CROWDS = ("onsale", "crowd", "soak", "hostile")
BUYERS = {"onsale": 50, "crowd": 40, "soak": 40, "hostile": 60}
SEATS = {"onsale": 20, "crowd": 60, "soak": 60, "hostile": 20}
COMMON = {"RAMP_SECONDS": "4", "END_SECONDS": "300", "CONTESTED": "stalls", "SHARES": json.dumps({"absent": 0})}
MORE = {"onsale": {"RUNNERS": "2"}, "hostile": {"HOSTILE": json.dumps({"forger": 0.1, "spoofer": 0.07})}}
COUNTING = itertools.count()
HALVES = [[f"--execution-segment={half}", "--execution-segment-sequence=0,1/2,1"] for half in ("0:1/2", "1/2:1")]


@dataclass(frozen=True, slots=True)
class Played:
    code: int
    log: str
    stories: Path


@dataclass(frozen=True, slots=True)
class Night:
    house: House
    crowds: Mapping[str, list[Played]]

    def stories(self, crowd: str) -> list[Story]:
        return [story for played in self.crowds[crowd] for story in read_stories(played.stories)]

    async def judge(self, crowd: str) -> LoadReport:
        async with open_office(reading=True) as office:
            return await judge_crowd(office, crowd, self.stories(crowd), "")


async def play(folder: Path, crowd: str, settings: Mapping[str, str], *options: str) -> Played:
    """k6, as it is called by hand."""
    stories = folder / f"{crowd}-{next(COUNTING)}.ndjson"
    command: list[str | Path] = [k6_binary(), "run", "--quiet", "--no-usage-report", "--address=", "--log-format=raw"]
    command += [f"--console-output={stories}", *options, shipped("load", f"{crowd}.js")]
    buyers = {"BUYERS": str(BUYERS[crowd]), "SALE": crowd, **COMMON, **MORE.get(crowd, {})}
    k6 = Child(crowd, command, stories.with_suffix(".log"), {**os.environ, **buyers, **settings})
    await k6.start()
    try:
        return Played(await k6.wait(), k6.last_lines(60), stories)
    finally:
        await k6.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def night(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Night]:
    """All at once, each on a sale of its own."""
    folder = tmp_path_factory.mktemp("load")
    async with open_house(folder / "house", gateway_latency_ms=1) as house:
        for crowd in CROWDS:
            await house.apply(sale(crowd))
        urls = {"BASES": ",".join(house.stack.urls)}
        runs = [*((crowd, []) for crowd in CROWDS[1:]), *(("onsale", half) for half in HALVES)]
        played = await asyncio.gather(*(play(folder, crowd, urls, *options) for crowd, options in runs))
        found: dict[str, list[Played]] = {crowd: [] for crowd in CROWDS}
        for (crowd, _), each in zip(runs, played, strict=True):
            found[crowd].append(each)
        with pytest.MonkeyPatch.context() as patch:
            for name, text in own_environment(house.stack.settings()).items():
                patch.setenv(name, text)
            yield Night(house, found)


def sale(crowd: str) -> dict[str, Any]:
    return resource(
        name=crowd,
        seats=SEATS[crowd],
        opens_in=2,
        line={"claimSeconds": 15},
        hold={"seconds": 5, "maxSeatsPerBuyer": 4},
        admission={"initialActive": 8 if crowd == "crowd" else 30, "maxActive": 100, "sessionSeconds": 20},
        abuse={"joinsPerMinutePerAddress": 5, "proofOfWork": "Off"},
    )


def report(*words: str | Path, input: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "boxoffice", "load", "report", "onsale", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, input=input)


@in_module
async def test_an_onsale_of_two_runners_is_one_crowd(night: Night, tmp_path: Path) -> None:
    first, second = night.crowds["onsale"]
    assert (first.code, second.code) == (0, 0), (first, second)
    assert sorted(story.buyer for story in night.stories("onsale")) == list(range(1, 51))
    page = tmp_path / "page.html"
    files = [f"--stories={played.stories}" for played in (first, second)]
    done = await asyncio.to_thread(report, *files, "--html", page, "-o", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["kept"], found["crowd"], found["buyers"], found["verdict"]["sold"]) == (True, "onsale", 50, 20)
    assert (found["moments"][-1]["waiting"], found["night"]["sale"]) == (0, "onsale")
    assert "every promise was kept" in page.read_text()


@in_module
async def test_a_runner_that_is_missing_breaks_the_verdict(night: Night) -> None:
    """Given as pods give their logs: k6's summary is in between."""
    log = night.crowds["onsale"][0].stories.read_text() + "\n  TOTAL RESULTS\n"
    done = await asyncio.to_thread(report, input=log)
    assert done.returncode == 1
    assert "BROKEN  every buyer tells a story: 25 of 50" in done.stdout
    assert "kept    no seat is sold twice" in done.stdout


@in_module
async def test_a_long_line_is_polled_to_its_end(night: Night) -> None:
    [played] = night.crowds["crowd"]
    assert played.code == 0, played.log
    steps = [step for story in night.stories("crowd") for step in story.steps if step.name == "whereabouts"]
    assert len(steps) > 2 * BUYERS["crowd"]
    assert (await night.judge("crowd")).kept


@in_module
async def test_a_soak_brings_seats_back(night: Night) -> None:
    [played] = night.crowds["soak"]
    assert played.code == 0, played.log
    ends = [story.end for story in night.stories("soak")]
    assert ends.count("declined") > ends.count("paid") > 0
    assert (await night.judge("soak")).kept


@in_module
async def test_what_a_hostile_crowd_tries_is_refused_and_the_others_buy(night: Night) -> None:
    [played] = night.crowds["hostile"]
    assert played.code == 0, played.log
    found = await night.judge("hostile")
    assert found.kept, found.verdict.promises
    assert found.verdict.sold == SEATS["hostile"]
    assert found.hostile.keys() == {"forger", "sharer", "grabber", "hammerer", "spoofer"}
    assert all(found.hostile.values())
    assert "what must be refused is refused" in [promise.name for promise in found.verdict.promises]


@asynccontextmanager
async def half_a_server(*statuses: bytes) -> AsyncIterator[str]:
    """One that answers whoever reads, with one status after the other and at last always the same; nobody else."""
    left = list(statuses)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET "):
                status = left.pop(0) if len(left) > 1 else left[0]
                writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\n{}")
            await reader.read()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@in_module
async def test_a_crowd_of_which_nobody_tells_anything_has_failed(tmp_path: Path) -> None:
    """Most of k6's thresholds hold where there is no sample."""
    settings = {"BUYERS": "20", "RAMP_SECONDS": "1", "END_SECONDS": "3", "RUNNERS": "1"}
    async with half_a_server(b"200 OK") as base:
        played = await asyncio.gather(*(play(tmp_path, crowd, {"BASES": base, **settings}) for crowd in CROWDS))
    assert [each.code for each in played] == [99] * len(CROWDS), played
    assert all("stories" in each.log.splitlines()[-1] for each in played)


@in_module
async def test_a_crowd_waits_until_its_sale_is_known(tmp_path: Path) -> None:
    """And comes then, though nobody lets it into the line here."""
    settings = {"BUYERS": "2", "RAMP_SECONDS": "1", "END_SECONDS": "3", "RUNNERS": "1"}
    async with half_a_server(b"404 Not Found", b"404 Not Found", b"200 OK") as base:
        played = await play(tmp_path, "onsale", {"BASES": base, **settings})
    assert played.code == 99, played.log
    assert ",404," not in played.stories.read_text(), "somebody came before"
    async with half_a_server(b"404 Not Found") as base:
        played = await play(tmp_path, "onsale", {"BASES": base, **settings})
    assert played.code not in (0, 99)
    assert f"{base} does not know onsale: 404" in played.log


@pytest.mark.parametrize(("text", "says"), [("", "there is no story"), ('{"buyer": "x"}', "is not a file of buyers")])
def test_what_is_no_story_is_said_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "stories"
    file.write_text(text)
    with pytest.raises(BoxofficeError, match=says):
        read([file])
