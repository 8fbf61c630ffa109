"""enter and wait: a buyer joins the line of one sale, and compares their number with the one now called."""

from __future__ import annotations

import random
import time

import msgspec

from boxoffice.errors import Conflict, Forbidden, Gone, TooEarly, TooMany, Unauthorized, Unavailable
from boxoffice.recent import Recent
from boxoffice.snapshot import POLL_MAX_SECONDS, POLL_MIN_SECONDS, View
from boxoffice.store import Store
from boxoffice.tokens import KeyRing, Ticket

EARLY_BURST = 3
POLLERS = 200_000


class Whereabouts(msgspec.Struct, frozen=True, gc=False):
    """Where a number stands: `state`, people ahead, the range of the wait in seconds, the next poll in seconds."""

    state: str
    ahead: int = 0
    eta_p50: int = -1
    eta_p90: int = -1
    poll: int = POLL_MIN_SECONDS

    def json(self, number: int, ticket: str = "") -> bytes:
        eta = b"null" if self.eta_p50 < 0 else b'{"p50":%d,"p90":%d}' % (self.eta_p50, self.eta_p90)
        extra = b',"ticket":"%s"' % ticket.encode() if ticket else b""
        return b'{"state":"%s","number":%d,"ahead":%d,"etaSeconds":%s,"pollAfterSeconds":%d%s}' % (
            self.state.encode(),
            number,
            self.ahead,
            eta,
            self.poll,
            extra,
        )


def whereabouts(view: View, number: int) -> Whereabouts:
    """Arithmetic on the snapshot; touches nothing. Numbers that left the line are taken to be spread evenly."""
    state, most = view.state, view.poll_max_seconds
    if state in ("closed", "soldOut"):
        return Whereabouts("over" if state == "closed" else "soldOut", poll=POLL_MAX_SECONDS)
    if view.epoch < 2:
        return Whereabouts("prequeue", max(0, number - 1), poll=next_poll(_earliest_seconds(view, number), most))
    if number <= view.called:
        return Whereabouts("lapsed" if number <= view.lapsed else "called")
    ahead = (number - view.called - 1) * view.waiting // max(1, view.issued - view.called)
    if view.per_minute <= 0:
        return Whereabouts("waiting", ahead, poll=next_poll(ahead, most))  # nothing is known: a buyer a second
    p50, p90 = eta_seconds(ahead, view.per_minute, view.swing_per_mille)
    return Whereabouts("waiting", ahead, round(p50), round(p90), next_poll(p50, most))


def _earliest_seconds(view: View, number: int) -> float:
    """Until the number can be called at the soonest, before the opening: were all to look for that alone, the whole
    line would ask every two seconds then, and all at once for their new tickets."""
    admission = view.spec.admission
    opens_in = (view.spec.opens_time.timestamp() * 1000 - view.now_ms()) / 1000
    fastest = admission.per_minute / 60 if admission.mode == "Manual" else max(1, view.target / 5)  # as lua/pace.lua
    return opens_in + (number - 1) / fastest


def eta_seconds(ahead: int, per_minute: int, swing_per_mille: int) -> tuple[float, float]:
    """The wait that half of all such buyers have at most, and nine in ten."""
    p50 = (ahead + 1) * 60 / per_minute
    return p50, p50 * (1 + 1.28 * swing_per_mille / 1000)  # 1.28: the 90 % quantile of a normal spread


def next_poll(eta_seconds: float, most_seconds: int) -> int:
    """clamp(eta/10, 2, most) s and up to one more, so that a crowd does not poll in step."""
    return int(max(POLL_MIN_SECONDS, min(most_seconds, eta_seconds / 10)) + random.random())


class Polls:
    """Who polled when: too early gets 429. Bounded, and best effort: each pod has its own."""

    def __init__(self) -> None:
        self._due: Recent[bytes, float] = Recent(POLLERS)

    def check(self, place: bytes, poll_seconds: int) -> None:
        """Raises TooMany for a buyer who keeps polling at more than twice the pace that they were told."""
        now, step = time.monotonic(), poll_seconds / 2
        due = self._due.get(place) or now
        due = (due if due > now else now) + step
        if due - now > EARLY_BURST * step:
            raise TooMany("you poll faster than you were told", retry_after=poll_seconds)
        self._due.put(place, due)


def check_ticket(view: View, ticket: Ticket, binding: bytes) -> None:
    """Raises Unauthorized when the ticket is another sale's or another browser's."""
    if ticket.sale_uid != view.uid:
        raise Unauthorized("this ticket is for another sale", code="bad_token")
    if ticket.binding != binding:
        raise Unauthorized("this ticket belongs to another browser", code="bad_token")


def needs_exchange(view: View, ticket: Ticket) -> bool:
    """A ticket from before the opening, or from before Redis lost its memory, is swapped for a new one."""
    return ticket.epoch != view.epoch or ticket.issued_ms < view.recovered_ms


async def join(
    store: Store, view: View, keys: KeyRing, place: bytes, address: str, proof: str, binding: bytes
) -> tuple[Ticket, bool, int]:
    """Enters the line, or finds the place already held. Returns the ticket, whether it is new, joins left."""
    reply = await store.call("join", view.name, place, address, proof)
    code = reply[0].decode()
    if code != "ok":
        raise _join_refused(view, code, reply)
    _, number, new, epoch, now, left = reply
    return Ticket(view.uid, place, number, epoch, now, binding), bool(new), left


def _join_refused(view: View, code: str, reply: list[int]) -> Exception:
    opens = view.spec.opens_time.isoformat()
    match code:
        case "early":
            pre = (view.spec.pre_queue_time or view.spec.opens_time).isoformat()
            wait = max(1, min(3600, -(-(reply[1] - reply[2]) // 1000)))
            return TooEarly("the line is not open yet", retry_after=wait, opensTime=opens, preQueueTime=pre)
        case "over":
            return Gone("this sale is over", code="over")
        case "joining_closed":
            return Gone("nobody may join this line any more", code="joining_closed")
        case "limited":
            wait = -(-reply[1] // 1000)
            return TooMany("too many joins from this address; try again later", retry_after=max(1, wait))
        case "full":
            return Unavailable("the line is full; try again later", code="line_full", retry_after=30)
        case "spent":
            return Forbidden("this proof was used before; solve a new challenge", code="proof_required")
    raise AssertionError(code)


async def exchange(store: Store, view: View, ticket: Ticket) -> Ticket:
    """A new ticket for an old one. Raises Gone when the place has lapsed, Conflict when it is another's."""
    reply = await store.call("restore", view.name, ticket.place, ticket.number, ticket.epoch, ticket.issued_ms)
    match reply[0]:
        case b"lapsed":
            raise Gone("this place has lapsed; join again", code="lapsed")
        case b"stale":
            raise Conflict("this ticket is not the newest of its place; join again", code="ticket_stale")
    return Ticket(ticket.sale_uid, ticket.place, ticket.number, reply[1], reply[2], ticket.binding)


async def leave(store: Store, view: View, place: bytes, number: int) -> None:
    """Gives up the place, the session and whatever is only held."""
    await store.call("leave", view.name, place, number)
