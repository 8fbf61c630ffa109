"""A collector of traces as a test needs one: takes OTLP over HTTP, keeps the spans, and draws a trace as text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.integration.pod import _listening as listening, _server as server

SECONDS = 30.0


class Span(NamedTuple):
    name: str
    service: str
    trace: str
    id: str
    parent: str
    began_ns: int
    ended_ns: int
    attributes: dict[str, str | int]
    links: list[str]
    failed: bool


class Collector:
    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.asked = 0
        self.spans: list[Span] = []
        self._changed = asyncio.Condition()

    async def take(self, request: Request) -> Response:
        sent = ExportTraceServiceRequest.FromString(await request.body())
        async with self._changed:
            self.asked += 1
            if self.status == 200:
                self.spans += [span for each in sent.resource_spans for span in _spans(each)]
            self._changed.notify_all()
        return Response(status_code=self.status)

    async def until(self, there: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS), self._changed:
            await self._changed.wait_for(there)

    def trace(self, trace_id: str) -> list[Span]:
        return sorted((span for span in self.spans if span.trace == trace_id), key=lambda span: span.began_ns)


def _spans(sent: object) -> list[Span]:
    resource = _attributes(sent.resource.attributes)  # type: ignore[attr-defined]
    scopes = sent.scope_spans  # type: ignore[attr-defined]
    return [_span(str(resource["service.name"]), span) for scope in scopes for span in scope.spans]


def _span(service: str, s: Sent) -> Span:
    times = s.start_time_unix_nano, s.end_time_unix_nano
    links = [link.span_id.hex() for link in s.links]
    ids = s.trace_id.hex(), s.span_id.hex(), s.parent_span_id.hex()
    return Span(s.name, service, *ids, *times, _attributes(s.attributes), links, s.status.code == 2)


def _attributes(sent: object) -> dict[str, str | int]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value"))
        for each in sent  # type: ignore[attr-defined]
    }


def drawn(spans: Sequence[Span], began_ns: int | None = None) -> str:
    """One trace, a line a span: when it began, how long it took, who did it, what."""
    began_ns = spans[0].began_ns if began_ns is None else began_ns
    ids = {span.id for span in spans}
    tops = [span for span in spans if span.parent not in ids]
    return "\n".join(line for top in tops for line in _lines(top, spans, began_ns, 0))


def _lines(span: Span, spans: Sequence[Span], began_ns: int, depth: int) -> list[str]:
    at, took = (span.began_ns - began_ns) / 1e6, (span.ended_ns - span.began_ns) / 1e6
    told = (f"{name.rpartition('.')[2]}={value}" for name, value in span.attributes.items() if name.startswith("box"))
    line = f"{at:8.1f} {took:7.1f} ms  {span.service:17} {'  ' * depth}{' '.join([span.name, *told])}"
    children = (
        line for child in spans if child.parent == span.id for line in _lines(child, spans, began_ns, depth + 1)
    )
    return [line, *children]


@asynccontextmanager
async def open_collector() -> AsyncIterator[Collector]:
    collector = Collector()
    turning = server(Starlette(routes=[Route("/v1/traces", collector.take, methods=["POST"])]))
    with listening() as port:
        collector.url = f"http://127.0.0.1:{port.getsockname()[1]}/v1/traces"
        serving = asyncio.create_task(turning.serve([port]))
        try:
            yield collector
        finally:
            turning.should_exit = True
            await serving
