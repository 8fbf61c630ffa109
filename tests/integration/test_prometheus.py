"""What the operator makes of a real Prometheus' answers, and of what only looks like one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import pytest_asyncio

from boxoffice.curves import ask_prometheus
from boxoffice.errors import BadInput
from boxoffice.local.prometheus import LocalPrometheus
from boxoffice.ports import free_ports
from boxoffice.readings import Reading
from boxoffice.spec import Signal
from prometheus import MOST_BYTES, Prometheus, open_prometheus
from tests.servers_prometheus import Exporter


def page() -> str:
    ms = int(time.time() * 1000)
    old, older = ms - 20_000, ms - 40_000
    return f"""\
cpu 0.35
pool{{pod="a"}} 3
pool{{pod="b"}} 5
nothing_yet 0
old_gauge 7 {old}
older_gauge 7 {older}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prometheus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalPrometheus]:
    async with Exporter(page).open() as exporter:
        server = LocalPrometheus(tmp_path_factory.mktemp("prometheus"), {"app": [f"127.0.0.1:{exporter.port}"]})
        await server.start()
        async with open_prometheus(server.url) as client:
            while (await one(client, "cpu")).value is None:
                await asyncio.sleep(0.1)
        yield server
        await server.stop()


def signal(query: str, name: str = "Cpu", stale: int = 30) -> Signal:
    return Signal(name=name, kind="Utilisation", query=query, setpoint=700, stale_seconds=stale)


async def one(client: Prometheus, query: str, stale: int = 30) -> Reading:
    return (await client.read([signal(query, stale=stale)]))[0]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("query", "outcome", "value"),
    [
        ("cpu", "success", 0.35),
        ("cpu * 4", "breach", 1.4),
        ("scalar(cpu)", "success", 0.35),
        ("sum(pool)", "breach", 8.0),
        ("nothing_yet", "success", 0.0),
        ("old_gauge", "breach", 7.0),
    ],
)
async def test_a_number(prometheus: LocalPrometheus, query: str, outcome: str, value: float) -> None:
    async with open_prometheus(prometheus.url) as client:
        reading = await one(client, query)
    assert (reading.outcome, reading.value, reading.message) == (outcome, value, "")
    assert abs(reading.at - time.time()) < 5


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("query", "outcome", "message"),
    [
        ("older_gauge", "inconclusive", "the query gives nothing"),
        ("no_such_metric", "inconclusive", "the query gives nothing"),
        ("pool", "inconclusive", "the query gives 2 series, not one: sum() or max() them"),
        ("cpu[1m]", "inconclusive", "the query gives a matrix, not a number"),
        ('"text"', "inconclusive", "the query gives a string, not a number"),
        ("nothing_yet / nothing_yet", "idle", "the query gives NaN"),
        ("cpu / nothing_yet", "inconclusive", "the query gives inf"),
        ("-cpu", "inconclusive", "the query gives -0.35"),
        ("sum(cpu", "error", "parse error"),
    ],
)
async def test_no_number(prometheus: LocalPrometheus, query: str, outcome: str, message: str) -> None:
    async with open_prometheus(prometheus.url) as client:
        reading = await one(client, query)
    assert (reading.outcome, reading.value) == (outcome, None)
    assert message in reading.message


@pytest.mark.asyncio(loop_scope="module")
async def test_a_bad_signal_leaves_the_others_alone(prometheus: LocalPrometheus) -> None:
    signals = [signal("sum(", "Broken"), *(signal("cpu", f"Cpu{n}") for n in range(20)), signal("pool", "Pool")]
    async with open_prometheus(prometheus.url) as client:
        readings = await client.read(signals)
    assert [reading.name for reading in readings] == [each.name for each in signals]
    assert [reading.outcome for reading in readings] == ["error", *["success"] * 20, "inconclusive"]


async def test_nobody_there() -> None:
    async with open_prometheus(f"http://127.0.0.1:{free_ports(1)[0]}") as client:
        assert (await one(client, "cpu")).outcome == "error"
    async with open_prometheus("http://[") as client:
        assert (await one(client, "cpu")).outcome == "error"


@asynccontextmanager
async def answering(body: bytes) -> AsyncIterator[str]:
    """A server that says just this to everybody, and nothing more."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(body)
        if not body:
            await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        done.release()

    done = asyncio.Semaphore(0)
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await done.acquire()


def http(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"SSH-2.0-x\r\n", "error"),
        (http(b"<html>who are you?</html>", "302 Found"), "error"),
        (http(b'{"status":"success"}', "503 Service Unavailable"), "error"),
        (http(b'{"status":"success","data":7}'), "error"),
        (http(b'{"status":"success","data":{"resultType":"vector","result":[7]}}'), "error"),
        (http(b'{"status":"success","data":{"resultType":"scalar","result":[1,"seven"]}}'), "error"),
        (http(b'{"status":"success","data":{"resultType":"vector","result":[{"histogram":[]}]}}'), "inconclusive"),
        (http(b'{"status":"success","data":"' + b"x" * MOST_BYTES), "inconclusive"),
    ],
)
async def test_no_prometheus_at_all(answer: bytes, outcome: str) -> None:
    async with answering(answer) as url, open_prometheus(url) as client:
        reading = await one(client, "cpu")
    assert (reading.outcome, reading.value) == (outcome, None)
    assert reading.message


async def test_silence_is_not_waited_for() -> None:
    async with answering(b"") as url, open_prometheus(url, seconds=0.3) as client:
        started = time.monotonic()
        reading = await one(client, "cpu")
        assert time.monotonic() - started < 5
    assert (reading.outcome, reading.message) == ("error", "no answer in 0.3 s")


@pytest.mark.asyncio(loop_scope="module")
async def test_what_was_is_asked_for_as_curves(prometheus: LocalPrometheus) -> None:
    """Of what is no one series, or no number, there is none."""
    wanted = {
        "Cpu": "cpu",
        "Scalar": "scalar(cpu)",
        "Pods": "pool",
        "Nothing": "nothing_there",
        "NaN": "0 / (cpu - cpu)",
    }
    now = time.time()
    found = await ask_prometheus(prometheus.url, wanted, now - 300, now)
    assert {value for _, value in found.pop("Cpu")} == {0.35}
    assert 0.35 in {value for _, value in found.pop("Scalar")}
    assert found == {"Pods": [], "Nothing": [], "NaN": []}


async def test_nobody_who_answers_for_what_was_is_said() -> None:
    with pytest.raises(BadInput, match="no answer of query_range"):
        await ask_prometheus(f"http://127.0.0.1:{free_ports(1)[0]}", {"Cpu": "cpu"}, 0, 10)
