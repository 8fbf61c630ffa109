"""The `ConcertSale` resource: what a sale is, as an SRE writes it, checked field by field.

One source for the command line, the admin page and the cluster: Kubernetes' own shape (`apiVersion`, `kind`,
`metadata`, `spec`), no floats and no booleans in it, durations as whole seconds, money in minor units.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from datetime import datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
import yaml
from msgspec import Meta

from boxoffice.errors import NotFound, Unprocessable

MAX_RESOURCE_BYTES = 64 * 1024
MAX_SEATS = 200_000

Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?$")]
Text = Annotated[str, Meta(min_length=1, max_length=200)]
Time = Annotated[datetime, Meta(tz=True)]
Policy = Literal["Open", "Hold", "Drain", "Closed"]


class _Part(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A part of the spec: camelCase, and an unknown field is an error, not a silence."""


class Section(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """Either `rows` and `seatsPerRow`, or `capacity` for general admission."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    price_minor: Annotated[int, Meta(ge=0, le=1_000_000_000)]
    rows: Annotated[int, Meta(ge=1, le=1000)] | None = None
    seats_per_row: Annotated[int, Meta(ge=1, le=1000)] | None = None
    capacity: Annotated[int, Meta(ge=1, le=MAX_SEATS)] | None = None


class SeatingSpec(_Part, frozen=True, kw_only=True):
    sections: Annotated[list[Section], Meta(min_length=1, max_length=100)]


class LineSpec(_Part, frozen=True, kw_only=True):
    order: Literal["FIFO", "Draw"] = "FIFO"
    max_waiting: Annotated[int, Meta(ge=1, le=5_000_000)] = 1_000_000
    claim_seconds: Annotated[int, Meta(ge=5, le=600)] = 60
    one_per: Literal["Account", "Visitor"] = "Visitor"


class AdmissionSpec(_Part, frozen=True, kw_only=True):
    mode: Literal["Auto", "Advise", "Manual"] = "Auto"
    per_minute: Annotated[int, Meta(ge=0, le=1_000_000)] = 600
    min_active: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    max_active: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    initial_active: Annotated[int, Meta(ge=1, le=1_000_000)] = 200
    fallback_active: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    session_seconds: Annotated[int, Meta(ge=10, le=3600)] = 300
    weight: Annotated[int, Meta(ge=1, le=1000)] = 100


class Signal(_Part, frozen=True, kw_only=True):
    name: Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,62}$")]
    kind: Literal["Utilisation", "Latency", "Lag", "Errors"]
    query: Annotated[str, Meta(min_length=1, max_length=2000)]
    setpoint: Annotated[int, Meta(ge=1, le=2_000_000_000)]
    stale_seconds: Annotated[int, Meta(ge=5, le=600)] = 30


class HoldSpec(_Part, frozen=True, kw_only=True):
    seconds: Annotated[int, Meta(ge=5, le=3600)] = 300
    max_seats_per_buyer: Annotated[int, Meta(ge=1, le=10)] = 4


class AbuseSpec(_Part, frozen=True, kw_only=True):
    joins_per_minute_per_address: Annotated[int, Meta(ge=1, le=100_000)] = 60
    proof_of_work: Literal["Off", "Adaptive", "Always"] = "Off"


class Spec(_Part, frozen=True, kw_only=True):
    concert: Text
    title: Text
    venue: Text
    time_zone: Annotated[str, Meta(max_length=64)] = "UTC"
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$")]
    pre_queue_time: Time | None = None
    opens_time: Time
    closes_time: Time
    policy: Policy = "Open"
    seating: SeatingSpec
    line: LineSpec = LineSpec()
    admission: AdmissionSpec = AdmissionSpec()
    signals: Annotated[list[Signal], Meta(max_length=20)] = []
    hold: HoldSpec = HoldSpec()
    abuse: AbuseSpec = AbuseSpec()


class Metadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Kubernetes adds members of its own here; those we do not read are let through."""

    name: Name
    namespace: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class ConcertSale(_Part, frozen=True, kw_only=True, omit_defaults=True):
    api_version: Literal["boxoffice.dev/v1alpha1"]
    kind: Literal["ConcertSale"]
    metadata: Metadata
    spec: Spec
    status: msgspec.Raw | dict[str, Any] = {}


class _Loader(yaml.SafeLoader):
    """Plain YAML: times stay text, and aliases, with which a small file can grow huge, are refused."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed here")
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_sales(text: bytes) -> list[ConcertSale]:
    """All documents of a YAML or JSON file. Raises Unprocessable, naming the field and what would be right."""
    if len(text) > MAX_RESOURCE_BYTES:
        raise Unprocessable(f"a ConcertSale may have {MAX_RESOURCE_BYTES} bytes at most")
    try:
        documents = [d for d in yaml.load_all(text, _Loader) if d is not None]  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError, LookupError, AttributeError) as error:
        # the last two: PyYAML on a tag that its text does not fit, such as `!!bool perhaps`
        raise Unprocessable(f"this is not YAML: {' '.join(str(error).split())}", code="invalid_yaml") from None
    if not documents:
        raise Unprocessable("the file holds no ConcertSale", code="invalid_yaml")
    return [_convert(document) for document in documents]


def parse_sale(text: bytes) -> ConcertSale:
    """Exactly one document."""
    sales = parse_sales(text)
    if len(sales) != 1:
        raise Unprocessable(f"one ConcertSale is expected here, not {len(sales)}")
    return sales[0]


def dump_sale(sale: ConcertSale) -> str:
    """YAML that `parse_sale` reads back to the same value."""
    return yaml.safe_dump(to_builtins(sale), sort_keys=False, allow_unicode=True)


def to_builtins(sale: ConcertSale) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(sale)
    document.pop("status", None)
    return document


def _convert(document: Any) -> ConcertSale:
    try:
        sale = msgspec.convert(document, ConcertSale)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    _check(sale.spec)
    return sale


def _invalid(message: str) -> Unprocessable:
    what, _, where = message.partition(" - at `$")
    field = where.rstrip("`").lstrip(".") or "the resource"
    what = what.replace("Object missing", "missing").replace("Object", "it").replace("`", "")
    return Unprocessable(f"{field}: {what[0].lower()}{what[1:]}", code="invalid_sale", field=field)


def _check(spec: Spec) -> None:
    """What must hold between fields."""
    pre, opens, closes = spec.pre_queue_time or spec.opens_time, spec.opens_time, spec.closes_time
    a = spec.admission
    names = [section.name for section in spec.seating.sections]
    rules = [
        ("spec.preQueueTime", pre <= opens, "must not be after opensTime"),
        ("spec.closesTime", opens < closes, "must be after opensTime"),
        ("spec.opensTime", 2000 < opens.year < 2200 > closes.year, "must lie between the years 2000 and 2200"),
        ("spec.timeZone", _is_zone(spec.time_zone), "must be an IANA zone, such as Asia/Seoul"),
        ("spec.seating.sections", len(set(names)) == len(names), "must have different names"),
        ("spec.admission.fallbackActive", a.fallback_active >= a.min_active, "must be minActive or more"),
        ("spec.admission.initialActive", a.initial_active <= a.max_active, "must be maxActive or less"),
        ("spec.admission.minActive", a.min_active <= a.max_active, "must be maxActive or less"),
        ("spec.line.order", spec.line.order == "FIFO", "Draw is not built yet; use FIFO"),
        ("spec.abuse.proofOfWork", spec.abuse.proof_of_work != "Adaptive", "Adaptive is not built yet; use Always"),
    ]
    for field, holds, what in rules:
        if not holds:
            raise Unprocessable(f"{field}: {what}", code="invalid_sale", field=field)
    _check_sections(spec.seating.sections)


def _check_sections(sections: list[Section]) -> None:
    for i, section in enumerate(sections):
        rows = section.rows is not None and section.seats_per_row is not None and section.capacity is None
        general = section.capacity is not None and section.rows is None and section.seats_per_row is None
        if not (rows or general):
            field = f"spec.seating.sections[{i}]"
            raise Unprocessable(f"{field}: give rows and seatsPerRow, or capacity", code="invalid_sale", field=field)
    if sum(_size(section) for section in sections) > MAX_SEATS:
        field = "spec.seating.sections"
        raise Unprocessable(f"{field}: at most {MAX_SEATS} seats in all", code="invalid_sale", field=field)


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (OSError, ValueError):  # ZoneInfoNotFoundError is a KeyError only when the name is well-formed
        return False
    except KeyError:
        return False
    return True


def _size(section: Section) -> int:
    return section.capacity or (section.rows or 0) * (section.seats_per_row or 0)


class Block(msgspec.Struct, frozen=True):
    """A section in the numbering of the whole house: seats `first` to `first + size - 1`."""

    name: str
    first: int
    size: int
    rows: int
    """0 for general admission."""
    seats_per_row: int
    price_minor: int


def _offset(section: Block, numbers: list[str]) -> int:
    """Where in the section; negative for what can be no seat, and of the rest only one spelling is right."""
    try:
        if section.rows:
            row, seat = numbers
            return (int(row) - 1) * section.seats_per_row + int(seat) - 1
        (seat,) = numbers
        return int(seat) - 1
    except ValueError:
        return -1


class Seating:
    """Seats as numbers and as names: `stalls/3/12` (section, row, seat), `floor/0017` (general admission)."""

    def __init__(self, spec: SeatingSpec) -> None:
        self.sections: list[Block] = []
        first = 0
        for s in spec.sections:
            self.sections.append(Block(s.name, first, _size(s), s.rows or 0, s.seats_per_row or 0, s.price_minor))
            first += _size(s)
        self.total = first
        self._firsts = [section.first for section in self.sections]
        self.by_name = {section.name: section for section in self.sections}
        self.digest = hashlib.sha256(msgspec.json.encode(self.sections)).hexdigest()

    @classmethod
    def of(cls, spec: Spec) -> Seating:
        return cls(spec.seating)

    def section_of(self, index: int) -> Block:
        if not 0 <= index < self.total:
            raise NotFound(f"there is no seat number {index}", code="unknown_seat")
        return self.sections[bisect_right(self._firsts, index) - 1]

    def name(self, index: int) -> str:
        section = self.section_of(index)
        at = index - section.first
        if not section.rows:
            return f"{section.name}/{at + 1:04d}"
        return f"{section.name}/{at // section.seats_per_row + 1}/{at % section.seats_per_row + 1}"

    def index(self, name: str) -> int:
        """Raises NotFound for a name that this house does not have."""
        head, *rest = name.split("/")
        section = self.by_name.get(head)
        if section is not None:
            at = _offset(section, rest)
            if 0 <= at < section.size and self.name(section.first + at) == name:
                return section.first + at
        raise NotFound(f"there is no seat {name!r} here", code="unknown_seat")

    def price(self, index: int) -> int:
        """In minor units."""
        return self.section_of(index).price_minor


def to_ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)


def record_of(spec: Spec) -> list[str | int]:
    """The name,value pairs of the sale's record in Redis that come from the spec (lua/apply.lua)."""
    a, line = spec.admission, spec.line
    fields: dict[str, str | int] = {
        "policy": spec.policy,
        "prequeue_ms": to_ms(spec.pre_queue_time or spec.opens_time),
        "opens_ms": to_ms(spec.opens_time),
        "closes_ms": to_ms(spec.closes_time),
        "claim_ms": line.claim_seconds * 1000,
        "session_ms": a.session_seconds * 1000,
        "hold_ms": spec.hold.seconds * 1000,
        "max_seats": spec.hold.max_seats_per_buyer,
        "max_waiting": line.max_waiting,
        "joins_pm": spec.abuse.joins_per_minute_per_address,
        "mode": a.mode,
        "per_minute": a.per_minute,
        "min_active": a.min_active,
        "max_active": a.max_active,
        "fallback_active": a.fallback_active,
    }
    return [item for pair in fields.items() for item in pair]
