"""The demo does what it says: real processes, a real crowd, a report, and nothing left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.integration.processes import left_behind

KEYS = {
    "sold": int,
    "refused": int,
    "declined": int,
    "declinedThenPaid": int,
    "oversold": int,
    "chargedWithoutTicket": int,
    "inversions": int,
    "contested": int,
    "http": dict,
    "steps": dict,
    "soldOutSeconds": float,
    "audit": dict,
}
STEPS = {"concert", "join", "whereabouts", "claim", "map", "hold", "order", "receipt", "settled"}


async def start(*arguments: str | Path) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "boxoffice", "demo", *map(str, arguments)]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=dict(os.environ)
    )


@pytest.mark.parametrize("engines", ["embedded", "production"])
async def test_a_small_house_is_sold_and_every_promise_kept(tmp_path: Path, engines: str) -> None:
    data_dir, report_file = tmp_path / "data", tmp_path / "report.json"
    crowd = ("--buyers", "60", "--seats", "30", "--seed", "5", "--engines", engines)
    demo = await start(*crowd, "--data-dir", data_dir, "--report", report_file)
    out, err = await asyncio.wait_for(demo.communicate(), 240)
    assert demo.returncode == 0, out.decode() + err.decode()
    assert err == b""
    report = json.loads(report_file.read_text())
    assert {key: type(report[key]) for key in KEYS} == KEYS
    assert (report["sold"], report["oversold"], report["chargedWithoutTicket"], report["inversions"]) == (30, 0, 0, 0)
    assert report["audit"] == {"differences": []}
    assert report["broken"] == []
    assert report["steps"].keys() >= STEPS
    assert all(set(p) == {"p50", "p95", "p99"} for p in report["steps"].values())
    assert not [status for status in report["http"] if status.startswith("5") or status == "0"]
    text = out.decode()
    assert "kept    no seat is sold twice" in text
    assert "BROKEN" not in text
    assert left_behind(data_dir) == {}


async def test_ctrl_c_in_the_middle_leaves_nothing_running(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    demo = await start("--buyers", "60", "--seats", "30", "--data-dir", data_dir)
    assert demo.stdout
    async with asyncio.timeout(60):
        while b"sold 0/30" not in await demo.stdout.readline():
            assert demo.returncode is None
    assert len(left_behind(data_dir)) >= 6
    demo.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(demo.communicate(), 60)
    assert (demo.returncode, err) == (130, b"")
    assert left_behind(data_dir) == {}
