"""Every alert has a runbook, and what a runbook tells people to type is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from boxoffice import cli, kubectl_sale
from boxoffice.embedded import shipped

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs/runbooks"
PROGRAMS = {"boxoffice": cli.app, "kubectl sale": kubectl_sale.app}
QUOTED = re.compile(r"`((?:boxoffice|kubectl sale) [a-z][^`]+)`")
LINES = re.compile(r"^((?:boxoffice|kubectl sale) .+?)(?: +#.*)?$", re.MULTILINE)


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(shipped("manifests", "rules.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def runbooks() -> list[Path]:
    return sorted(RUNBOOKS.glob("Boxoffice*.md"))


def commands() -> Iterator[tuple[str, str]]:
    """With the file that names them."""
    for file in sorted(RUNBOOKS.glob("*.md")):
        text = file.read_text()
        for command in dict.fromkeys(QUOTED.findall(text) + LINES.findall(text)):
            yield file.name, command


def test_each_alert_has_one_and_each_one_an_alert() -> None:
    assert {file.stem for file in runbooks()} == {alert["alert"] for alert in alerts()}
    for alert in alerts():
        assert (ROOT / alert["annotations"]["runbook_url"]).is_file()


def test_each_alert_is_in_the_table_with_how_it_was_seen() -> None:
    table = (ROOT / "docs/alerts.md").read_text()
    for name in {alert["alert"] for alert in alerts()}:
        rows = [line for line in table.splitlines() if line.startswith(f"| [{name}](runbooks/{name}.md)")]
        assert len(rows) == 1, name
        assert re.search(r"`test_\w+`", rows[0]), name


@pytest.mark.parametrize("file", runbooks(), ids=lambda file: file.stem)
def test_says_what_people_look_for(file: Path) -> None:
    headings = re.findall(r"^## (.+)$", file.read_text(), re.MULTILINE)
    assert headings == ["Look at", "Likely causes", "What to do", "Over when"]
    for link in re.findall(r"\]\(([^)]+)\)", file.read_text()):
        assert (file.parent / link).is_file(), link


def test_their_commands_exist() -> None:
    trees = {name: typer.main.get_command(app) for name, app in PROGRAMS.items()}
    known: set[tuple[str, ...]] = set()
    for file, command in commands():
        program = next(name for name in PROGRAMS if command.startswith(f"{name} "))
        words = shlex.split(command.removeprefix(program).split("|")[0])
        path, options = _path(trees[program], words)
        wrong = [word for word in words[len(path) :] if word.startswith("-") and word not in options]
        assert not wrong, f"{file}: {command}"
        known.add((program, *path))
    for program, *path in known:
        answer = CliRunner().invoke(PROGRAMS[program], [*path, "--help"])
        assert answer.exit_code == 0, path


def _path(command: Any, words: list[str]) -> tuple[list[str], set[str]]:
    """The subcommands among the words, and the options of the last one."""
    path: list[str] = []
    while hasattr(command, "commands"):
        name = words[len(path)] if len(path) < len(words) else ""
        assert name in command.commands, f"{name!r} is no command"
        command = command.commands[name]
        path.append(name)
    return path, {option for parameter in command.params for option in parameter.opts}
