"""Times are written as the standard library writes them, only sooner."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, strategies as st

from boxoffice.times import rfc3339


def test_an_example() -> None:
    assert rfc3339(1_893_456_000_007) == "2030-01-01T00:00:00.007+00:00"


@given(st.integers(0, 4_102_444_800_000))
def test_as_the_standard_library(ms: int) -> None:
    assert rfc3339(ms) == datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
