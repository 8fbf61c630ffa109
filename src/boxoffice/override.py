"""The emergency order beside a resource: who holds, drains or closes a sale, or lets it go on, and why.

It has two ends: the annotation of the `ConcertSale`, which GitOps leaves alone, and the sale's record in Redis, which
works without a cluster. The operator carries a change of either to the other.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from boxoffice.errors import Unprocessable
from boxoffice.spec import Policy

ANNOTATION = "boxoffice.dev/override"
MOST_WHO, MOST_WHY = 128, 255
"""Characters; as wide as the ledger's columns."""

Time = Annotated[datetime, Meta(tz=True)]


class Override(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The stricter of this and the resource's own policy is in force; Open lets the resource's own stand."""

    policy: Policy
    who: Annotated[str, Meta(min_length=1, max_length=MOST_WHO)]
    why: Annotated[str, Meta(min_length=1, max_length=MOST_WHY)]
    at: Time
    """For people only: which of two ends changed last is known otherwise."""
    until: Time | None = None
    """From here it counts no longer."""

    def text(self) -> str:
        """As the annotation holds it."""
        return msgspec.json.encode(self).decode()


def parse(text: str) -> Override:
    """Raises Unprocessable, saying what is wrong."""
    try:
        return msgspec.json.decode(text, type=Override)
    except msgspec.MsgspecError as error:
        raise Unprocessable(f"annotation {ANNOTATION}: {error}", code="invalid_override") from None
