"""The inner loop outside of Redis: the very text of `lua/pace.lua`, run by a Lua of our own."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any

from boxoffice.errors import BadInput

NAMES = (
    *("most_inside", "calls_per_second", "whole_calls", "learned", "show_rate", "still_coming", "claim_delay"),
    *("seats_cap", "smoothed", "shown_pace", "faded"),
)


class Pacing:
    """Its functions, under their own names; Lua 5.1, as in Redis."""

    most_inside: Callable[[float], float]
    calls_per_second: Callable[[float, float, float, float, float, float], float]
    whole_calls: Callable[[float, float], tuple[int, float]]
    learned: Callable[[float, float, int, int], tuple[float, float]]
    show_rate: Callable[[float, float], float]
    still_coming: Callable[[float, int, int, int], float]
    claim_delay: Callable[[float, float], float]
    seats_cap: Callable[[int, int, int, int, int, int, int, int, float], int]
    smoothed: Callable[[float, float, float, int, int, float], tuple[float, float, float]]
    shown_pace: Callable[[float, float, float], tuple[float, float]]
    faded: Callable[[float, float, float], float]

    def __init__(self) -> None:
        """Raises BadInput when there is no Lua."""
        functions = _runtime().execute(pace_source() + "\nreturn {" + ",".join(f"{n}={n}" for n in NAMES) + "}")
        for name in NAMES:
            setattr(self, name, functions[name])


def pace_source() -> str:
    return (resources.files("boxoffice") / "lua/pace.lua").read_text()


def _runtime() -> Any:
    try:
        from lupa.lua51 import LuaRuntime  # type: ignore[import-untyped]
    except ImportError:
        raise BadInput("this needs a Lua: pip install 'boxoffice[simulate]'") from None
    return LuaRuntime(unpack_returned_tuples=True)
