"""Who is traced, and how many at most; wrong settings are refused at the start."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest

from boxoffice import tracing
from boxoffice.errors import BadInput
from boxoffice.settings import Settings
from boxoffice.tracing import Sampler

MANY = 100_000


def traceparent(flags: str, trace: str = "") -> bytes:
    return f"00-{trace or secrets.token_hex(16)}-{secrets.token_hex(8)}-{flags}".encode()


def test_of_those_who_leave_it_to_us_the_ratio_is_traced() -> None:
    for parents in ([b""] * 10_000, [traceparent("02") for _ in range(10_000)]):
        sampler = Sampler(0.01, MANY, "a key")
        assert 50 < sum(map(sampler.takes, parents)) < 200


def test_all_pods_choose_the_same() -> None:
    pods = [Sampler(0.5, MANY, "a key") for _ in range(3)]
    for _ in range(100):
        parent = traceparent("02")
        assert len({pod.takes(parent) for pod in pods}) == 1


def test_whoever_does_not_know_the_key_cannot_choose_a_trace_that_is_taken() -> None:
    ours, theirs = Sampler(0.5, MANY, "a key"), Sampler(0.5, MANY, "another")
    parents = [traceparent("02") for _ in range(1000)]
    both = sum(ours.takes(parent) == theirs.takes(parent) for parent in parents)
    assert 350 < both < 650


@pytest.mark.parametrize("flags", ["01", "03", "ff"])
def test_whoever_asks_is_traced_but_not_beyond_the_bound(flags: str) -> None:
    sampler = Sampler(0.0, 5, "")
    taken = sum(sampler.takes(traceparent(flags)) for _ in range(1000))
    assert 5 <= taken < 500


def test_one_trace_that_is_taken_is_bounded_as_well() -> None:
    sampler, parent = Sampler(1.0, 5, ""), traceparent("02")
    assert sum(sampler.takes(parent) for _ in range(1000)) < 500


def test_whoever_declines_is_not_traced() -> None:
    assert not Sampler(1.0, 5, "").takes(traceparent("00"))


@pytest.mark.parametrize(
    "changes",
    [{"traces_url": "collector:4318"}, {"traces_ratio": 1.5}, {"traces_ratio": -0.1}],
)
def test_wrong_settings_are_refused(changes: dict[str, str | float]) -> None:
    settings = replace(Settings(traces_url="http://collector:4318/v1/traces"), **changes)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="BOXOFFICE_TRACES_"):
        tracing.start(settings, "test")
    assert not tracing.tracing()
