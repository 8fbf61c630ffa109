"""What must hold of the tree itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_operator_is_no_package() -> None:
    """It would stand before the standard library's `operator` wherever the top of the checkout is on the path."""
    assert not list((ROOT / "operator").glob("__init__.*"))


def test_python_starts_here() -> None:
    program = "import operator, collections; print(operator.__file__)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert str(ROOT) not in done.stdout
