"""Where the compiled programs and everything else of the node lie."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("BOXOFFICE_CACHE") or Path.home() / ".cache/boxoffice")


@functools.cache
def programs(*groups: str) -> Path:
    """Their folder; what is missing is compiled first, which says how far it is. Without a group: all."""
    built = subprocess.run([ROOT / ".ci/node/build", *groups], stdout=subprocess.PIPE, text=True, check=True)
    return Path(built.stdout.strip())
