"""kubectl and helm, typed: on the node, or wherever KUBECONFIG leads."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Resource = dict[str, Any]
PATIENCE = 120
"""Seconds for a pod to start, a rollout to end."""


class Failed(AssertionError):
    """A command that should have worked; the message has what it said."""


class Cluster:
    """`registry` comes before the names of our images."""

    def __init__(self, environment: Mapping[str, str], registry: str) -> None:
        self.environment = dict(environment)
        self.registry = registry

    def image(self, name: str) -> str:
        return f"{self.registry}/{name}:dev"

    def kubectl(self, *arguments: str | Path, namespace: str = "", input: str = "") -> str:
        """What it printed. Raises Failed."""
        return self._succeed(["kubectl", *_in(namespace), *arguments], input)

    def helm(self, *arguments: str | Path, namespace: str = "") -> str:
        return self._succeed(["helm", *_in(namespace), *arguments])

    def refused(self, command: str, *arguments: str | Path, namespace: str = "", input: str = "") -> str:
        """What kubectl or helm said when it was refused, as it must be."""
        done = self._run([command, *_in(namespace), *arguments], input)
        if not done.returncode:
            raise Failed(f"this should have been refused: {command} {arguments}\n{done.stdout}")
        return done.stderr

    def get(self, kind: str, name: str, namespace: str = "") -> Resource:
        found: Resource = json.loads(self.kubectl("get", kind, name, "--output=json", namespace=namespace))
        return found

    def select(self, kind: str, selector: str = "", namespace: str = "") -> list[Resource]:
        label = [f"--selector={selector}"] if selector else []
        found: list[Resource] = json.loads(self.kubectl("get", kind, *label, "--output=json", namespace=namespace))[
            "items"
        ]
        return found

    def apply(self, *resources: Resource, namespace: str = "", options: Sequence[str] = ()) -> str:
        """What it printed; a warning, of PodSecurity for instance, is Failed too."""
        command = ["kubectl", *_in(namespace), "apply", "--filename=-", *options]
        done = self._run(command, yaml.safe_dump_all(resources))
        if done.returncode or "Warning" in done.stderr:
            raise Failed(done.stderr)
        return done.stdout

    def wait(self, what: str, condition: str, namespace: str = "", seconds: int = PATIENCE) -> None:
        """`condition` is kubectl's: `condition=Ready`, `delete`, `jsonpath={.status.phase}=Succeeded`."""
        self.kubectl("wait", what, f"--for={condition}", f"--timeout={seconds}s", namespace=namespace)

    def rolled_out(self, what: str, namespace: str = "", seconds: int = PATIENCE) -> None:
        self.kubectl("rollout", "status", what, f"--timeout={seconds}s", namespace=namespace)

    def execute(self, pod: str, *command: str, namespace: str = "") -> str:
        return self.kubectl("exec", pod, "--", *command, namespace=namespace)

    def logs(self, what: str, namespace: str = "") -> str:
        return self.kubectl("logs", what, "--tail=-1", namespace=namespace)

    @contextlib.contextmanager
    def namespace(self, labels: Mapping[str, str] | None = None) -> Iterator[str]:
        """A new one, where restricted PodSecurity is enforced; deleted at the end, without waiting for it."""
        name = f"t-{secrets.token_hex(4)}"
        modes = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
        metadata = {"name": name, "labels": {**modes, **(labels or {})}}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        self.wait("serviceaccount/default", "create", name)
        try:
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false")

    def run(self, image: str, *command: str, namespace: str) -> str:
        """What the command printed in a pod of its own, once it has ended well."""
        name = f"run-{secrets.token_hex(4)}"
        self.apply(pod(name, self.image(image), command), namespace=namespace)
        self.wait(f"pod/{name}", "jsonpath={.status.phase}=Succeeded", namespace)
        return self.logs(f"pod/{name}", namespace)

    @contextlib.contextmanager
    def forward(self, what: str, port: int, namespace: str = "") -> Iterator[int]:
        """A port of 127.0.0.1 that leads to `service/app`, for instance."""
        command = ["kubectl", *_in(namespace), "port-forward", what, f":{port}"]
        with subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True) as forwarding:
            assert forwarding.stdout
            said = forwarding.stdout.readline()
            found = re.search(r"127\.0\.0\.1:(\d+)", said)
            try:
                if not found:
                    raise Failed(f"port-forward to {what} said {said!r}")
                yield int(found[1])
            finally:
                forwarding.terminate()

    def _succeed(self, command: Sequence[str | Path], input: str = "") -> str:
        done = self._run(command, input)
        if done.returncode:
            words = " ".join(str(part) for part in command)
            raise Failed(f"{words}\nended with {done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout

    def _run(self, command: Sequence[str | Path], input: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=self.environment, input=input, capture_output=True, text=True)


def pod(name: str, image: str, command: Sequence[str], labels: Mapping[str, str] | None = None) -> Resource:
    """As restricted PodSecurity wants it, and it runs once."""
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    user = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels or {})},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": user,
            "containers": [container],
        },
    }


def elsewhere() -> bool:
    """Whether a cluster is at hand, so that no node is made."""
    return bool(os.environ.get("KUBECONFIG"))


def _in(namespace: str) -> list[str]:
    return [f"--namespace={namespace}"] if namespace else []
