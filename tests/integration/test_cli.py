"""The commands against a real store and ledger: what is applied comes back, and steering shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from boxoffice.cli import main
from boxoffice.sale import parse_sale, parse_sales
from boxoffice.settings import Settings
from boxoffice.stack import own_environment
from tests.integration.house import SALE, resource

Run = Callable[..., str]


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command that must end with `code`; gives what it printed, or what it complained."""
    for name, value in own_environment(settings).items():
        monkeypatch.setenv(name, value)

    def command(*argv: str, code: int = 0) -> str:
        monkeypatch.setattr("sys.argv", ["boxoffice", *argv])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        assert (end.value.code or 0) == code, err
        return err if code else out

    command("migrate")
    return command


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "sales.yaml"
    documents = [resource(seats=40, opens_in=600), resource(seats=7, name="other-night")]
    file.write_text(yaml.safe_dump_all(documents))
    return file


def test_migrate_can_be_repeated(run: Run) -> None:
    assert run("migrate") == "the ledger and the log are ready\n"


def test_what_is_applied_comes_back(run: Run, file: Path, tmp_path: Path) -> None:
    assert run("sale", "apply", "-f", str(file)) == f"concertsale/{SALE} created\nconcertsale/other-night created\n"
    given = run("sale", "get", SALE)
    assert parse_sale(given.encode()) == parse_sales(file.read_bytes())[0]
    assert json.loads(run("sale", "get", SALE, "-o", "json")) == yaml.safe_load(given)
    again = tmp_path / "again.yaml"
    again.write_text(given)
    assert run("sale", "apply", "-f", str(again)) == f"concertsale/{SALE} configured\n"
    assert run("sale", "get", SALE, "-o", "yaml") == given


def test_lists_for_people_and_for_scripts(run: Run, file: Path) -> None:
    run("sale", "apply", "-f", str(file))
    header, first, second = run("sale", "list").splitlines()
    assert header.split()[:3] == ["NAME", "STATE", "POLICY"]
    assert (first.split()[0], second.split()[0]) == ("other-night", SALE)
    listed = json.loads(run("sale", "list", "-o", "json"))["sales"]
    assert [(sale["name"], sale["total"]) for sale in listed] == [("other-night", 7), (SALE, 40)]


def test_steers_and_shows_it(run: Run, file: Path) -> None:
    run("sale", "apply", "-f", str(file))
    for command, policy in (("hold", "Hold"), ("drain", "Drain"), ("close", "Closed")):
        told = run("sale", command, SALE, "--why", "a test", "--who", "me")
        assert told == f"concertsale/{SALE} policy in force: {policy}\n"
        assert f"Open ({policy})" in run("sale", "list")
    assert run("sale", "resume", SALE, "--why", "done") == f"concertsale/{SALE} policy in force: Open\n"
    assert "(" not in run("sale", "list")


def test_deletes_what_is_not_running(run: Run, file: Path) -> None:
    run("sale", "apply", "-f", str(file))
    assert "close it first" in run("sale", "delete", SALE, "--why", "a test", code=1)
    run("sale", "close", SALE, "--why", "a test")
    assert run("sale", "delete", SALE, "--why", "a test") == f"concertsale/{SALE} deleted\n"
    assert "no sale named" in run("sale", "get", SALE, code=1)
    assert "other-night" in run("sale", "list")


def test_a_file_with_one_bad_sale_changes_nothing(run: Run, file: Path) -> None:
    file.write_text(file.read_text().replace("currency: KRW", "currency: won", 1))
    assert "spec.currency" in run("sale", "apply", "-f", str(file), code=1)
    assert run("sale", "list", "-o", "json") == '{\n  "sales": []\n}\n'


def test_a_quiet_sale_audits_clean(run: Run, file: Path) -> None:
    run("sale", "apply", "-f", str(file))
    assert run("audit", SALE) == f"{SALE}: 0 orders, 0 tickets, 0 charges, 0 on their way, 0 differences\n"
    assert json.loads(run("audit", SALE, "-o", "json"))["differences"] == []
    assert run("orders", "list", SALE).split() == ["ORDER", "STATE", "AMOUNT", "CURRENCY", "SETTLED", "SEATS"]
    assert json.loads(run("dlq", "list", "-o", "json")) == {"deadLetters": []}


@pytest.mark.parametrize(
    "argv",
    [
        ("sale", "get", "nobody"),
        ("sale", "hold", "nobody", "--why", "x"),
        ("sale", "delete", "nobody", "--why", "x"),
        ("sale", "hold", "x" * 5000, "--why", "x"),
        ("audit", "nobody"),
        ("orders", "list", "nobody"),
        ("orders", "show", "0" * 32),
        ("orders", "refund", "0" * 32, "--why", "x"),
        ("orders", "refund", "--sale", "nobody", "--why", "x"),
        ("dlq", "show", "1"),
        ("dlq", "replay", "1", "--why", "x"),
        ("dlq", "discard", "1", "--why", "x"),
    ],
    ids=" ".join,
)
def test_the_unknown_gets_one_clear_line(run: Run, argv: tuple[str, ...]) -> None:
    complaint = run(*argv, code=1)
    assert complaint.startswith("boxoffice: ")
    assert complaint.count("\n") == 1
