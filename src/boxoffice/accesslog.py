"""A line for some of the answers: each of 5xx, each slow one, and one in so many of the rest.

At most MOST_A_SECOND, so that a fault that meets everybody does not drown in its own log; what was left out is counted.
"""

from __future__ import annotations

import logging
from time import perf_counter

from starlette.types import Message, Scope, Send

from boxoffice import tracing
from boxoffice.wire import header

SLOW_SECONDS = 1.0
MOST_A_SECOND = 100

log = logging.getLogger("boxoffice.access")


class AccessLog:
    """One for each app."""

    def __init__(self, every: int) -> None:
        """`every`: of the rest; 0: none of them."""
        self._every, self._since = every, 0
        self._second = self._lines = self._left_out = 0

    def note(self, step: str, status: int, began: float, sale: str, scope: Scope) -> None:
        """`began`: by `perf_counter`. `sale`: one that there is, or nothing."""
        self._since += 1
        seconds = perf_counter() - began
        if self._since == self._every or status >= 500 or seconds >= SLOW_SECONDS:
            self._write(step, status, seconds, sale, scope)

    def noted(self, scope: Scope, send: Send) -> Send:
        """Notes an answer of no step as it goes out."""
        began = perf_counter()

        async def note_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.note("other", message["status"], began, "", scope)
            await send(message)

        return note_and_send

    def _write(self, step: str, status: int, seconds: float, sale: str, scope: Scope) -> None:
        if self._since >= self._every:
            self._since = 0
        if not self._has_room():
            self._left_out += 1
            return
        fields: dict[str, str | int | float] = {"step": step, "status": status, "ms": round(seconds * 1000, 1)}
        if sale:
            fields["sale"] = sale
        if trace := tracing.trace_id_of(header(scope, b"traceparent")):
            fields["trace"] = trace
        if self._left_out:
            fields["leftOut"], self._left_out = self._left_out, 0
        log.info("%s", scope["method"], extra={"fields": fields})

    def _has_room(self) -> bool:
        second = int(perf_counter())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        return self._lines <= MOST_A_SECOND
