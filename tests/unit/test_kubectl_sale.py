"""`kubectl sale` teaches by example, starts without the engines' clients, and says clearly what it cannot do."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from boxoffice.kubectl_sale import app, main

COMMANDS = ["get", "explain", "hold", "drain", "close", "resume", "rate", "preflight", "simulate", "rehearse"]
GROUP: Any = typer.main.get_command(app)
HEAVY = ("sqlalchemy", "redis", "aiokafka", "aiomysql", "starlette", "httpx2", "yaml", "lupa", "boxoffice.store")


def call(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    monkeypatch.setattr("sys.argv", ["kubectl-sale", *argv])
    with pytest.raises(SystemExit) as exit_:
        main()
    return int(exit_.value.code or 0)


def test_has_every_command() -> None:
    assert sorted(GROUP.commands) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_it_does_and_shows_how(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, command, "--help") == 0
    text = capsys.readouterr().out
    examples = [line.strip() for line in text.partition("Examples:")[2].splitlines() if line.strip()]
    assert len(examples) >= 2
    assert text.startswith(f"Usage: kubectl sale {command}")
    assert {"--context", "--namespace"} <= set(re.findall(r"--\w+", text))


def examples_of(command: Any) -> Iterator[list[str]]:
    for line in command.epilog.splitlines():
        if line.strip().startswith("kubectl sale "):
            yield shlex.split(re.split(r"\s&&\s|\s{3,}#", line)[0])[2:]


@pytest.mark.parametrize("words", [words for command in GROUP.commands.values() for words in examples_of(command)])
def test_examples_can_be_typed(words: list[str]) -> None:
    GROUP.commands[words[0]].make_context("kubectl sale", words[1:])


def test_starts_without_the_engines_clients() -> None:
    program = f"import sys, boxoffice.kubectl_sale; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        ("sell", 2, "No such command 'sell'"),
        ("get a b", 2, "b"),
        ("explain", 2, "name"),
        ("hold tide-seoul", 2, "--why"),
        ("hold tide-seoul --why x --until soon", 1, "--until must be a span such as 20m"),
        ("hold tide-seoul --why x --until 2001-01-01T00:00:00Z", 1, "over already"),
        ("hold tide-seoul --why ' '", 1, "$.why"),
        (f"drain tide-seoul --why {'x' * 256}", 1, "255"),
        ("rate tide-seoul", 2, "PER-MINUTE"),
        ("rate tide-seoul fast", 1, "or auto, not 'fast'"),
        ("rate tide-seoul 1000001", 1, "from 0 to 1000000"),
        ("get", 1, "kubectl is not on PATH"),
        ("get -w", 1, "kubectl is not on PATH"),
        ("preflight tide-seoul", 1, "kubectl is not on PATH"),
    ],
)
def test_bad_input_gets_one_clear_line(
    argv: str,
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert call(monkeypatch, *shlex.split(argv)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("kubectl sale: ")
    assert err.count("\n") == 1
    assert says in err


def test_close_asks_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Kubectl, which is not there, is missed by who says yes alone."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for answer, end in (("", "stopped"), ("n\n", "stopped"), ("y\n", "kubectl is not on PATH")):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert call(monkeypatch, "close", "tide-seoul", "--why", "it is cancelled") == 1
        assert end in capsys.readouterr().err.splitlines()[-1]
