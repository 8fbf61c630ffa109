"""The user's own `kubectl`, as a subprocess: context, sign-in and namespace are what they are there."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from boxoffice.errors import BoxofficeError

CONCERT_SALES = "concertsales.boxoffice.dev"
WATCHES = ("--watch", "--output-watch-events", "--output=json")


class KubectlFailed(BoxofficeError):
    """What kubectl said when it did not do it."""

    code = "kubectl_failed"


class Event(msgspec.Struct, frozen=True):
    """Something of a watch: ADDED, MODIFIED or DELETED, and the object as it is since then."""

    type: str
    object: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Empty: as kubectl's own configuration says."""

    context: str = ""
    namespace: str = ""

    def run(self, *arguments: str, input: str = "") -> str:
        """What it printed. Raises KubectlFailed."""
        done = self._done(arguments, input)
        if done.returncode:
            raise KubectlFailed(_said(done.stderr) or f"kubectl ended with {done.returncode}")
        return done.stdout

    def execute(self, pod: str, *command: str, input: str = "") -> str:
        """What a command in a pod printed, however it ended. Raises KubectlFailed when it printed nothing."""
        done = self._done(("exec", *(["--stdin"] if input else []), pod, "--", *command), input)
        if not done.stdout:
            raise KubectlFailed(_said(done.stderr) or f"kubectl ended with {done.returncode}")
        return done.stdout

    def items(self, kind: str, *arguments: str) -> list[Any]:
        """All of a kind; none where the cluster does not know such a thing. Raises KubectlFailed."""
        try:
            found: list[Any] = msgspec.json.decode(self.run("get", kind, "--output=json", *arguments))["items"]
        except KubectlFailed as fault:
            if "the server doesn't have a resource type" in fault.detail:
                return []
            raise
        return found

    def watch(self, *arguments: str, seconds: float | None = None) -> Generator[Event]:
        """Of `get` and these arguments: what is there, then what changes, until the server ends it, or `seconds` are
        over; to be closed. Raises KubectlFailed when it ends with a fault."""
        with tempfile.TemporaryFile("w+") as errors, self._watching(arguments, errors) as child:
            overdue = threading.Event()

            def end() -> None:
                overdue.set()
                child.terminate()

            timer = threading.Timer(seconds or 0, end)
            if seconds:
                timer.start()
            assert child.stdout
            try:
                for line in child.stdout:
                    yield msgspec.json.decode(line, type=Event)
                ended = child.wait()
            finally:
                timer.cancel()
                child.terminate()
            if ended and not overdue.is_set():
                errors.seek(0)
                raise KubectlFailed(_said(errors.read()) or f"kubectl ended with {ended}")

    def _done(self, arguments: Iterable[str], input: str = "") -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(self._argv(arguments), capture_output=True, text=True, input=input)
        except FileNotFoundError:
            raise _missing() from None

    def _watching(self, arguments: Iterable[str], errors: Any) -> subprocess.Popen[str]:
        argv = self._argv(("get", *arguments, *WATCHES))
        try:
            return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=errors, text=True)
        except FileNotFoundError:
            raise _missing() from None

    def _argv(self, arguments: Iterable[str]) -> list[str]:
        where = [f"--context={self.context}"] if self.context else []
        where += [f"--namespace={self.namespace}"] if self.namespace else []
        return ["kubectl", *where, *arguments]


def _missing() -> KubectlFailed:
    return KubectlFailed("kubectl is not on PATH: this works through it, with its contexts and its sign-in")


def _said(text: str) -> str:
    """On one line; the last ones say why."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(lines[-3:]).removeprefix("error: ")
