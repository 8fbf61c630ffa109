"""Times as the API writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


def rfc3339(ms: int) -> str:
    """Unix ms, in UTC, to the millisecond."""
    return f"{_second(ms // 1000)}.{ms % 1000:03d}+00:00"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    """The answers to a crowd all name the same few seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
