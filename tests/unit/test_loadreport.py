"""The report of a crowd: what Prometheus adds to the verdict, and the page that shows it all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from boxoffice.cli_load import show
from boxoffice.curves import SERVER_ERRORS, TARGET, Curve, read_curves
from boxoffice.errors import Unprocessable
from boxoffice.loadpage import page
from boxoffice.loadreport import LoadReport, load_report, moments, to_json
from boxoffice.spec import Signal
from boxoffice.witnesses import Evidence, Step, Story
from tests.unit.test_reportpage import read

OPENED = 1_000_000
CPU = Signal(name="DatabaseCpu", kind="Utilisation", query="up", setpoint=400)
STORIES = [
    Story(
        buyer=1, of=3, number=1, began_at_ms=OPENED - 2000, called_at_ms=OPENED, ended_at_ms=OPENED + 3000, end="gaveUp"
    ),
    Story(
        buyer=2,
        of=3,
        number=2,
        began_at_ms=OPENED,
        ended_at_ms=OPENED + 4000,
        steps=[Step("whereabouts", 12.0, 200, "", 2500), Step("whereabouts", 30.0, 200, "", 2900)],
        end="gaveUp",
    ),
    Story(
        buyer=3, of=3, plan=["hostile", "forger"], began_at_ms=OPENED, ended_at_ms=OPENED + 100, refused=7, end="forged"
    ),
]
EVIDENCE = Evidence(
    buyers=3,
    seats=9,
    opened_ms=OPENED,
    sold_out_ms=None,
    stories=STORIES,
    tickets=[],
    amounts={},
    charges=[],
    differences=[],
)


def reported(curves: dict[str, Curve] | None = None, evidence: Evidence = EVIDENCE) -> LoadReport:
    return load_report(evidence, "night", "2030-01-01T00:00:00Z", None, [CPU], curves)


def promises(found: LoadReport) -> dict[str, bool]:
    return {promise.name: promise.held for promise in found.verdict.promises}


def test_without_prometheus_nothing_is_said_of_it() -> None:
    assert reported().kept
    assert "the pods count no 5xx" not in promises(reported())


@pytest.mark.parametrize(
    ("curve", "held"), [([(1000.0, 0.0), (1005.0, 0.0)], True), ([(1000.0, 0.0), (1005.0, 2.0)], False), ([], False)]
)
def test_what_the_pods_count_is_a_witness_too(curve: Curve, held: bool) -> None:
    """One who says nothing has not said that all is well."""
    found = reported({SERVER_ERRORS: curve})
    assert (promises(found)["the pods count no 5xx"], found.kept) == (held, held)


def test_a_signal_is_held_against_its_setpoint() -> None:
    found = reported({SERVER_ERRORS: [(1000.0, 0.0)], "DatabaseCpu": [(1000.0, 0.2), (1005.0, 0.5)], TARGET: []})
    [usage] = found.usage
    assert (usage.setpoint, usage.most, usage.mean, usage.over_setpoint) == (0.4, 0.5, 0.35, 0.5)
    assert usage.points == [(0.0, 0.2), (5.0, 0.5)]
    text = page(found)
    assert "0.5 at most and 0.35 on average, of 0.4; above it at 50 % of the points." in text
    assert not {"script", "link", "img"} & set(read(text).tags)


def test_moments_are_counted_from_the_stories() -> None:
    found = moments(STORIES, OPENED)
    assert [m.at for m in found] == [-1.0, 0.0, 1.0, 2.0, 3.0, 4.0]
    assert [m.waiting for m in found] == [1, 2, 1, 1, 1, 0]
    assert [m.called for m in found] == [0, 1, 1, 1, 1, 1]
    assert found[4].answers == {"whereabouts": 30.0}
    assert moments([Story(buyer=1)], OPENED) == []


def test_those_who_mean_ill_are_counted_by_what_they_did() -> None:
    assert reported().hostile == {"forger": 7}
    given = [*STORIES[:2], msgspec.structs.replace(STORIES[2], problem="a forged token was answered with 200")]
    found = reported(evidence=replace(EVIDENCE, stories=given))
    assert not found.kept
    assert promises(found)["every buyer reaches an end"]
    assert not promises(found)["what must be refused is refused"]
    assert "buyer 3: a forged token was answered with 200" in page(found)


def test_a_story_told_twice_stands_for_no_other() -> None:
    found = reported(evidence=replace(EVIDENCE, stories=[*STORIES[:2], STORIES[1]]))
    assert not promises(found)["every buyer tells a story"]


def test_reads_what_it_has_written() -> None:
    found = reported({SERVER_ERRORS: [(1000.0, 0.0)], "DatabaseCpu": [(1000.0, 0.2)]})
    assert msgspec.json.decode(to_json(found), type=LoadReport) == found


def test_an_export_of_prometheus_is_read_by_signal(tmp_path: Path) -> None:
    series = [{"metric": {"signal": "DatabaseCpu"}, "values": [[5, "0.5"], [10, "NaN"]]}]
    export = {"status": "success", "data": {"resultType": "matrix", "result": series}}
    assert read_curves(msgspec.json.encode(export)) == {"DatabaseCpu": [(5.0, 0.5)]}
    with pytest.raises(Unprocessable):
        read_curves(b"{}")


def test_says_in_words_what_was_refused_and_used(capsys: pytest.CaptureFixture[str]) -> None:
    show(reported({SERVER_ERRORS: [(1000.0, 0.0)], "DatabaseCpu": [(1000.0, 0.2), (1005.0, 0.5)]}))
    said = capsys.readouterr().out
    assert "refused to those who mean ill: forger 7\n" in said
    assert "0.5 at most, 0.35 on average, of 0.4" in said
    assert "kept    the pods count no 5xx" in said
