"""What the image installs: the wheel, built with pinned tools, holds all that the program reads at run time."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.cluster.programs import ROOT

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
LOOK = """
import sys, boxoffice
from boxoffice.embedded import shipped
from boxoffice.pages import Web
from boxoffice.store import load_scripts
assert boxoffice.__file__.startswith(sys.argv[1]), boxoffice.__file__
assert shipped("load", "onsale.js").is_relative_to(sys.argv[1]) and shipped("load", "onsale.js").exists()
assert shipped("manifests", "concertsale-demo.yaml").exists()
assert len(load_scripts()) > 20 and Web()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    lock = ROOT / "requirements-build.lock"
    subprocess.run([*PIP, "--require-hashes", f"--target={folder}/tools", "-r", lock], check=True)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(build, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(folder / "tools")}, check=True)
    [wheel] = (folder / "dist").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def run(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd="/", env={**env, "PYTHONPATH": str(installed)}, capture_output=True, text=True)


def test_it_has_all_that_is_read_at_run_time(installed: Path) -> None:
    done = run(installed, "-c", LOOK, str(installed))
    assert done.returncode == 0, done.stderr


def test_its_command_works(installed: Path) -> None:
    [entry] = [file.read_text() for file in installed.glob("*.dist-info/entry_points.txt")]
    module, _, function = entry.partition("boxoffice = ")[2].splitlines()[0].partition(":")
    start = f"import sys, {module}; sys.argv = ['boxoffice', '--version']; {module}.{function}()"
    done = run(installed, "-c", start)
    assert done.stdout.startswith("boxoffice ")


def test_migrations_are_in_it(installed: Path) -> None:
    revisions = {file.name for file in (ROOT / "src/boxoffice/migrations/versions").glob("*.py")}
    assert {file.name for file in (installed / "boxoffice/migrations/versions").glob("*.py")} == revisions
