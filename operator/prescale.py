"""Pods that are there before the crowd is: the floor of app and settlement rises before a sale opens, and falls after.

A floor is `minReplicas` of an autoscaler where there is one, and `replicas` of the Deployment where there is none. What
it is otherwise is known from the chart, so nothing has to be kept: a number that is neither that nor one that a sale
asks for is somebody else's, and stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, cast

import msgspec

from boxoffice.errors import BadInput
from boxoffice.kubeapi import KubeApi
from boxoffice.spec import Spec
from facts import Prescaled, Sight
from resources import MANAGER, MERGE

Component = Literal["app", "settle"]
WORD = re.compile(r"(app|settle)=(\w+)/([a-z0-9-]+):(\d+)")
AFTER = timedelta(minutes=10)
"""After the opening a floor stands for so long in any case, and then as long as somebody waits."""


class Kind(msgspec.Struct, frozen=True):
    """What holds the number of pods: where it is in the API, and its fields."""

    path: str
    field: str
    most: str = ""


KINDS = {
    "Deployment": Kind("/apis/apps/v1/namespaces/{}/deployments/{}/scale", "replicas"),
    "HorizontalPodAutoscaler": Kind(
        "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers/{}", "minReplicas", "maxReplicas"
    ),
    "ScaledObject": Kind("/apis/keda.sh/v1alpha1/namespaces/{}/scaledobjects/{}", "minReplicaCount", "maxReplicaCount"),
}


class Target(msgspec.Struct, frozen=True):
    """`name`: of the Deployment, and of its autoscaler."""

    component: Component
    kind: Kind
    name: str
    floor: int
    """As the chart has it."""


def targets(text: str) -> list[Target]:
    """Of `app=Deployment/shop-app:2,settle=…`. Raises BadInput."""
    return [_target(word) for word in text.split(",") if word]


def _target(word: str) -> Target:
    parts = WORD.fullmatch(word)
    if parts is None or parts[2] not in KINDS:
        raise BadInput(f"BOXOFFICE_SCALES has {word!r}; it wants words like app=Deployment/shop-app:2")
    return Target(cast(Component, parts[1]), KINDS[parts[2]], parts[3], int(parts[4]))


def floors(spec: Spec) -> dict[Component, int]:
    """What a sale asks for, when it does."""
    return {"app": spec.prescale.replicas.app, "settle": spec.prescale.replicas.settle}


def is_due(spec: Spec, sight: Sight | None, was_due: bool, now: datetime) -> bool:
    """Whether a sale asks for its floor now. `sight`: None while Redis does not say. Once nobody waits it is over: a
    second rush is the autoscaler's, or pods would come and go with every buyer."""
    begins = spec.opens_time - timedelta(minutes=spec.prescale.minutes_before)
    if not any(floors(spec).values()) or not begins <= now < spec.closes_time or spec.policy == "Closed":
        return False
    if sight and sight.state in ("soldOut", "closed"):
        return False
    return now < spec.opens_time + AFTER or (was_due and (sight is None or sight.waiting > 0))


def number_of(number: int, usual: int, floor: int, asked: Sequence[int], most: int | None) -> int:
    """The number that should be there. `number`: what is; `usual`: by the chart; `floor`: what is due, 0 if nothing is;
    `asked`: all floors that may be ours; `most`: of the autoscaler."""
    wanted = max(usual, floor)
    if number < floor or (number > wanted and number in asked):
        return wanted if most is None else min(wanted, most)
    return number


class Prescaler:
    def __init__(self, api: KubeApi, scaled: Sequence[Target]) -> None:
        self._api, self._targets = api, scaled
        self._seen: dict[str, tuple[Spec, Sight | None]] = {}
        self._due: set[str] | None = None
        self._set: dict[Component, int] = {}
        """What we last wrote: a sale may ask for another number since."""
        self._ready: dict[Component, int] = {}

    def saw(self, name: str, spec: Spec, sight: Sight | None) -> None:
        self._seen[name] = spec, sight

    def forget(self, present: Mapping[str, object]) -> None:
        """All but these sales."""
        self._seen = {name: seen for name, seen in self._seen.items() if name in present}

    async def step(self, now: datetime) -> None:
        """Raises ClusterUnavailable."""
        before = self._seen.keys() if self._due is None else self._due  # after a restart: whoever may have been due
        self._due = {name for name, (spec, sight) in self._seen.items() if is_due(spec, sight, name in before, now)}
        for target in self._targets:
            await self._scale(target)

    def of(self, name: str) -> Prescaled | None:
        """How far one sale's floor has come; None where none is due."""
        if name not in (self._due or ()):
            return None
        wanted = {component: floor for component, floor in floors(self._seen[name][0]).items() if floor}
        counts = [f"{self._ready.get(component, 0)} of {floor} {component}" for component, floor in wanted.items()]
        full = all(self._ready.get(component, 0) >= floor for component, floor in wanted.items())
        return Prescaled(full, f"{', '.join(counts)} pods are ready")

    async def _scale(self, target: Target) -> None:
        component = target.component
        asked = [floors(spec)[component] for spec, _ in self._seen.values()]
        floor = max((floors(self._seen[name][0])[component] for name in self._due or ()), default=0)
        if not any(asked) and component not in self._set:
            return
        path = target.kind.path.format(self._api.namespace, target.name)
        spec = (await self._api.ask("GET", path, 200)).json()["spec"]
        number, most = spec.get(target.kind.field, 1), spec.get(target.kind.most)
        written = asked if most is None else [min(each, most) for each in asked]
        ours = [*written, self._set.get(component, 0)]
        wanted = number_of(number, target.floor, floor, ours, most)
        if wanted != number:
            change = {"spec": {target.kind.field: wanted}}
            await self._api.ask("PATCH", path, 200, params=MANAGER, headers=MERGE, json=change)
            self._set[component] = wanted
        if floor:
            self._ready[component] = await self._count(target)

    async def _count(self, target: Target) -> int:
        """Ready pods of its Deployment."""
        path = f"/apis/apps/v1/namespaces/{self._api.namespace}/deployments/{target.name}"
        status = (await self._api.ask("GET", path, 200)).json().get("status", {})
        return int(status.get("readyReplicas", 0))
