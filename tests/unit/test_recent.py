"""A bounded memory: what is asked for again stays, what is not goes."""

from __future__ import annotations

from boxoffice.recent import Recent


def test_never_more_than_it_may_hold() -> None:
    recent: Recent[int, int] = Recent(10)
    for key in range(1000):
        recent.put(key, key)
        assert len(recent) <= 10
        assert recent.get(key) == key


def test_what_is_asked_for_again_stays() -> None:
    recent: Recent[int, str] = Recent(10)
    recent.put(0, "kept")
    for key in range(1, 1000):
        recent.put(key, "passing")
        assert recent.get(0) == "kept"


def test_what_nobody_asks_for_goes() -> None:
    recent: Recent[int, str] = Recent(10)
    recent.put(0, "old")
    for key in range(1, 11):
        recent.put(key, "new")
    assert recent.get(0) is None


def test_the_newest_value_counts() -> None:
    recent: Recent[int, int] = Recent(4)
    for value in range(20):
        recent.put(7, value)
        recent.put(100 + value, 0)
        assert recent.get(7) == value
