"""A ConcertSale as kubectl gives it. The definition there may be newer than this: what is not known is let through."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from boxoffice.errors import Unprocessable
from boxoffice.override import ANNOTATION, Override, parse
from boxoffice.status import AdmissionStatus, Seats


class _Seen(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of it."""


class SeenAdmission(_Seen, frozen=True, kw_only=True):
    mode: str = "Auto"
    per_minute: int = 0
    min_active: int = 0
    max_active: int = 0
    initial_active: int = 0
    fallback_active: int = 0


class SeenLine(_Seen, frozen=True, kw_only=True):
    max_waiting: int = 0


class SeenSignal(_Seen, frozen=True, kw_only=True):
    name: str


class SeenSpec(_Seen, frozen=True, kw_only=True):
    title: str = ""
    pre_queue_time: datetime | None = None
    opens_time: datetime
    closes_time: datetime
    policy: str = "Open"
    line: SeenLine = SeenLine()
    admission: SeenAdmission = SeenAdmission()
    signals: list[SeenSignal] = []


class SeenCondition(_Seen, frozen=True, kw_only=True):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


class SeenSignalStatus(_Seen, frozen=True, kw_only=True):
    """Numbers in thousandths."""

    name: str
    kind: str = ""
    value: int | None = None
    setpoint: int = 0
    pressure: int | None = None
    state: str = ""
    message: str = ""


class SeenDecision(_Seen, frozen=True, kw_only=True):
    time: datetime
    active_target: int
    limited_by: str = ""
    reason: str = ""


class SeenStatus(_Seen, frozen=True, kw_only=True):
    observed_generation: int = 0
    opened_time: datetime | None = None
    admission: AdmissionStatus = AdmissionStatus()
    seats: Seats = Seats()
    waiting: int = 0
    signals: list[SeenSignalStatus] = []
    decisions: list[SeenDecision] = []
    conditions: list[SeenCondition] = []


class SeenMetadata(_Seen, frozen=True, kw_only=True):
    name: str
    namespace: str = ""
    generation: int = 0
    creation_timestamp: datetime
    annotations: Mapping[str, str] = {}


class SeenSale(_Seen, frozen=True, kw_only=True):
    metadata: SeenMetadata
    spec: SeenSpec
    status: SeenStatus = SeenStatus()

    @property
    def name(self) -> str:
        return self.metadata.name

    def override(self, now: datetime) -> Override | None:
        """The one that counts now; whether the resource's own policy is stricter still is another question."""
        try:
            override = parse(self.metadata.annotations.get(ANNOTATION, ""))
        except Unprocessable:
            return None
        over = override.until is not None and override.until <= now
        return None if over or override.policy == "Open" else override

    def condition(self, type: str) -> SeenCondition | None:
        return next((condition for condition in self.status.conditions if condition.type == type), None)


class SeenSales(msgspec.Struct, frozen=True):
    items: list[SeenSale]


def sale_of(document: bytes | str | msgspec.Raw) -> SeenSale:
    return msgspec.json.decode(document, type=SeenSale)


def sales_of(document: bytes | str) -> list[SeenSale]:
    """Of a list, or of one alone."""
    if msgspec.json.decode(document, type=_Kind).kind == "List":
        return msgspec.json.decode(document, type=SeenSales).items
    return [sale_of(document)]


class _Kind(msgspec.Struct):
    kind: str
