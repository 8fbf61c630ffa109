"""Spans of time as people read and write them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from boxoffice.errors import BadInput

_UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_SPAN = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,7})s)?")


def short(span: timedelta) -> str:
    """As kubectl prints ages: the two largest units, the second one only while it says something."""
    seconds = max(0, int(span.total_seconds()))
    days, hours, minutes = seconds // 86_400, seconds // 3600, seconds // 60
    if days >= 3:
        return f"{days}d"
    if hours >= 3:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if minutes >= 3:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    return f"{seconds}s"


def parse_until(text: str, now: datetime) -> datetime:
    """A span from now, such as 20m or 1h30m, or an RFC 3339 time. Raises BadInput."""
    found = _SPAN.fullmatch(text)
    if text and found:
        parts = zip(found.groups(), _UNITS.values(), strict=True)
        until = now + timedelta(seconds=sum(int(number or 0) * unit for number, unit in parts))
    else:
        until = _time(text)
    if until <= now:
        raise BadInput(f"--until {text}: that is over already")
    return until


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise BadInput(f"--until must be a span such as 20m or a time such as 2030-09-06T10:00:00+02:00, not {text!r}")
    return time
