"""What the handlers of a buyer's pod share; made once, in the app's lifespan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from boxoffice.board import Board
from boxoffice.eventlog import EventLog
from boxoffice.identity import Accounts, Places
from boxoffice.ledgerreader import LedgerReader
from boxoffice.line import Polls
from boxoffice.proof import Proofs
from boxoffice.recent import Recent
from boxoffice.settings import Settings
from boxoffice.store import Store
from boxoffice.tokens import KeyRing, Ticket

TICKETS = 100_000
"""How many are kept; about 60 MB."""


@dataclass(slots=True)
class Context:
    settings: Settings
    store: Store
    log: EventLog
    board: Board
    keys: KeyRing
    places: Places
    accounts: Accounts
    proofs: Proofs
    address_of: Callable[[str, str], str]
    past: LedgerReader
    polls: Polls = field(default_factory=Polls)
    tickets: Recent[bytes, Ticket] = field(default_factory=lambda: Recent(TICKETS))
    """Tickets that were checked here, by the sale's uid and the headers that they came in."""
    cookie: bytes = b"__Host-visitor"
    draining: bool = False
    streams: int = 0
    """Open order streams of this pod; bounded."""
