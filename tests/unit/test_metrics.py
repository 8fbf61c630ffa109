"""docs/metrics.md is what the code says, and the code speaks as Prometheus' conventions ask."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `(boxoffice_\w+)` \| (\w+) \| ([\w, ]*) \| ([^|]+) \| ([^|]+) \| ([\w, ]+) \|$", re.MULTILINE)
LABELS = {
    *("sale", "state", "kind", "signal", "limit", "step", "outcome", "error"),
    *("partition", "fault", "engine", "check", "what", "version"),
}
"""None of them grows with the crowd."""


def rows() -> list[tuple[str, str, list[str], str, str, str]]:
    found = ROW.findall((ROOT / "docs" / "metrics.md").read_text())
    return [(name, kind, [*filter(None, labels.split(", "))], *rest) for name, kind, labels, *rest in found]


def test_the_table_is_what_the_code_says() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs" / "metrics.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "kind", "labels", "unit", "text", "processes"), rows(), ids=lambda each: str(each)[:60]
)
def test_names_units_and_labels(name: str, kind: str, labels: list[str], unit: str, text: str, processes: str) -> None:
    assert kind != "counter" or name.endswith("_total")
    assert set(labels) <= LABELS
    if "_seconds" in name:
        assert unit in ("s", "Unix time, s")
        assert re.search(r"\b[Ss]econds\b|Unix time", text), "the help says the unit too"
    assert processes
