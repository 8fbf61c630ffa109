"""A rehearsal: a throw-away copy of a sale, and the Job that sends a crowd through it, as documents for kubectl."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from boxoffice.embedded import shipped
from boxoffice.errors import BadInput

Resource = dict[str, Any]

OPENS_SECONDS = 20
"""Until the crowd's pod is there, and a line before the door."""
RAMP_SECONDS = 30
CLOSES_SECONDS = 3600
"""After the crowd's end: whoever looks at what went wrong has an hour."""
MOST_JOINS = 100_000
LABEL = "boxoffice.dev/rehearsal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """`of` is the sale as kubectl gives it."""

    of: Resource
    buyers: int
    seed: int
    name: str

    @classmethod
    def make(cls, of: Resource, buyers: int, seed: int) -> Rehearsal:
        return cls(of=of, buyers=buyers, seed=seed, name=f"rehearsal-{secrets.token_hex(3)}")

    @property
    def end_seconds(self) -> int:
        """Until the last hold that nobody pays has run out and was sold again."""
        spec = self.of["spec"]
        stays = spec["line"]["claimSeconds"] + spec["hold"]["seconds"] + spec["admission"]["sessionSeconds"]
        return int(2 * RAMP_SECONDS + OPENS_SECONDS + stays + 60)

    def sale(self, now: datetime) -> Resource:
        """As the original, but for when it opens; and a crowd from one address may join it without a sign-in."""
        spec = self.of["spec"]
        opens = now + timedelta(seconds=OPENS_SECONDS)
        changes = {
            "title": f"Rehearsal of {spec['title']}"[:200],
            "listing": "Rehearsal",
            "policy": "Open",
            "preQueueTime": _time(now),
            "opensTime": _time(opens),
            "closesTime": _time(opens + timedelta(seconds=self.end_seconds + CLOSES_SECONDS)),
            "line": {**spec["line"], "onePer": "Visitor"},
            "abuse": {"joinsPerMinutePerAddress": MOST_JOINS, "proofOfWork": "Off"},
        }
        rest = {name: value for name, value in spec.items() if name != "prescale"}
        return {
            "apiVersion": self.of["apiVersion"],
            "kind": self.of["kind"],
            "metadata": {"name": self.name, "labels": {LABEL: self.of["metadata"]["name"]}},
            "spec": {**rest, **changes},
        }

    def job(self, url: str, image: str, pull_secrets: Sequence[Resource] = ()) -> Resource:
        """That of manifests/load/job.yaml, for this sale."""
        job: Resource = yaml.safe_load(shipped("manifests", "load/job.yaml").read_text())
        job["metadata"]["name"] = self.name
        job["metadata"]["labels"][LABEL] = self.of["metadata"]["name"]
        job["spec"]["activeDeadlineSeconds"] = self.end_seconds + 120
        pod = job["spec"]["template"]["spec"]
        pod["imagePullSecrets"] = list(pull_secrets)
        [k6] = pod["containers"]
        k6["image"] = image
        k6["env"] = [{"name": name, "value": value} for name, value in self._environment(url).items()]
        return job

    def _environment(self, url: str) -> dict[str, str]:
        spec = self.of["spec"]
        return {
            "BASES": url,
            "SALE": self.name,
            "BUYERS": str(self.buyers),
            "SEED": str(self.seed),
            "RAMP_SECONDS": str(RAMP_SECONDS),
            "END_SECONDS": str(self.end_seconds),
            "CLAIM_SECONDS": str(spec["line"]["claimSeconds"]),
            "CONTESTED": spec["seating"]["sections"][0]["name"],
        }


def url_of(services: Sequence[Resource]) -> str:
    """Of the one Service that leads to the buyers' pods. Raises BadInput."""
    if len(services) != 1:
        raise BadInput(f"there are {len(services)} Services of app here: name the namespace of one release with -n")
    [service] = services
    return f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"


def k6_image(app: Resource) -> str:
    """As images are named that are made together: that of the app with `-k6` after its name."""
    image = str(app["spec"]["template"]["spec"]["containers"][0]["image"]).partition("@")[0]
    repository, colon, tag = image.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = image, ""
    return f"{repository}-k6" + (f":{tag}" if tag else "")


def stuck(pods: Sequence[Resource]) -> str:
    """Why the crowd's pod does not start and will not; nothing while it may."""
    for pod in pods:
        for each in pod.get("status", {}).get("containerStatuses", []):
            waiting = each.get("state", {}).get("waiting", {})
            if waiting.get("reason") in NEVER:
                return f"{waiting['reason']}: {waiting.get('message', each['image'])}"
    return ""


NEVER = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError")


def ended(job: Resource) -> str:
    """`Complete` or `Failed`; nothing while it runs."""
    conditions = job.get("status", {}).get("conditions", [])
    return next((c["type"] for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"), "")


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
