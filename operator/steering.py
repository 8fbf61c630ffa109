"""Where the pace is decided: each sale's signals are read, `control.decide` is asked, and what it says is written where
the pods read it. What it decides from is kept as a line of the decision log, from which `boxoffice replay` decides it
again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import Gauge

from boxoffice import sales
from boxoffice.budget import Claim, ceilings
from boxoffice.control import Decision, State, begin
from boxoffice.decisionlog import Entry, decided, line
from boxoffice.readings import Load, Reading, Rules
from boxoffice.spec import Signal, Spec
from boxoffice.status import DecisionStatus
from boxoffice.store import Store
from decisions import latest, with_this
from facts import Sight, Steered
from prometheus import Prometheus
from turn import Turn

ASKED_SECONDS = 5.0
"""For so long one answer does for all sales with the same signal."""
RUNNING = ("open", "hold", "drain", "allTaken")
"""States in which a target is renewed: else it would have faded when the sale goes on."""

TARGET = Gauge("boxoffice_control_target", "Buyers that should be inside", ["sale"])
PRESSURE = Gauge(
    "boxoffice_control_pressure", "Measured by setpoint, of each signal that has a number", ["sale", "signal"]
)
STALE = Gauge("boxoffice_control_signal_stale", "1 for a signal that does not count now: no number", ["sale", "signal"])
BLIND = Gauge("boxoffice_control_blind", "1 while nothing is known of the load, and the target falls", ["sale"])


class Steering:
    def __init__(
        self, store: Store, turn: Turn, prometheus: Prometheus | None, budget: int, log: Callable[[bytes], object]
    ) -> None:
        """`budget`: buyers inside of all sales together at most; 0: no bound. `log` takes a line of JSON."""
        self._store, self._turn, self._prometheus, self._budget, self._log = store, turn, prometheus, budget, log
        self._states: dict[str, State] = {}
        self._claims: dict[str, Claim] = {}
        self._lately: dict[str, list[DecisionStatus]] = {}
        self._asked: dict[Signal, tuple[float, asyncio.Task[list[Reading]]]] = {}

    async def step(self, name: str, spec: Spec, sight: Sight, before: Sequence[DecisionStatus], now: float) -> Steered:
        """Decides for one sale, and writes it down. `before`: what its status has. `now`: Unix seconds. Raises
        Unavailable, OldWriter."""
        rules = Rules.of(spec)
        readings = await self._read(spec.signals) if steers(spec) else []
        self._claim(name, spec, sight)
        ceiling = ceilings(self._budget, list(self._claims.values())).get(name) if self._budget else None
        load = Load(state=sight.state, active=sight.active, waiting=sight.waiting, ceiling=ceiling)
        state = self._states.get(name) or begin(sight.target, now)
        entry = decided(name, state, readings, load, rules, now)
        await self._write(name, spec, sight, entry.decision)
        self._keep(name, entry)
        if steers(spec):
            self._log(line(entry))
            self._lately[name] = with_this(latest(self._lately.get(name, []), before), entry.decision)
        return Steered(decision=entry.decision, readings=readings, lately=self._lately.get(name, []))

    def forget(self, present: Sequence[str]) -> None:
        """All but these sales."""
        for name in self._states.keys() - set(present):
            _show_no_more(name, self._states.pop(name).seen)
            TARGET.remove(name)
            BLIND.remove(name)
            self._claims.pop(name, None)
            self._lately.pop(name, None)

    async def _read(self, signals: Sequence[Signal]) -> list[Reading]:
        if self._prometheus is None:
            return [Reading(name=s.name, outcome="error", message="there is no Prometheus to ask") for s in signals]
        answers = await asyncio.gather(*(asyncio.shield(self._ask(self._prometheus, signal)) for signal in signals))
        return [reading for [reading] in answers]

    def _ask(self, prometheus: Prometheus, signal: Signal) -> asyncio.Task[list[Reading]]:
        now = time.monotonic()
        self._asked = {key: asked for key, asked in self._asked.items() if now - asked[0] < ASKED_SECONDS}
        if signal not in self._asked:
            self._asked[signal] = now, asyncio.create_task(prometheus.read([signal]))
        return self._asked[signal][1]

    def _claim(self, name: str, spec: Spec, sight: Sight) -> None:
        if sight.state in RUNNING:
            wanted = min(spec.admission.max_active, sight.active + sight.waiting)
            self._claims[name] = Claim(name=name, weight=spec.admission.weight, wanted=wanted)
        else:
            self._claims.pop(name, None)

    async def _write(self, name: str, spec: Spec, sight: Sight, decision: Decision) -> None:
        """What no signal decided needs no renewal: it is written when it is another."""
        if spec.admission.mode != "Auto" or sight.state not in RUNNING:
            return
        target = decision.active_target
        if steers(spec):
            stop = max(0, int((decision.stop_until - decision.at) * 1000))
            sales.check_turn(await self._store.call("decide", name, self._turn.writer, target, stop))
        elif target != sight.target:
            sales.check_turn(await self._store.call("steer", name, self._turn.writer, "target", target))

    def _keep(self, name: str, entry: Entry) -> None:
        if name in self._states:
            _show_no_more(name, self._states[name].seen.keys() - entry.after.seen.keys())
        self._states[name] = entry.after
        TARGET.labels(name).set(entry.decision.active_target)
        BLIND.labels(name).set(entry.decision.limited_by == "Fallback")
        for signal in entry.after.seen:
            PRESSURE.labels(name, signal).set(entry.decision.pressures.get(signal, float("nan")))
            STALE.labels(name, signal).set(signal in entry.decision.stale)


def _show_no_more(name: str, signals: Iterable[str]) -> None:
    for signal in signals:
        PRESSURE.remove(name, signal)
        STALE.remove(name, signal)


def steers(spec: Spec) -> bool:
    """Whether signals have a say."""
    return bool(spec.signals) and spec.admission.mode != "Manual"
