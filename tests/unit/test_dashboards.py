"""The dashboards' JSON: made by the program beside it, and whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "chart/dashboards"
BOARDS: list[dict[str, Any]] = [json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))]
UIDS = ["boxoffice-controller", "boxoffice-glance", "boxoffice-settlement", "boxoffice-sre"]
COLUMNS = 24


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def test_the_files_are_what_the_program_makes() -> None:
    command: list[str | Path] = [sys.executable, FOLDER / "generate.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_uids_are_what_links_lead_to() -> None:
    assert [board["uid"] for board in BOARDS] == UIDS


@pytest.mark.parametrize("board", BOARDS, ids=UIDS)
def test_every_panel_has_an_id_a_unit_and_says_what_is_normal(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    assert ids == sorted(set(ids))
    for panel in panels(board):
        assert len(panel["description"]) > 10, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        if panel["type"] == "timeseries":
            assert "Normal: " in panel["description"] or "normal" in panel["description"], panel["title"]


def test_every_runbook_that_a_panel_links_to_is_there() -> None:
    links = [link["url"] for board in BOARDS for panel in panels(board) for link in panel.get("links", ())]
    assert len(links) > 10
    for link in links:
        assert (ROOT / link).is_file(), link


@pytest.mark.parametrize("board", BOARDS, ids=UIDS)
def test_panels_lie_beside_each_other(board: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= COLUMNS
        taken |= cells


@pytest.mark.parametrize("board", BOARDS, ids=UIDS)
def test_every_variable_of_a_query_is_one_of_the_dashboard(board: dict[str, Any]) -> None:
    variables = {variable["name"] for variable in board["templating"]["list"]} | {"__rate_interval"}
    for panel in panels(board):
        for target in panel["targets"]:
            words = {word.split('"')[0].split("]")[0] for word in target["expr"].split("$")[1:]}
            assert words <= variables, target["expr"]
            assert "$namespace" in target["expr"] or "namedprocess" in target["expr"], target["expr"]
