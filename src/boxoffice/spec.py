"""The spec of a `ConcertSale`: its parts, what each field means, and its bounds; the CRD is made from it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, inspect

MAX_SEATS = 200_000

Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?$")]
Text = Annotated[str, Meta(min_length=1, max_length=200)]
Time = Annotated[datetime, Meta(tz=True)]
Policy = Literal["Open", "Hold", "Drain", "Closed"]


def _says(description: str, **bounds: Any) -> Meta:
    """What `kubectl explain` prints of a field, and its bounds."""
    return Meta(description=description, **bounds)


class Part(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A part of the spec: camelCase, and an unknown field is an error, not a silence."""


class Section(Part, frozen=True, kw_only=True, omit_defaults=True):
    """Either `rows` and `seatsPerRow`, or `capacity` for general admission."""

    name: Annotated[str, _says("Part of every seat's name, such as stalls/3/12.", pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    price_minor: Annotated[int, _says("A seat's price in minor units of the currency.", ge=0, le=1_000_000_000)]
    rows: Annotated[int, _says("Rows of numbered seats; with seatsPerRow.", ge=1, le=1000)] | None = None
    seats_per_row: Annotated[int, _says("Seats in each row; with rows.", ge=1, le=1000)] | None = None
    capacity: (
        Annotated[int, _says("General admission: so many may buy, none has a seat of their own.", ge=1, le=MAX_SEATS)]
        | None
    ) = None


class SeatingSpec(Part, frozen=True, kw_only=True):
    """What is sold. It cannot be changed once the sale is open."""

    sections: Annotated[
        list[Section], _says("The parts of the house, each at one price.", min_length=1, max_length=100)
    ]


class LineSpec(Part, frozen=True, kw_only=True):
    """Who may wait, and how the line is ordered."""

    order: Annotated[
        Literal["FIFO", "Draw"],
        _says("FIFO: by arrival, before the opening too. Draw: who came before the opening is drawn at it."),
    ] = "FIFO"
    max_waiting: Annotated[int, _says("One more is told that the line is full.", ge=1, le=5_000_000)] = 1_000_000
    claim_seconds: Annotated[
        int, _says("A called buyer who does not come in this time loses the turn.", ge=5, le=600)
    ] = 60
    one_per: Annotated[
        Literal["Account", "Visitor"], _says("One place each. Account: the shop's sign-in is needed to join.")
    ] = "Visitor"


class AdmissionSpec(Part, frozen=True, kw_only=True):
    """How many are inside at a time, and who decides that."""

    mode: Annotated[
        Literal["Auto", "Advise", "Manual"],
        _says(
            "Auto: the signals move the number inside between minActive and maxActive. Advise: decided and shown, but "
            "not done. Manual: perMinute buyers are called, whatever happens inside, up to maxActive."
        ),
    ] = "Auto"
    per_minute: Annotated[int, _says("Calls a minute in Manual mode.", ge=0, le=1_000_000)] = 600
    min_active: Annotated[int, _says("Never fewer inside than this, in Auto.", ge=1, le=1_000_000)] = 1
    max_active: Annotated[int, _says("Never more inside than this.", ge=1, le=1_000_000)] = 10_000
    initial_active: Annotated[int, _says("Inside at the opening, until the signals say more.", ge=1, le=1_000_000)] = (
        200
    )
    fallback_active: Annotated[
        int,
        _says(
            "Inside when nothing is known of the back end any more: a number that is always safe.", ge=1, le=1_000_000
        ),
    ] = 100
    session_seconds: Annotated[int, _says("How long one buyer may stay inside.", ge=10, le=3600)] = 300
    weight: Annotated[int, _says("Share of a budget that several sales have in common.", ge=1, le=1000)] = 100


class Signal(Part, frozen=True, kw_only=True):
    """What Prometheus knows of the back end, and where it should stay."""

    name: Annotated[str, _says("Shown as LIMITED-BY.", pattern=r"^[A-Za-z][A-Za-z0-9-]{0,62}$")]
    kind: Annotated[
        Literal["Utilisation", "Latency", "Lag", "Errors"],
        _says("Utilisation steers. Latency only brakes. Lag only limits. Errors stop."),
    ]
    query: Annotated[str, _says("PromQL for one number.", min_length=1, max_length=2000)]
    setpoint: Annotated[
        int, _says("Where it should stay, in thousandths of the query's unit: 700 is 0.7.", ge=1, le=2_000_000_000)
    ]
    stale_seconds: Annotated[int, _says("A reading older than this is no longer fresh.", ge=5, le=600)] = 30


class HoldSpec(Part, frozen=True, kw_only=True):
    """How seats wait for their payment."""

    seconds: Annotated[int, _says("How long seats are held for a buyer who has not paid.", ge=5, le=3600)] = 300
    max_seats_per_buyer: Annotated[int, _says("Held and bought together.", ge=1, le=10)] = 4


class AbuseSpec(Part, frozen=True, kw_only=True):
    """What slows down who wants more than one buyer's share."""

    joins_per_minute_per_address: Annotated[int, _says("By IPv4 address or IPv6 /64 network.", ge=1, le=100_000)] = 60
    proof_of_work: Annotated[
        Literal["Off", "Adaptive", "Always"], _says("Whether joining costs the browser a second of work.")
    ] = "Off"


class Replicas(Part, frozen=True, kw_only=True):
    """Pods at least; 0 leaves that Deployment alone."""

    app: Annotated[int, _says("Of the app.", ge=0, le=1000)] = 0
    settle: Annotated[int, _says("Of settlement; more than the log has partitions only wait.", ge=0, le=1000)] = 0


class PrescaleSpec(Part, frozen=True, kw_only=True):
    """Pods that are there before the crowd is: an autoscaler sees it when it is too late."""

    minutes_before: Annotated[
        int, _says("So long before opensTime they are asked for: as long as a new node takes.", ge=1, le=240)
    ] = 10
    replicas: Annotated[Replicas, _says("Pods at least, until nobody waits any more or the sale is over.")] = Replicas()


class Spec(Part, frozen=True, kw_only=True):
    """The sale as it should be."""

    concert: Annotated[Text, _says("Groups the nights of one tour.")]
    title: Annotated[Text, _says("What buyers read.")]
    venue: Annotated[Text, _says("Where it is.")]
    time_zone: Annotated[str, _says("IANA zone, such as Asia/Seoul: how the pages print times.", max_length=64)] = "UTC"
    currency: Annotated[str, _says("ISO 4217, such as EUR; prices are in its minor units.", pattern=r"^[A-Z]{3}$")]
    pre_queue_time: Annotated[Time, _says("From here buyers may join the line; without it, from opensTime.")] | None = (
        None
    )
    opens_time: Annotated[Time, _says("From here the first are called.")]
    closes_time: Annotated[Time, _says("From here it is over.")]
    policy: Annotated[
        Policy,
        _says("Hold: nobody new is admitted. Drain: nobody new may join either. Closed: over, for good."),
    ] = "Open"
    listing: Annotated[
        Literal["Listed", "Unlisted", "Rehearsal"],
        _says(
            "Unlisted: in no list for buyers; its own address works. Rehearsal: unlisted, no revenue, and afterwards "
            "`boxoffice sale erase` leaves nothing of it."
        ),
    ] = "Listed"
    seating: SeatingSpec
    line: LineSpec = LineSpec()
    admission: AdmissionSpec = AdmissionSpec()
    signals: Annotated[
        list[Signal],
        _says("What Auto steers by; without any, the number inside stays at initialActive.", max_length=20),
    ] = []
    hold: HoldSpec = HoldSpec()
    abuse: AbuseSpec = AbuseSpec()
    prescale: PrescaleSpec = PrescaleSpec()


def stored_spec(text: str | bytes) -> Spec:
    """As Redis and the ledger keep it. It was checked when it was written, maybe by a newer version than this: what
    only that one knows is left out, so that both can sell side by side."""
    return msgspec.convert(_known(msgspec.json.decode(text), _SPEC), Spec)


def _known(value: Any, kind: inspect.Type) -> Any:
    if isinstance(kind, inspect.Metadata):
        return _known(value, kind.type)
    if isinstance(kind, inspect.StructType) and isinstance(value, dict):
        fields = {field.encode_name: field.type for field in kind.fields}
        return {name: _known(each, fields[name]) for name, each in value.items() if name in fields}
    if isinstance(kind, inspect.ListType) and isinstance(value, list):
        return [_known(each, kind.item_type) for each in value]
    return value


_SPEC = inspect.type_info(Spec)
