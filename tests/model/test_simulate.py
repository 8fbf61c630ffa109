"""Simulated nights: the control code reaches its figures, and the simulator is a function of its seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from boxoffice.cli import main
from boxoffice.decisionlog import first_difference, line
from boxoffice.drawing import rows
from boxoffice.errors import BadInput, Unprocessable
from boxoffice.figures import figures, quantile, settling, waits
from boxoffice.plant import World, parse_fault
from boxoffice.rangeexport import fitted
from boxoffice.sale import parse_sale
from boxoffice.simulate import OPENING, SIGNALS, Moment, Seller, simulate
from boxoffice.spec import Signal
from boxoffice.trials import ALL_WAITS, compare, night, try_all

ROOT = Path(__file__).parents[2]
SALE = ROOT / "manifests/concertsale.yaml"


def test_it_reaches_its_figures() -> None:
    told = list[int]()
    results = try_all([7, 8], told.append)
    assert [result for result in results if not result.passed and result.name != ALL_WAITS] == []
    assert told == [7, 8]


def test_the_same_seed_is_the_same_night() -> None:
    one, same, other = (night(200, seed, "capacity=0.5@100-200") for seed in (1, 1, 2))
    assert (one.moments, one.entries) == (same.moments, same.entries)
    assert one.moments != other.moments
    assert first_difference(line(entry) for entry in one.entries) is None


def test_rivals_do_not_reach_them() -> None:
    ours, *others = compare([7])
    assert ours.law == "this one"
    assert ours.settling_seconds is not None
    assert [law for law in others if law.settling_seconds is not None and law.settling_seconds < 300] == []


def test_a_sale_in_manual_is_not_steered() -> None:
    spec = parse_sale(SALE.read_bytes()).spec
    spec = replace(spec, admission=replace(spec.admission, mode="Manual", per_minute=300))
    run = simulate([Seller(name="one", spec=spec)], World(capacity=100), 1, 120)[0]
    assert run.moments[-1].called == 5 * 120
    assert {decision.limited_by for decision in run.decisions} == {"Manual"}


def test_errors_stop_the_calls_and_nothing_else() -> None:
    spec = parse_sale(SALE.read_bytes()).spec
    errors = Signal(name="Errors", kind="Errors", query="simulated", setpoint=10)
    spec = replace(spec, signals=[*SIGNALS, errors])
    world = World(capacity=500, faults=(parse_fault("capacity=0.1@200-260"),))
    run = simulate([Seller(name="one", spec=spec)], world, 1, 300)[0]
    first = next(entry.decision for entry in run.entries if entry.decision.stop_until)
    start = int(first.at - OPENING) + 1
    assert 200 < start < 240
    assert first.limited_by == "Errors"
    during = run.moments[start : start + 25]
    assert during[0].called == during[-1].called
    assert during[0].inside > during[-1].inside
    assert run.moments[-1].called > during[-1].called


def test_advice_is_not_taken() -> None:
    spec = parse_sale(SALE.read_bytes()).spec
    spec = replace(spec, admission=replace(spec.admission, mode="Advise"))
    run = simulate([Seller(name="one", spec=spec)], World(), 1, 120)[0]
    assert {moment.target for moment in run.moments} == {spec.admission.initial_active}
    assert not any(decision.applied for decision in run.decisions)


def moment(at: float, **other: float) -> Moment:
    return Moment(**(dict.fromkeys(Moment.__struct_fields__, 0) | {"at": at} | other))  # type: ignore[arg-type]


def test_figures_by_hand() -> None:
    levels = [0.2, 0.8, 1.2, 1.05, 0.95, 1.0]
    moments = [moment(n, pressure=level) for n, level in enumerate(levels)]
    assert settling(moments, lambda m: m.pressure) == 3
    assert settling(moments[:3], lambda m: m.pressure) is None
    line = [moment(n, called=called, waiting=10) for n, called in enumerate([0, 5, 10, 15, 20])]
    assert waits(line) == [2, 2, 2]
    assert quantile([3, 1, 2], 0.99) == 3


@pytest.mark.parametrize("text", ["", "capacity@1-2", "capacity=half@1-2", "rain=1@1-2", "dark@5", "dark@1-2;"])
def test_a_fault_that_cannot_be(text: str) -> None:
    with pytest.raises(BadInput, match="a fault is KIND"):
        parse_fault(text)


def export(**series: list[float]) -> bytes:
    """As /api/v1/query_range answers."""
    result = [
        {"metric": {"signal": name}, "values": [[5 * n, str(value)] for n, value in enumerate(values)]}
        for name, values in series.items()
    ]
    return msgspec.json.encode({"status": "success", "data": {"resultType": "matrix", "result": result}})


def test_the_capacity_of_a_recorded_night() -> None:
    inside = [float(n) for n in range(0, 400, 10)]
    world = fitted(World(), export(inside=inside, DatabaseCpu=[n / 500 for n in inside]), SIGNALS)
    assert world.capacity == 500
    assert world.noise == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"<html>", "no answer of query_range"),
        (export(DatabaseCpu=[1.0]), 'no series with the label signal="inside"'),
        (export(inside=[1.0]), "no series of a Utilisation signal"),
        (export(inside=[1.0] * 9, DatabaseCpu=[0.1] * 9), "fewer than 10 points"),
    ],
)
def test_an_export_that_says_nothing(text: bytes, message: str) -> None:
    with pytest.raises(Unprocessable, match=message):
        fitted(World(), text, SIGNALS)


def test_the_drawing_is_as_wide_as_the_night() -> None:
    drawn = list(rows(night(160, 1).moments))
    assert [len(row.partition(" ▁")[0]) > 0 for row in drawn]
    assert drawn[-1].endswith("160 s")
    assert len(drawn) == 7


@dataclass
class Called:
    code: int
    out: str
    err: str


class Command:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *argv: str | Path) -> Called:
        self._monkeypatch.setattr("sys.argv", ["boxoffice", *map(str, argv)])
        with pytest.raises(SystemExit) as exit_:
            main()
        said = self._capsys.readouterr()
        return Called(int(exit_.value.code or 0), said.out, said.err)


@pytest.fixture
def boxoffice(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


def test_simulate_tells_when_a_sale_is_sold_out(boxoffice: Command, tmp_path: Path) -> None:
    log, png = tmp_path / "decisions.jsonl", tmp_path / "night.png"
    said = boxoffice("simulate", "-f", SALE, "--crowd", "20000", "--log", log, "--png", png)
    assert said.code == 0
    assert "2,500 seats are sold out " in said.out
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "all the same again" in boxoffice("replay", log).out
    log.write_bytes(log.read_bytes().replace(b'"activeTarget":4', b'"activeTarget":5', 1))
    changed = boxoffice("replay", log)
    assert (changed.code, changed.out.splitlines()[0]) == (1, "line 1 comes out otherwise")


def test_simulate_in_json(boxoffice: Command) -> None:
    said = boxoffice("simulate", "--seeds", "3:5", "--minutes", "5", "-o", "json")
    assert [each["seed"] for each in msgspec.json.decode(said.out)] == [3, 4]


@pytest.mark.parametrize("seeds", ["", "5:5", "a", "1:100000", "-1"])
def test_seeds_that_are_none(boxoffice: Command, seeds: str) -> None:
    said = boxoffice("simulate", f"--seeds={seeds}")
    assert said.code == 1
    assert "--seeds must be a number, or a range such as 100:120" in said.err


def test_figures_follow_from_the_run() -> None:
    found = figures(night(400, 5), 5)
    assert 100 < (found.settling_seconds or 0) < 180
    assert found.overshoot < 0.1
    assert found.sold_out_seconds is None
