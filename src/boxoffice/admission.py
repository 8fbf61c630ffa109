"""admit: a called buyer swaps the ticket for an admission. The pace is set in lua/tick.lua."""

from __future__ import annotations

from boxoffice.errors import BoxofficeError, Forbidden, Gone, TooEarly, Unauthorized
from boxoffice.snapshot import View
from boxoffice.store import Store
from boxoffice.tokens import Admission, Ticket


async def claim(store: Store, view: View, ticket: Ticket) -> tuple[Admission, int]:
    """Returns the admission and when its number was called (Unix ms; 0 when it was claimed before)."""
    reply = await store.call("claim", view.name, ticket.place, ticket.number, ticket.epoch, ticket.issued_ms)
    match reply[0]:
        case b"ok":
            _, sid, until_ms, called_ms, now = reply
            t = ticket
            return Admission(t.sale_uid, t.place, t.number, t.epoch, sid, now, until_ms, t.binding), called_ms
        case b"waiting":
            raise TooEarly("your number has not been called yet", code="not_called", retry_after=2)
        case b"crowded":
            raise TooEarly("you are called, but the hall is full this second", code="crowded", retry_after=1)
        case b"lapsed":
            raise Gone("this place has lapsed; join again", code="lapsed")
        case b"stale":
            raise Unauthorized("this ticket is old; poll for a new one first", code="ticket_stale")
        case b"over":
            raise Gone("this sale is over", code="over")
    raise AssertionError(reply[0])


def check_admission(view: View, admission: Admission, binding: bytes) -> None:
    """What can be told without Redis. Raises Unauthorized."""
    if admission.sale_uid != view.uid:
        raise Unauthorized("this admission is for another sale", code="bad_token")
    if admission.binding != binding:
        raise Unauthorized("this admission belongs to another browser", code="bad_token")


def refused_entry(code: bytes) -> BoxofficeError | None:
    """The error for what `refused_entry` in lua/guard.lua answers."""
    if code == b"not_admitted":
        return Forbidden("your turn is over, or was never yours; join the line", code="not_admitted")
    if code == b"superseded":
        return Forbidden("you continued in another window; this one is closed", code="superseded")
    return None


def entry_args(admission: Admission) -> tuple[bytes, int, int, int, int]:
    """ARGV 2 to 6 of the scripts that only admitted buyers may call."""
    a = admission
    return a.place, a.sid, a.issued_ms, a.until_ms, a.number
