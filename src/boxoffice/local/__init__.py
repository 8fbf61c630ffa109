"""Real servers on this machine, one module an engine: for the tests and for `--engines production`.

They are fetched by `make servers` into the cache and run from there, on free ports, by nobody but us.
"""

from __future__ import annotations

import os
from pathlib import Path

from boxoffice.errors import BadInput


def installed(engine: str) -> Path:
    """Where `make servers` put `Kafka`, for instance: the newest folder `kafka-<version>`. Raises BadInput."""
    cache = Path(os.environ.get("BOXOFFICE_CACHE") or Path.home() / ".cache/boxoffice")
    found = (cache / "servers").glob(f"{engine.lower()}-*")
    newest = max((folder for folder in found if folder.is_dir()), key=lambda f: f.stat().st_mtime, default=None)
    if newest is None:
        raise BadInput(f"{engine} is not installed here: make servers")
    return newest
