"""What a line of the log says, and what it strikes out; which answers have a line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from boxoffice import logs
from boxoffice.accesslog import MOST_A_SECOND, SLOW_SECONDS, AccessLog
from boxoffice.database import connect
from boxoffice.errors import BadInput

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
Told = Callable[[], list[dict[str, Any]]]
SCOPE = {"method": "POST", "headers": [(b"traceparent", f"00-{TRACE}-00f067aa0ba902b7-01".encode())]}


def line(message: str, *args: object, error: bool = False, **fields: Any) -> dict[str, Any]:
    record = logging.LogRecord("boxoffice.test", logging.WARNING, "", 0, message, args, None)
    record.exc_info = sys.exc_info() if error else None
    if fields:
        record.fields = fields
    text = logs.JsonLines().format(record)
    assert "\n" not in text
    return dict(msgspec.json.decode(text))


def test_a_line_is_one_event() -> None:
    found = line("partition %d\npauses", 3, sale="night")
    time = found.pop("time")
    assert time.endswith("+00:00")
    told = {"level": "warning", "logger": "boxoffice.test", "message": "partition 3\npauses", "sale": "night"}
    assert found == told


def test_a_traceback_is_in_its_line() -> None:
    try:
        raise ValueError("redis://:hunter2@valkey:6379/0 is out of reach")
    except ValueError:
        found = line("broken", error=True)
    assert found["error"].startswith("Traceback")
    assert "redis://:***@valkey:6379/0 is out of reach" in found["error"]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("mysql+aiomysql://shop:p%40ss@db/boxoffice", "mysql+aiomysql://shop:***@db/boxoffice"),
        (
            "from redis+sentinel://:x@a:1,b:2/m to rediss://u:y@c",
            "from redis+sentinel://:***@a:1,b:2/m to rediss://u:***@c",
        ),
        ("http://127.0.0.1:8083/livez", "http://127.0.0.1:8083/livez"),
    ],
)
def test_passwords_in_addresses_are_struck_out(said: str, shown: str) -> None:
    assert logs.masked(said) == shown


async def test_a_fault_of_the_database_does_not_tell_what_was_to_be_written(tmp_path: Path) -> None:
    engine = connect(f"sqlite+aiosqlite:///{tmp_path}/ledger.db")
    async with engine.connect() as connection:
        with pytest.raises(sa.exc.OperationalError, match="no such table") as fault:
            await connection.execute(sa.text("INSERT INTO orders VALUES (:method)"), {"method": "pm_card_secret"})
    await engine.dispose()
    assert "pm_card_secret" not in str(fault.value)


def test_a_format_that_there_is_not_is_refused() -> None:
    with pytest.raises(BadInput, match="console, json"):
        logs.start("xml")


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    """The fields of each line."""
    caplog.set_level(logging.INFO, "boxoffice.access")
    return lambda: [dict(record.__dict__["fields"]) for record in caplog.records]


def test_one_in_so_many_has_a_line(told: Told) -> None:
    access = AccessLog(10)
    for _ in range(30):
        access.note("join", 201, perf_counter(), "night", SCOPE)
    found, *others = told()
    assert len(others) == 2
    assert found.pop("ms") >= 0
    assert found == {"step": "join", "status": 201, "sale": "night", "trace": TRACE}


def test_faults_and_slow_ones_have_a_line_each(told: Told) -> None:
    access = AccessLog(0)
    access.note("join", 201, perf_counter(), "", SCOPE)
    access.note("hold", 503, perf_counter(), "", SCOPE)
    access.note("hold", 201, perf_counter() - SLOW_SECONDS, "", SCOPE)
    assert [fields["status"] for fields in told()] == [503, 201]


def test_a_fault_that_meets_everybody_does_not_drown_in_its_log(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    access, now = AccessLog(0), 1000.0
    monkeypatch.setattr("boxoffice.accesslog.perf_counter", lambda: now)
    for _ in range(MOST_A_SECOND + 20):
        access.note("join", 503, now, "", SCOPE)
    assert len(told()) == MOST_A_SECOND
    now += 1
    access.note("join", 503, now, "", SCOPE)
    assert told()[-1]["leftOut"] == 20
