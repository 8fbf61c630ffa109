"""Traces: which requests are followed, and the spans on their way.

Off unless BOXOFFICE_TRACES_URL is set: nothing is imported for it then, and a step looks once whether it is traced.
What spans are made of is in otlp.py.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING, Literal

from boxoffice.errors import BadInput
from boxoffice.settings import Settings

if TYPE_CHECKING:
    from boxoffice.eventlog import Record
    from boxoffice.orderrecords import SettledOrder
    from boxoffice.otlp import Batch, Span, Tracer

Kind = Literal["internal", "client", "server", "producer", "consumer"]

well_formed = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}").fullmatch
SAMPLED, RANDOM = 1, 2
"""Flags of a traceparent. RANDOM alone, as our pages send it: whoever began the trace leaves the choice to us."""

_UNTRACED = nullcontext()

_tracer: Tracer | None = None
_span: ContextVar[Span | None] = ContextVar("span", default=None)
_batch: ContextVar[Batch | None] = ContextVar("batch", default=None)

current = _span.get
"""The span that we are in; None for whatever is not traced."""


class Sampler:
    """Who is traced. An outsider may ask for it, and may choose a trace id; neither gets more than `most` a second."""

    def __init__(self, ratio: float, most: int, key: str) -> None:
        self._ratio, self._most = ratio, most
        self._hash = hashlib.blake2b(digest_size=4, key=hashlib.sha256(key.encode()).digest())
        self._left, self._filled = float(most), monotonic()

    def takes(self, traceparent: bytes) -> bool:
        """`traceparent`: well formed, or empty. One trace is taken by all pods or by none."""
        if not traceparent:
            wanted = random.random() < self._ratio
        elif (flags := int(traceparent[-2:], 16)) & SAMPLED:
            wanted = True
        else:
            wanted = bool(flags & RANDOM) and self._draw(traceparent[3:35]) < self._ratio
        return wanted and self._may()

    def _draw(self, trace_id: bytes) -> float:
        """From 0 to 1. Keyed: else an outsider could choose an id that is taken."""
        drawn = self._hash.copy()
        drawn.update(trace_id)
        return int.from_bytes(drawn.digest(), "big") / 2**32

    def _may(self) -> bool:
        now = monotonic()
        self._left = min(self._most, self._left + (now - self._filled) * self._most)
        self._filled = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def check(settings: Settings) -> None:
    """Raises BadInput."""
    if settings.traces_url and not settings.traces_url.startswith(("http://", "https://")):
        raise BadInput("BOXOFFICE_TRACES_URL must be an OTLP/HTTP address such as http://collector:4318/v1/traces")
    if not 0 <= settings.traces_ratio <= 1:
        raise BadInput("BOXOFFICE_TRACES_RATIO must be between 0 and 1")


def start(settings: Settings, process: str) -> None:
    """Raises BadInput."""
    global _tracer
    check(settings)
    if not settings.traces_url:
        return
    try:
        from boxoffice.otlp import Tracer
    except ModuleNotFoundError as error:
        raise BadInput(f"BOXOFFICE_TRACES_URL needs `pip install 'boxoffice[traces]'` ({error})") from None
    _tracer = Tracer(settings, process)


async def stop() -> None:
    """What has not gone out yet goes, if the collector takes it soon."""
    global _tracer
    tracer, _tracer = _tracer, None
    if tracer is not None:
        await tracer.close()


def tracing() -> bool:
    return _tracer is not None


def trace_id() -> str:
    span = current()
    return span.trace_id if span is not None else ""


def trace_id_of(traceparent: bytes) -> str:
    return traceparent[3:35].decode() if well_formed(traceparent) else ""


def request(step: str, traceparent: bytes) -> Span | None:
    """The span of a request, if it is to be traced; enter it by `inside`."""
    if _tracer is None:
        return None
    parent = traceparent if well_formed(traceparent) else b""
    return _tracer.span(step, "server", parent) if _tracer.sampler.takes(parent) else None


@contextmanager
def inside(span: Span) -> Iterator[Span]:
    """Ends it as well; of an error it keeps the kind, for the text may be anybody's."""
    token = _span.set(span)
    try:
        yield span
    except BaseException as error:
        span.fail(type(error).__name__)
        raise
    finally:
        _span.reset(token)
        span.end()


def step(name: str, kind: Kind = "internal") -> AbstractContextManager[object]:
    """A span in the current one, if there is one."""
    parent = current()
    return _UNTRACED if parent is None else inside(parent.child(name, kind))


def outgoing(traceparent: bytes) -> bytes:
    """What goes on to the next process of a request that came with this: it must not take for traced what is not."""
    span = current()
    if span is not None:
        return span.traceparent
    return traceparent[:-2] + b"00" if _tracer is not None and well_formed(traceparent) else traceparent


@contextmanager
def batch(records: Sequence[Record]) -> Iterator[Batch | None]:
    """While records are settled together: a span for each that is traced, and one, linked to all, for the batch."""
    found = _tracer.batch(records) if _tracer is not None else None
    if found is None:
        yield None
        return
    token = _batch.set(found)
    try:
        with inside(found.span):
            yield found
    finally:
        _batch.reset(token)
        found.end()


def charge(record: Record) -> AbstractContextManager[object]:
    found = _batch.get()
    span = found.orders.get(record.offset) if found is not None else None
    return _UNTRACED if span is None else inside(span.child("charge", "client"))


def commit(orders: Sequence[SettledOrder]) -> AbstractContextManager[object]:
    """The transaction that writes orders: a span of the batch, and one in the trace of each."""
    found = _batch.get()
    return _UNTRACED if found is None else found.commit(orders)
