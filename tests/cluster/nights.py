"""python -m tests.cluster.nights WHAT …: nights in full, each with its report in docs/nights, on the node that is up.

`night` is the one that must be flawless; `prescaled` has more pods in time for it; `upgrade` has another version in
mid-sale; `capped` has a database that is the limit, by signals and then by hand; any other WHAT is a fault under a
crowd (`autoscaled-1-4-2` alone: its app pods are an autoscaler's). Three times `night` are three reports.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tests.cluster.incidents import allow_at_most, capped, deleting, lose_engine, scale, until_scaled, without
from tests.cluster.night import SCRAPE_SECONDS, Found, Night
from tests.cluster.programs import ROOT
from tests.cluster.release import Release, Values
from tests.cluster.upgrade import beside, there_and_back, versions
from tests.cluster.usage import reached

REPORTS = ROOT / "docs/nights"
UNANSWERED = ("no answer of 5xx",)
"""Whoever cannot reach an engine says so: what is asked is that it costs nobody anything."""
PAUSE_SECONDS = 10.0
CAP = 0.06
"""Cores that MySQL may use, when it is to be the limit."""
SETPOINT = 700
WINDOW_SECONDS = 15
"""Of the signal; what it says of the time before the crowd came is no use."""
ALIKE = dict.fromkeys(
    ("late", "dawdles", "absent", "givesUp", "lapses", "declined", "quits", "twice", "slow", "fault", "pair"), 0
)
"""Buyers who do nothing but buy one seat: the pace is the door's alone."""
AUTOSCALED = {"kind": "HPA", "minReplicas": 1, "maxReplicas": 1}
THINK_SECONDS = 8
"""Between claim and hold: with nobody who thinks, there are hardly any inside."""
BESIDE = ("OrderLatency", "SettleLag")
"""Left out: they speak of a crowd on the same two cores. This night is about another limit."""


Document = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """What `happens` while the crowd is there; `excused` promises are not made meanwhile."""

    happens: Callable[[Night], None]
    excused: Collection[str] = ()


def pods_deleted(night: Night) -> None:
    with deleting(night.release, "app"):
        night.until_gone()


def all_pods_deleted(night: Night) -> None:
    with deleting(night.release, "app", "settle", "admin", "operator"):
        night.until_gone()


def scaled(night: Night) -> None:
    for count in (1, 4, 2):
        scale(night.release, "app", count)
        time.sleep(PAUSE_SECONDS)
    night.until_gone()


def operator_gone(night: Night) -> None:
    with without(night.release, "operator"):
        night.until_gone()


def engine_gone(engine: str) -> Callable[[Night], None]:
    def happens(night: Night) -> None:
        lose_engine(night.release, engine)
        night.until_gone()

    return happens


def database_capped(night: Night) -> None:
    with capped(night.release, f"{round(CAP * 1000)}m"):
        night.until_gone()


def autoscaled(night: Night) -> None:
    """As many as the autoscaler wants, within what it is allowed."""
    for count in (4, 2):
        allow_at_most(night.release, "app", count)
        until_scaled(night.release, "app", count)
        night.mark(f"{count} app pods")
        time.sleep(PAUSE_SECONDS)
    night.until_gone()


FAULTS = {
    "app-pods-deleted": Fault(pods_deleted),
    "all-pods-deleted": Fault(all_pods_deleted),
    "scaled-1-4-2": Fault(scaled),
    "operator-gone": Fault(operator_gone),
    "valkey-gone": Fault(engine_gone("valkey"), UNANSWERED),
    "kafka-gone": Fault(engine_gone("kafka"), UNANSWERED),
    "mysql-gone": Fault(engine_gone("mysql"), UNANSWERED),
    "mysql-capped": Fault(database_capped),
    "autoscaled-1-4-2": Fault(autoscaled),
}


def document(night: Night, found: Found, excused: Collection[str] = ()) -> Document:
    """Of a night, small enough to be kept."""
    zero = night.opens_at
    return {
        "buyers": night.buyers,
        "seats": night.seats,
        **found.report.to_json(),
        "broken": found.broken(excused),
        "failed": {"holdsAndOrders": len(found.failed), "first": list(found.failed[:3])},
        "mysqld": {"mostCores": found.most_cores, "every5s": [[round(at - zero), n] for at, n in found.cores]},
        "decisions": [
            {"at": round(entry.now - zero), "target": int(entry.after.target), "limitedBy": entry.decision.limited_by}
            for entry in found.decisions
        ],
        "staleSignals": found.stale(since=zero),
        "moments": night.moments,
    }


def write(name: str, written: Document) -> None:
    REPORTS.mkdir(exist_ok=True)
    members = {"seenAt": time.strftime("%F %T %Z"), **written}.items()
    text = ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in members)
    (REPORTS / f"{name}.json").write_text(f"{{\n{text}\n}}\n")
    kept = {key: written[key] for key in ("sold", "oversold", "chargedWithoutTicket", "inversions", "http", "failed")}
    print(name, kept, written["audit"], written["mysqld"]["mostCores"], written["broken"], flush=True)


def free_name(name: str) -> str:
    taken = {file.stem for file in REPORTS.glob(f"{name}-*.json")}
    return next(f"{name}-{n}" for n in range(1, 100) if f"{name}-{n}" not in taken)


async def full_night(box: Release) -> None:
    name = free_name("night")
    night = Night(box, name, buyers=1000, seats=500)
    await asyncio.to_thread(night.begin)
    write(name, document(night, await night.end()))


async def prescaled(box: Release) -> None:
    """More pods from a minute before the opening until the last seat is sold: when each was seen."""
    name, asked = free_name("prescaled"), {"app": 5, "settle": 3}
    usual = {component: len(box.pods(component)) for component in asked}
    prescale = {"minutesBefore": 1, "replicas": asked}
    night = Night(box, name, buyers=300, seats=150, opens_seconds=90, prescale=prescale)
    await asyncio.to_thread(night.apply)
    night.moments["all pods are ready, by Redis' clock"] = -round(await asyncio.to_thread(night.until_prescaled), 1)
    await asyncio.to_thread(night.begin, ramp_seconds=20)
    found = await night.end()
    for component, count in usual.items():
        await asyncio.to_thread(until_scaled, box, component, count)
    night.mark("as many as usual")
    write(name, document(night, found) | {"prescale": prescale})


async def upgraded(box: Release) -> None:
    name = free_name("upgrade")
    with beside(box, f"boxoffice_{name}".replace("-", "_")) as (release, values):
        night = Night(release, name, buyers=600, seats=900, engines=box, signals=[])
        await asyncio.to_thread(night.begin, ramp_seconds=90, END_SECONDS="300")
        await asyncio.to_thread(night.until_sold, 1 / 60)
        there_and_back(night, values)
        found = await night.end()
        write(name, document(night, found) | {"orders": versions(night)})


async def faulted(box: Release, what: str) -> None:
    name, fault = free_name(what), FAULTS[what]
    night = Night(box, name, buyers=400, seats=600)
    await asyncio.to_thread(night.begin, ramp_seconds=45, END_SECONDS="300")
    await asyncio.to_thread(night.until_sold, 1 / 60)
    night.mark(f"{what} begins")
    await asyncio.to_thread(fault.happens, night)
    night.mark(f"{what} has ended")
    write(name, document(night, await night.end(), fault.excused))


async def limited(box: Release) -> None:
    """First by the signals; then by hand, at twice the pace that they settled on."""
    with capped(box, f"{round(CAP * 1000)}m"):
        auto = await paced(box, "capped-auto", {"mode": "Auto", "initialActive": 30, "minActive": 5})
        await paced(box, "capped-manual", {"mode": "Manual", "perMinute": 2 * auto["steady"]["callsPerMinute"]})


async def paced(box: Release, name: str, admission: dict[str, Any]) -> Document:
    night = Night(box, name, buyers=1700, seats=2500, admission=admission)
    signals = night.document["spec"]["signals"]
    share = f"{signals[0]['query']} / {CAP}"
    night.document["spec"]["signals"] = [{**signals[0], "query": share}] + [
        signal for signal in signals[1:] if signal["name"] not in BESIDE
    ]
    night.begin(ramp_seconds=120, SHARES=json.dumps(ALIKE), END_SECONDS="540", THINK_SECONDS=str(THINK_SECONDS))
    found = await night.end()
    called = sorted(story.called_at_ms / 1000 - night.opens_at for story in found.stories if story.called_at_ms)
    use = [(at, value) for at, value in night.curve(share) if 0 <= at <= called[-1]]
    written = document(night, found) | {"cap": CAP, "admission": admission, "use": use, "steady": steady(use, called)}
    write(name, written)
    return written


def steady(use: Sequence[tuple[float, float]], called: Sequence[float]) -> Document:
    """From when the signal first came to its setpoint (or from a window after the opening, if it never did) until the
    last was called."""
    setpoint = SETPOINT / 1000
    begin = next((at for at, value in use if value >= setpoint * 0.9), WINDOW_SECONDS)
    settled = [value for at, value in use if at >= begin]
    near = sum(abs(value - setpoint) <= setpoint / 10 for value in settled)
    return {
        "from": begin,
        "to": round(called[-1]),
        "callsPerMinute": round(60 * sum(at >= begin for at in called) / (called[-1] - begin)),
        "meanUse": round(fmean(settled), 3),
        "mostUse": max(settled),
        "leastUse": min(settled),
        "within10Percent": round(near / len(settled), 2),
        "meanOfEachMinute": [round(fmean(minute), 3) for minute in _minutes(settled)],
    }


def _minutes(settled: Sequence[float]) -> Iterator[Sequence[float]]:
    """Whole ones."""
    count = 60 // SCRAPE_SECONDS
    return (settled[at : at + count] for at in range(0, len(settled) - count + 1, count))


NIGHTS = {"night": full_night, "prescaled": prescaled, "upgrade": upgraded, "capped": limited}


def main(*whats: str) -> None:
    with ExitStack() as stack:
        cluster = stack.enter_context(reached())
        box = Release(cluster, stack.enter_context(cluster.namespace()))
        app: Values = {"autoscaling": AUTOSCALED} if "autoscaled-1-4-2" in whats else {"replicas": 3}
        box.install({"dev": {"enabled": True}, "app": app, "settle": {"replicas": 2}})
        for what in whats:
            if what in NIGHTS:
                asyncio.run(NIGHTS[what](box))
            else:
                asyncio.run(faulted(box, what))


if __name__ == "__main__":
    main(*sys.argv[1:])
