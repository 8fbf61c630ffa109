"""`kubectl sale rehearse`: plays a rehearsal through the user's own kubectl, and leaves nothing of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from boxoffice.clusterchecks import COMPONENT, INSTALL, PART_OF, Resource
from boxoffice.errors import BadInput, BoxofficeError
from boxoffice.kubectl import CONCERT_SALES, Kubectl, KubectlFailed
from boxoffice.loadreport import LoadReport
from boxoffice.rehearsal import Rehearsal, ended, k6_image, stuck, url_of
from boxoffice.seen import SeenSale, sale_of, sales_of

LOOK_SECONDS = 2.0
READY_SECONDS = 120.0
LATE_SECONDS = 180.0
"""After the crowd should have ended."""
GONE_SECONDS = 120
WHY = "it was a rehearsal"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stage:
    """The release that is rehearsed on. Raises BadInput where one is missing."""

    kubectl: Kubectl

    def deployment(self, component: str) -> Resource:
        found = self.kubectl.items("deployments", f"--selector={PART_OF},{COMPONENT}={component}")
        if len(found) != 1:
            raise BadInput(f"there are {len(found)} Deployments of {component} here, one is needed: {INSTALL}")
        [deployment] = found
        return dict(deployment)

    def url(self) -> str:
        return url_of(self.kubectl.items("services", f"--selector={PART_OF},{COMPONENT}=app"))

    def busy(self) -> list[str]:
        """Sales that let buyers in just now."""
        found = sales_of(self.kubectl.run("get", CONCERT_SALES, "--output=json"))
        return [sale.name for sale in found if (seen := sale.condition("Admitting")) and seen.status == "True"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    kubectl: Kubectl
    rehearsal: Rehearsal
    admin: str
    """Its Deployment."""
    who: str
    say: Say
    console: Console
    """Where the bar is drawn."""

    def run(self, job: Resource, prometheus: str) -> LoadReport:
        """Raises KubectlFailed, BadInput; what was made is taken away in any case."""
        with self._taken_away():
            self._apply(self.rehearsal.sale(datetime.now(UTC)))
            self._until_ready()
            self._apply(job)
            self._watch()
            return self._judge(prometheus)

    def _apply(self, document: Resource) -> None:
        self.say(self.kubectl.run("create", "--filename=-", input=json.dumps(document)).strip())

    def _until_ready(self) -> None:
        deadline, said = time.monotonic() + READY_SECONDS, "no operator has looked at it"
        while time.monotonic() < deadline:
            if ready := self._sale().condition("Ready"):
                if ready.status == "True":
                    return
                said = f"{ready.reason}: {ready.message}"
            time.sleep(LOOK_SECONDS / 4)
        raise BadInput(f"{self._name} was not ready in {READY_SECONDS:.0f} s: {said}")

    def _watch(self) -> None:
        """Until the crowd's Job has ended. Raises BadInput when it cannot begin, or does not end."""
        deadline = time.monotonic() + self.rehearsal.end_seconds + LATE_SECONDS
        with _Bar(self.console, self.say) as bar:
            while not ended(self._job()):
                bar.show(self._sale())
                if why := stuck(self.kubectl.items("pods", f"--selector=job-name={self._name}")):
                    raise BadInput(f"the crowd's pod does not start: {why}; --image names another")
                if time.monotonic() > deadline:
                    raise BadInput(f"the crowd has not ended: kubectl describe job {self._name}")
                time.sleep(LOOK_SECONDS)
            bar.show(self._sale())

    def _judge(self, prometheus: str) -> LoadReport:
        stories = self.kubectl.run("logs", f"job/{self._name}")
        asked = [f"--prometheus={prometheus}"] if prometheus else []
        command = ["boxoffice", "load", "report", self._name, "--output=json", *asked]
        said = self.kubectl.execute(f"deployment/{self.admin}", *command, input=stories)
        return msgspec.json.decode(said, type=LoadReport)

    @contextmanager
    def _taken_away(self) -> Iterator[None]:
        try:
            yield
        except BaseException as first:
            try:
                self._take_away()
            except BoxofficeError as second:
                if not isinstance(first, BoxofficeError):
                    raise
                raise BadInput(f"{first.detail}; and then: {second.detail}") from first
            raise
        else:
            self._take_away()

    def _take_away(self) -> None:
        """The resources first: an operator that has one would make the sale anew. Raises BadInput."""
        gone = ("--ignore-not-found", f"--timeout={GONE_SECONDS}s")
        by_hand = f"kubectl delete job,concertsale {self._name}"
        try:
            self.kubectl.run("delete", f"job/{self._name}", f"{CONCERT_SALES}/{self._name}", *gone)
            self._erase()
        except KubectlFailed as fault:
            inside = f"kubectl exec deploy/{self.admin} -- boxoffice sale erase {self._name} --why '{WHY}'"
            raise BadInput(f"{self._name} is not all gone: {fault.detail}. By hand: {by_hand}; {inside}") from None

    def _erase(self) -> None:
        command = ["boxoffice", "sale", "erase", self._name, f"--who={self.who}", f"--why={WHY}"]
        try:
            self.say(self.kubectl.run("exec", f"deployment/{self.admin}", "--", *command).strip())
        except KubectlFailed as fault:
            if "the ledger knows no sale" not in fault.detail:  # it was never brought in force
                raise

    @property
    def _name(self) -> str:
        return self.rehearsal.name

    def _sale(self) -> SeenSale:
        return sale_of(self.kubectl.run("get", CONCERT_SALES, self._name, "--output=json"))

    def _job(self) -> Resource:
        job: Resource = json.loads(self.kubectl.run("get", "job", self._name, "--output=json"))
        return job


class _Bar:
    """A bar on a terminal; elsewhere a line when something has changed."""

    def __init__(self, console: Console, say: Say) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[seen]}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task("sold", total=None, seen="")
        self._say, self._last = say, ""

    def __enter__(self) -> _Bar:
        if self._progress.console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress.console.is_terminal:
            self._progress.stop()

    def show(self, sale: SeenSale) -> None:
        status = sale.status
        seen = f"{status.seats.sold} of {status.seats.total}, {status.waiting} wait, {status.admission.active} inside"
        self._progress.update(self._task, total=status.seats.total or None, completed=status.seats.sold, seen=seen)
        if not self._progress.console.is_terminal and seen != self._last:
            self._say(f"sold {seen}")
        self._last = seen


def rehearse(
    kubectl: Kubectl, name: str, buyers: int, seed: int, image: str, prometheus: str, who: str, anyway: bool, say: Say
) -> LoadReport:
    """Raises KubectlFailed, BadInput."""
    stage = Stage(kubectl)
    original: Resource = json.loads(kubectl.run("get", CONCERT_SALES, name, "--output=json"))
    app, admin, url = stage.deployment("app"), stage.deployment("admin"), stage.url()
    if (busy := stage.busy()) and not anyway:
        raise BadInput(f"{', '.join(busy)} lets buyers in just now, on the same engines: --yes rehearses all the same")
    rehearsal = Rehearsal.make(original, buyers, seed)
    pod = app["spec"]["template"]["spec"]
    job = rehearsal.job(url, image or k6_image(app), pod.get("imagePullSecrets", []))
    play = Play(
        kubectl=kubectl,
        rehearsal=rehearsal,
        admin=admin["metadata"]["name"],
        who=who,
        say=say,
        console=Console(stderr=True),
    )
    return play.run(job, prometheus)
