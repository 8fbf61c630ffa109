"""One at a time on a machine."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator

from tests.cluster.programs import CACHE


@contextlib.contextmanager
def alone(what: str, say: Callable[[str], None]) -> Iterator[None]:
    """Waits for whoever has it, a `node` for instance, and says so."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{what}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"somebody else has the {what} here; waiting for them")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
