"""The command line teaches by example, and answers bad input with one clear line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from boxoffice import __version__
from boxoffice.cli import app, main

COMMANDS = {
    "": [
        *("demo", "engines", "secrets", "crd", "smoke", "preflight", "simulate", "plan", "replay"),
        *("serve", "admin", "settle", "migrate", "audit", "report", "purge", "rebuild", "openapi"),
    ],
    "sale": ["apply", "list", "get", "hold", "drain", "close", "resume", "delete", "erase"],
    "load": ["report"],
    "orders": ["list", "show", "refund"],
    "dlq": ["list", "show", "replay", "discard"],
}
VALID = Path(__file__).parents[2] / "manifests" / "concertsale.yaml"


def call(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    monkeypatch.setattr("sys.argv", ["boxoffice", *argv])
    with pytest.raises(SystemExit) as exit_:
        main()
    return int(exit_.value.code or 0)


def leaves(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


LEAVES = dict(leaves(typer.main.get_command(app)))


def test_has_every_command() -> None:
    expected = {(group, name) if group else (name,) for group, names in COMMANDS.items() for name in names}
    assert LEAVES.keys() == expected


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_help_says_what_it_does_and_shows_how(
    path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *path, "--help") == 0
    text = capsys.readouterr().out
    examples = [line.strip() for line in text.partition("Examples:")[2].splitlines() if line.strip()]
    assert len(examples) >= 2
    assert any(f"boxoffice {' '.join(path)}" in line for line in examples)
    assert "boxoffice" in text.splitlines()[0]
    assert len(text.splitlines()[2].split()) >= 4


def examples_of(command: Any) -> Iterator[list[str]]:
    for line in (command.epilog or "").splitlines():
        for part in re.split(r"\s\|\s|;\s", line.partition("   #")[0]):
            if re.match(r"\s*(BOXOFFICE_PORT=\S+ )?boxoffice ", part):
                words = shlex.split(part.partition(" > ")[0].partition(" </")[0])
                yield words[words.index("boxoffice") + 1 :]


@pytest.mark.parametrize(
    "words", [words for command in LEAVES.values() for words in examples_of(command)], ids=" ".join
)
def test_examples_can_be_typed(words: list[str]) -> None:
    """Each one is understood by the command that it names."""
    path = next(path for path in LEAVES if list(path) == words[: len(path)])
    LEAVES[path].make_context("boxoffice", words[len(path) :])


def test_says_its_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"boxoffice {__version__}\n"


def test_without_a_command_shows_its_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch) == 2
    assert "boxoffice sale apply -f concertsale.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        ("sell", 2, "No such command 'sell'"),
        ("sale sell", 2, "No such command 'sell'"),
        ("--loud", 2, "No such option: --loud"),
        ("demo --buyers many", 2, "--buyers"),
        ("demo --buyers -5", 2, "--buyers"),
        ("demo --buyers 1000000000", 2, "--buyers"),
        ("demo --seats 3", 2, "--seats"),
        ("demo --engines paper", 2, "'paper'"),
        ("engines", 2, "names"),
        ("engines oracle", 2, "'oracle'"),
        ("engines kafka mysql mariadb", 1, "mysql and mariadb both would be BOXOFFICE_LEDGER_URL: leave one out"),
        ("engines redis redis", 1, "leave one out"),
        ("sale apply", 2, "--file"),
        ("sale apply -f /no/such/file.yaml", 1, "/no/such/file.yaml: No such file or directory"),
        ("sale apply -f /", 1, "/: Is a directory"),
        ("sale list -o xml", 2, "'xml'"),
        ("sale hold tide-seoul", 2, "--why"),
        ("sale get tide-seoul", 1, "Redis is out of reach"),
        ("sale get a b", 2, "b"),
        ("orders list tide-seoul --state lost", 1, "--state must be one of"),
        ("orders refund --why x", 2, "give one order, or --sale SALE"),
        ("orders refund abc --sale tide-seoul --why x", 2, "give one order, or --sale SALE"),
        ("orders refund abc --why ' '", 1, "why: must not be empty"),
        ("dlq show 0", 2, "letter"),
        ("dlq show 99999999999999999999", 2, "letter"),
        ("dlq list --state gone", 1, "--state must be open, replayed or discarded"),
        ("serve", 1, "BOXOFFICE_KEYS"),
        ("audit tide-seoul", 1, "Redis is out of reach"),
    ],
)
def test_bad_input_gets_one_clear_line(
    argv: str, code: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BOXOFFICE_STORE_URL", "redis://127.0.0.1:1/0")
    assert call(monkeypatch, *shlex.split(argv)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("boxoffice: ")
    assert err.count("\n") == 1
    assert says in err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("rows: 30", "rows: thirty"), "spec.seating.sections[0].rows"),
        (lambda text: text.replace("rows: 30", "rows: 0"), "spec.seating.sections[0].rows"),
        (lambda text: text.replace("capacity: 800", "capacity: 999999999"), "spec.seating.sections[2].capacity"),
        (lambda text: text.replace("currency: EUR", "currency: euro"), "spec.currency"),
        (lambda text: text.replace("Europe/Amsterdam", "Europe/Atlantis"), "spec.timeZone"),
        (lambda text: text.replace("policy: Open", "policy: Ajar"), "spec.policy"),
        (lambda text: text.replace("venue:", "venu:"), "venu"),
        (lambda text: text.replace("order: FIFO", "order: Draw"), "spec.line.order"),
        (lambda text: text.replace('"Always"', "On"), "spec.abuse.proofOfWork"),
        (lambda text: text.replace("T18:00", "T08:00"), "spec.closesTime"),
        (lambda text: text.replace("kind: ConcertSale", "kind: Deployment"), "kind"),
        (lambda text: "{" + text, "not YAML"),
        (lambda text: "", "no ConcertSale"),
        (lambda text: "- 1\n- 2\n", "the resource"),
        (lambda text: "a: &a [x]\nb: *a\n", "aliases"),
        (lambda text: text + "#" * 70_000, "bytes"),
    ],
)
def test_a_sale_that_cannot_be_is_refused_naming_the_field(
    change: Any, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any server is asked: there is none here."""
    file = tmp_path / "sale.yaml"
    text = change(VALID.read_text())
    assert text != VALID.read_text()
    file.write_text(text)
    assert call(monkeypatch, "sale", "apply", "-f", str(file)) == 1
    err = capsys.readouterr().err
    assert err.startswith("boxoffice: ")
    assert err.count("\n") == 1
    assert says in err


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("BOXOFFICE_PORT", "eighty")
    assert call(monkeypatch, "serve") == 1
    assert capsys.readouterr().err == "boxoffice: BOXOFFICE_PORT must be a number, not 'eighty'\n"


def test_a_demo_does_not_write_into_somebody_elses_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert call(monkeypatch, "demo", "--data-dir", str(tmp_path)) == 1
    assert capsys.readouterr().err == f"boxoffice: {tmp_path} is not an empty directory\n"
