"""What the operator saw of a sale: all that its status is made of."""

from __future__ import annotations

import msgspec

from boxoffice.control import Decision
from boxoffice.readings import Reading
from boxoffice.snapshot import View
from boxoffice.spec import Spec
from boxoffice.status import DecisionStatus


class Fault(msgspec.Struct, frozen=True):
    """Why something is not as the resource says: a reason as conditions have them, and a sentence."""

    reason: str
    message: str


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """The sale as of a beat."""

    uid: str
    state: str
    """scheduled | prequeue | open | hold | drain | allTaken | soldOut | closed"""
    policy: str
    """In force: the strictest of resource and override."""
    waiting: int
    active: int
    target: int
    per_minute: int
    taken: int
    """Held or being paid."""
    sold: int
    total: int
    free: int
    opened_ms: int

    @classmethod
    def of(cls, view: View) -> Sight:
        return cls(
            uid=view.uid.hex(),
            state=view.state,
            policy=view.policy,
            waiting=view.waiting,
            active=view.active,
            target=view.target,
            per_minute=view.per_minute,
            taken=view.held + view.paying,
            sold=view.sold,
            total=view.total,
            free=view.free,
            opened_ms=view.counts["opened_ms"],
        )


class Overriding(msgspec.Struct, frozen=True):
    """An override that counts now."""

    policy: str
    who: str
    why: str


class Steered(msgspec.Struct, frozen=True, kw_only=True):
    """A decision, what its signals said, and the last decisions that said something new, the newest last."""

    decision: Decision
    readings: list[Reading] = []
    lately: list[DecisionStatus] = []


class Prescaled(msgspec.Struct, frozen=True):
    """How far the pods have come that should be there before the crowd is."""

    ready: bool
    message: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that a status is made of."""

    generation: int
    spec: Spec | None
    """None: the resource has none that can work."""
    sight: Sight | None
    """None: Redis could not be asked, or does not have the sale."""
    unready: Fault | None = None
    """Why the spec is not in force."""
    store: Fault | None = None
    ledger: Fault | None = None
    override: Overriding | None = None
    annotation: Fault | None = None
    """Why the annotation is not obeyed."""
    archived: bool = False
    """Over, and all of it in the ledger alone."""
    steered: Steered | None = None
    """What was decided by signals; None where they have no say."""
    prescaled: Prescaled | None = None
    """None: no floor is due."""
