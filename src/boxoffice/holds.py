"""hold: an admitted buyer takes seats, all or none, for some minutes. The choice itself is lua/take.lua."""

from __future__ import annotations

import msgspec

from boxoffice.admission import entry_args, refused_entry
from boxoffice.errors import BoxofficeError, Conflict, Gone, NotFound, TooMany, Unprocessable
from boxoffice.snapshot import View
from boxoffice.store import Argument, Store
from boxoffice.tokens import Admission

MAX_SEATS_ASKED = 10


class HoldRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Either `seats` by name, or `count` of the best there are (in one section, side by side, if so asked)."""

    seats: list[str] | None = None
    section: str | None = None
    count: int | None = None
    together: bool = True


class Hold(msgspec.Struct, frozen=True):
    id: str
    """Also the fence: a number that only rises."""
    seats: list[int]
    until_ms: int
    now_ms: int
    left: int
    """Further holds this buyer may make at once."""


async def take(store: Store, view: View, admission: Admission, request: HoldRequest) -> Hold:
    """Takes the seats. Raises Conflict (taken, or not enough), Forbidden, Unprocessable (over the cap), Gone."""
    if request.seats is not None and request.count is not None:
        raise Unprocessable("give seats by name or a count, not both")
    args = _named(view, request.seats) if request.seats is not None else _best(view, request)
    reply = await store.call("take", view.name, *entry_args(admission), *args)
    if reply[0] == b"ok":
        _, hold, until_ms, now, left, seats = reply
        return Hold(hold.decode(), seats, until_ms, now, left)
    raise _refused(view, reply)


async def release(store: Store, view: View, admission: Admission, hold: str) -> None:
    reply = await store.call("release", view.name, admission.place, hold)
    if reply[0] != b"ok":
        raise NotFound("you have no such hold", code="hold_gone")


def price(view: View, seats: list[int]) -> int:
    """In minor units of the sale's currency."""
    return sum(view.seating.price(seat) for seat in seats)


def _named(view: View, names: list[str]) -> list[Argument]:
    if not 1 <= len(names) <= MAX_SEATS_ASKED or len(set(names)) != len(names):
        raise Unprocessable(f"ask for 1 to {MAX_SEATS_ASKED} seats, each once")
    return ["named", *(view.seating.index(name) for name in names)]


def _best(view: View, request: HoldRequest) -> list[Argument]:
    if request.count is None or not 1 <= request.count <= MAX_SEATS_ASKED:
        raise Unprocessable(f"give seats, or a count from 1 to {MAX_SEATS_ASKED}")
    sections = view.seating.sections
    if request.section is not None:
        if request.section not in view.seating.by_name:
            raise NotFound(f"there is no section {request.section!r} here", code="unknown_seat")
        sections = [view.seating.by_name[request.section]]
    args: list[Argument] = ["best", request.count, int(request.together)]
    for section in sections:
        args += [section.first, section.rows or 1, section.seats_per_row or section.size]
    return args


def _refused(view: View, reply: list[int | bytes | list[int]]) -> BoxofficeError:
    code = reply[0]
    assert isinstance(code, bytes)
    if error := refused_entry(code):
        return error
    match reply:
        case [b"taken", list() as gone]:
            names = [view.seating.name(seat) for seat in gone]
            return Conflict(f"already taken: {', '.join(names)}", code="seats_taken", seats=names)
        case [b"short"]:
            return Conflict("there are not that many seats free (side by side)", code="not_enough_seats")
        case [b"cap", int() as most, int() as have]:
            return Unprocessable(
                f"a buyer may have {most} seats; you have {have}", code="over_cap", maxSeats=most, have=have
            )
        case [b"limited", int() as retry_ms]:
            return TooMany("too many holds in a short time", retry_after=max(1, -(-retry_ms // 1000)))
        case [b"over"]:
            return Gone("this sale is over", code="over")
    raise AssertionError(reply)
