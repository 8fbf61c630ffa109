"""Spans, and their way to a collector by OTLP/HTTP: in batches, by a thread of its own; at most QUEUE of them wait.

The one module that imports OpenTelemetry. Only what is sampled comes here (tracing.py).
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from boxoffice import __version__
from boxoffice.eventlog import Record
from boxoffice.events import TRACE_HEADER
from boxoffice.orderrecords import SettledOrder
from boxoffice.settings import Settings
from boxoffice.tracing import SAMPLED, Kind, Sampler, well_formed

QUEUE = 2048
"""Spans; one more takes the place of the oldest."""
AT_A_TIME = 128
"""Few, because encoding them keeps the loop from its turn."""
DELAY_MS = 1000
EXPORT_SECONDS = 5.0
FLUSH_SECONDS = 3.0
"""At the end. A collector that is not there must not hold a pod up."""
MOST_LINKS = 128
_KINDS = {kind: SpanKind[kind.upper()] for kind in ("internal", "client", "server", "producer", "consumer")}


class Span:
    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer, self._span = tracer, span

    @property
    def context(self) -> SpanContext:
        return self._span.get_span_context()

    @property
    def trace_id(self) -> str:
        return f"{self.context.trace_id:032x}"

    @property
    def traceparent(self) -> bytes:
        return b"00-%032x-%016x-01" % (self.context.trace_id, self.context.span_id)

    def child(self, name: str, kind: Kind = "internal", began_ns: int | None = None) -> Span:
        context = trace.set_span_in_context(self._span)
        return Span(self._tracer, self._tracer.start_span(name, context, _KINDS[kind], start_time=began_ns))

    def say(self, **attributes: str | int) -> None:
        """Names in words: `sale_uid` is `boxoffice.sale_uid`."""
        self._span.set_attributes({f"boxoffice.{name}": value for name, value in attributes.items()})

    def answered(self, method: str, status: int) -> None:
        self._span.set_attributes({"http.request.method": method, "http.response.status_code": status})
        if status >= 500:
            self.fail(str(status))

    def fail(self, kind: str) -> None:
        self._span.set_attribute("error.type", kind)
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        self._span.end()


class Batch:
    """Records settled together: its own span, and by offset those of the orders that are traced."""

    def __init__(self, span: Span, orders: dict[int, Span]) -> None:
        self.span, self.orders = span, orders

    @contextmanager
    def commit(self, orders: Sequence[SettledOrder]) -> Iterator[None]:
        began_ns = time.time_ns()
        traced = [self.orders[order.log_offset] for order in orders if order.log_offset in self.orders]
        commits = [span.child("commit", "client", began_ns) for span in (self.span, *traced)]
        try:
            yield
        except BaseException as error:
            for span in commits:
                span.fail(type(error).__name__)
            raise
        finally:
            for span in commits:
                span.say(orders=len(orders))
                span.end()

    def settled(self, orders: Sequence[SettledOrder]) -> None:
        """What became of them; a record without was a repeat, or has to wait for the next batch."""
        for order in orders:
            if span := self.orders.get(order.log_offset):
                span.say(sale=order.sale, order=order.id, state=order.state)

    def end(self) -> None:
        for span in self.orders.values():
            span.end()


class Tracer:
    def __init__(self, settings: Settings, process: str) -> None:
        self.sampler = Sampler(settings.traces_ratio, settings.traces_per_second, settings.keys)
        resource = {
            "service.name": f"boxoffice-{process}",
            "service.namespace": settings.instance,
            "service.version": __version__,
            "service.instance.id": f"{os.environ.get('HOSTNAME') or socket.gethostname()}:{os.getpid()}",
        }
        self._provider = TracerProvider(ALWAYS_ON, Resource.create(resource), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(settings.traces_url, timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, QUEUE, DELAY_MS, AT_A_TIME))
        self._tracer = self._provider.get_tracer("boxoffice", __version__)

    def span(self, name: str, kind: Kind, traceparent: bytes = b"", links: Sequence[Link] = ()) -> Span:
        """The first one here of a trace; a traceparent is that of who called us, elsewhere."""
        context = Context()
        if traceparent:
            context = trace.set_span_in_context(trace.NonRecordingSpan(_context_of(traceparent)), context)
        return Span(self._tracer, self._tracer.start_span(name, context, _KINDS[kind], links=links))

    def batch(self, records: Sequence[Record]) -> Batch | None:
        """None when none of them is traced. Whoever wrote the log may not have too many traced either."""
        found = {record.offset: dict(record.headers).get(TRACE_HEADER, b"") for record in records if record.headers}
        traced = {offset: parent for offset, parent in found.items() if _is_sampled(parent)}
        orders = {
            offset: self.span("settle", "consumer", parent)
            for offset, parent in traced.items()
            if self.sampler.takes(parent)
        }
        if not orders:
            return None
        links = [Link(span.context) for span in list(orders.values())[:MOST_LINKS]]
        span = self.span("batch", "consumer", links=links)
        span.say(records=len(records), traced=len(orders), partition=records[0].partition)
        return Batch(span, orders)

    async def close(self) -> None:
        flushing = threading.Thread(target=self._provider.shutdown, daemon=True)
        flushing.start()
        await asyncio.to_thread(flushing.join, FLUSH_SECONDS)


def _is_sampled(traceparent: bytes) -> bool:
    return bool(well_formed(traceparent) and int(traceparent[-2:], 16) & SAMPLED)


def _context_of(traceparent: bytes) -> SpanContext:
    _, trace_id, span_id, _ = traceparent.split(b"-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
