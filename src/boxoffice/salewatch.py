"""Sales in a cluster as they change: one watch after the other, for as long as somebody looks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Protocol

from boxoffice.kubectl import CONCERT_SALES, Event, Kubectl, KubectlFailed
from boxoffice.override import Override
from boxoffice.seen import SeenSale, sale_of, sales_of

AGAIN_SECONDS = 1.0
"""Between a watch's end, which comes every half an hour at least, and the next."""
CONFIRM_SECONDS = 20.0
"""The operator looks every ten seconds, and writes a status every ten seconds at most."""


class Onlooker(Protocol):
    def show(self, sales: Sequence[SeenSale], now: datetime) -> None:
        """All there are now."""

    def say(self, fault: str) -> None:
        """Nothing new can be seen, and why."""


def follow(kubectl: Kubectl, name: str | None, onlooker: Onlooker) -> None:
    """Does not return. Raises KubectlFailed when nothing can be seen to begin with."""
    kubectl.run("get", CONCERT_SALES, *([name] if name else []))
    which = [CONCERT_SALES, *([f"--field-selector=metadata.name={name}"] if name else [])]
    fault = ""
    while True:
        try:
            _watch(kubectl, which, onlooker)
            fault = ""
        except KubectlFailed as error:
            if error.detail != fault:
                onlooker.say(fault := error.detail)
        time.sleep(AGAIN_SECONDS)


def _watch(kubectl: Kubectl, which: Sequence[str], onlooker: Onlooker) -> None:
    """Until the server, or the way to it, ends it. What went away since the last watch is missing from the list."""
    sales = {sale.name: sale for sale in sales_of(kubectl.run("get", *which, "--output=json"))}
    onlooker.show(list(sales.values()), datetime.now(UTC))
    with closing(kubectl.watch(*which)) as events:
        for event in events:
            _take(sales, event)
            onlooker.show(list(sales.values()), datetime.now(UTC))


def _take(sales: dict[str, SeenSale], event: Event) -> None:
    sale = sale_of(event.object)
    if event.type == "DELETED":
        sales.pop(sale.name, None)
    else:
        sales[sale.name] = sale


def confirmed(kubectl: Kubectl, name: str, override: Override) -> str:
    """What the operator says of an override that was just written, once it does; nothing when it has not in time.
    Raises KubectlFailed."""
    which = (CONCERT_SALES, f"--field-selector=metadata.name={name}")
    with closing(kubectl.watch(*which, seconds=CONFIRM_SECONDS)) as events:
        said = (_mirrored(sale_of(event.object), override) for event in events)
        return next((words for words in said if words), "")


def _mirrored(sale: SeenSale, override: Override) -> str:
    """The condition's message, when it says what was written."""
    overridden = sale.condition("Overridden")
    if overridden is None or (overridden.status == "True") != (override.policy != "Open"):
        return ""
    said = (override.policy, override.who, override.why) if override.policy != "Open" else ()
    return overridden.message if all(words in overridden.message for words in said) else ""
