"""Every decision with all that went into it, a JSON line each; and the same again from these lines alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from boxoffice.control import Decision, State, decide
from boxoffice.errors import Unprocessable
from boxoffice.readings import Fact, Load, Reading, Rules


class Entry(Fact, frozen=True, kw_only=True):
    """`state` before, `after`, and what was decided in between."""

    sale: str
    now: float
    state: State
    readings: list[Reading]
    load: Load
    rules: Rules
    after: State
    decision: Decision


def decided(sale: str, state: State, readings: Sequence[Reading], load: Load, rules: Rules, now: float) -> Entry:
    """Decides, and keeps what is needed to do so again."""
    after, decision = decide(state, readings, load, rules, now)
    return Entry(
        sale=sale, now=now, state=state, readings=[*readings], load=load, rules=rules, after=after, decision=decision
    )


def line(entry: Entry) -> bytes:
    return msgspec.json.encode(entry) + b"\n"


def first_difference(lines: Iterable[bytes]) -> tuple[int, bytes, bytes] | None:
    """Decides all again. The number of the first line that comes out otherwise, that line, and what it should be.

    Raises Unprocessable, naming the line, where a line is no entry.
    """
    for number, text in enumerate(lines, 1):
        again = line(_again(number, text))
        if again.rstrip(b"\n") != text.rstrip(b"\r\n"):
            return number, text, again
    return None


def _again(number: int, text: bytes) -> Entry:
    try:
        entry = msgspec.json.decode(text, type=Entry)
    except msgspec.MsgspecError as error:
        raise Unprocessable(f"line {number}: {error}", code="invalid_log") from None
    return decided(entry.sale, entry.state, entry.readings, entry.load, entry.rules, entry.now)
