"""The pace in the simulator is the pace in Redis: the same text gives the same numbers in either Lua."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings, strategies as st

from boxoffice.embedded import EmbeddedStore
from boxoffice.pacing import NAMES, Pacing, pace_source

SOME = st.floats(0, 1e6)
COUNT = st.integers(0, 10**6)
SHARE = st.floats(0.2, 1)
ARGUMENTS: dict[str, tuple[st.SearchStrategy[Any], ...]] = {
    "most_inside": (SOME,),
    "calls_per_second": (SOME, COUNT, SOME, SOME, st.floats(0, 600), SHARE),
    "whole_calls": (SOME, st.integers(-1000, 10**6)),
    "learned": (SOME, SOME, COUNT, COUNT),
    "show_rate": (SOME, SOME),
    "still_coming": (SHARE, COUNT, COUNT, COUNT),
    "claim_delay": (st.floats(0, 600), st.floats(0, 600)),
    "seats_cap": (COUNT, COUNT, COUNT, COUNT, st.integers(1, 10), COUNT, COUNT, COUNT, SHARE),
    "smoothed": (SOME, SOME, SOME, COUNT, COUNT, st.floats(0.01, 1)),
    "shown_pace": (SOME, SOME, st.floats(0, 1e9)),
    "faded": (SOME, SOME, st.floats(0, 1e4)),
}
CALLS = st.sampled_from(NAMES).flatmap(lambda name: st.tuples(st.just(name), st.tuples(*ARGUMENTS[name])))
IN_REDIS = f"""{pace_source()}
local functions = {{ {", ".join(f"{name} = {name}" for name in NAMES)} }}
local numbers = {{}}
for i = 2, #ARGV do numbers[i - 1] = tonumber(ARGV[i]) end
local results = {{ functions[ARGV[1]](unpack(numbers)) }}
for i, result in ipairs(results) do results[i] = string.format('%.17g', result) end
return results"""


@pytest.fixture(scope="module")
def client(valkey: EmbeddedStore) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey.url) as client:
        yield client


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(call=CALLS)
def test_the_same_numbers(client: redis.Redis, call: tuple[str, tuple[float, ...]]) -> None:
    name, arguments = call
    found = getattr(Pacing(), name)(*arguments)
    there: Any = client.eval(IN_REDIS, 0, name, *(repr(argument) for argument in arguments))
    assert [float(number) for number in there] == list(found if isinstance(found, tuple) else (found,))


def test_a_target_that_nobody_renews() -> None:
    faded = Pacing().faded
    assert [faded(1000, 200, seconds) for seconds in (0, 120, 180, 240)] == [1000, 1000, 600, 400]
    assert faded(100, 200, 1e6) == 100
