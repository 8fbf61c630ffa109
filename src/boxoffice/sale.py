"""The `ConcertSale` resource: what a sale is, as an SRE writes it, checked field by field.

One source for the command line, the admin page and the cluster: Kubernetes' own shape (`apiVersion`, `kind`,
`metadata`, `spec`), no floats and no booleans in it, durations as whole seconds, money in minor units.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec
import yaml

from boxoffice.errors import Unprocessable
from boxoffice.seating import size_of
from boxoffice.spec import MAX_SEATS, Name, Part, Section, Spec

MAX_RESOURCE_BYTES = 64 * 1024


class Metadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Kubernetes adds members of its own here; those we do not read are let through."""

    name: Name
    namespace: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class ConcertSale(Part, frozen=True, kw_only=True, omit_defaults=True):
    api_version: Literal["boxoffice.dev/v1alpha1"]
    kind: Literal["ConcertSale"]
    metadata: Metadata
    spec: Spec
    status: msgspec.Raw | dict[str, Any] = msgspec.field(default_factory=dict)


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
    return [convert_sale(document) for document in documents]


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


def convert_sale(document: Any) -> ConcertSale:
    """A document as Kubernetes or YAML has it. Raises Unprocessable."""
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
    if sum(size_of(section) for section in sections) > MAX_SEATS:
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
