"""Spans and moments as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from boxoffice.durations import parse_until, short
from boxoffice.errors import BadInput

NOW = datetime(2030, 9, 6, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (179, "179s"),
        (180, "3m"),
        (192, "3m12s"),
        (3 * 3600 - 1, "179m59s"),
        (3 * 3600, "3h"),
        (3 * 3600 + 300, "3h5m"),
        (3 * 86_400, "3d"),
        (400 * 86_400, "400d"),
    ],
)
def test_a_span_is_said_shortly(seconds: int, text: str) -> None:
    assert short(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("20m", 20),
        ("90s", 1.5),
        ("1h30m", 90),
        ("2d", 2880),
        ("2030-09-06T11:20:00+02:00", 20),
        ("2030-09-06T09:20:00Z", 20),
    ],
)
def test_until_is_a_span_or_a_moment(text: str, minutes: float) -> None:
    assert parse_until(text, NOW) == NOW + timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "20m or a time"),
        ("soon", "20m or a time"),
        ("20", "20m or a time"),
        ("30m1h", "20m or a time"),
        ("-20m", "20m or a time"),
        ("2030-09-06T11:20:00", "20m or a time"),
        ("0s", "over already"),
        ("2030-09-06T10:20:00+02:00", "over already"),
    ],
)
def test_until_that_cannot_be_is_refused(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        parse_until(text, NOW)
