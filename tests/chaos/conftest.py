"""`pytest tests/chaos --full` attacks with full counts; each fault is a row of the table at the end and in a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from tests.chaos.houses import Houses
from tests.chaos.night import Findings

TABLE = "build/chaos.json"
COLUMNS = {
    "fault": "fault",
    "count": "count",
    "paid": "paid",
    "oversold": "oversold",
    "double_charges": "charged twice",
    "charged_without_ticket": "no ticket",
    "accepted_lost": "orders lost",
    "places_lost": "places lost",
    "numbers_twice": "numbers twice",
    "inversions": "inversions",
    "dead_letters": "dead letters",
    "differences": "differences",
    "seconds_to_heal": "s to heal",
}


class Chaos:
    def __init__(self, full: bool, record_property: Callable[[str, object], None]) -> None:
        self.full = full
        self._record = record_property

    def scale(self, small: int, full: int) -> int:
        """How much of it: `make test` wants each fault once, `make chaos` all there is."""
        return full if self.full else small

    def row(self, fault: str, count: int, findings: Findings) -> None:
        """To be called before anything is asserted: what is broken must be seen in the table too."""
        self._record("chaos", {"fault": fault, "count": count, **asdict(findings)})


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="every fault with its full count")


@pytest.fixture
def chaos(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Chaos:
    return Chaos(bool(request.config.getoption("full", False)), record_property)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def houses(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Houses]:
    """For tests in the session's loop: the processes of a house belong to the loop that started them."""
    shared = not request.config.getoption("full", False)
    houses = Houses(lambda: tmp_path_factory.mktemp("house"), shared)
    yield houses
    await houses.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    rows = [
        value
        for report in reports
        if report.when == "call"
        for name, value in report.user_properties
        if name == "chaos"
    ]
    if not rows or not config.getoption("full", False):
        return
    terminalreporter.section("what broke, and what came of it")
    for line in _table(rows):
        terminalreporter.write_line(line)
    table = config.rootpath / TABLE
    table.parent.mkdir(exist_ok=True)
    table.write_bytes(msgspec.json.format(msgspec.json.encode({"faults": rows}), indent=2) + b"\n")


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown, for the README."""
    cells = [[_cell(row[name]) for name in COLUMNS] for row in rows]
    return [f"| {' | '.join(line)} |" for line in [list(COLUMNS.values()), ["---"] * len(COLUMNS), *cells]]


def _cell(value: Any) -> str:
    return str(len(value)) if isinstance(value, list) else "" if value is None else str(value)
