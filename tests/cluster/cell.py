"""The room the node lives in: network, mount and pid namespaces of its own, and a cgroup."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

CGROUP = "boxoffice-node"
CGROUPS = Path("/sys/fs/cgroup")
WEIGHTS = {"cpu.shares": "16384", "cpu.weight": "1600"}
"""Of v1, and of v2. A node is dozens of processes, and by default a group gets the share of one."""
CLONE_NEWNET = 0x40000000
INIT = Path(__file__).parent / "files/init"
GONE_SECONDS = 30.0


class CellError(Exception):
    pass


class Cell:
    """`run` is the folder that the node shares with the machine; it remembers the first process there."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._remembered = run / "init.pid"
        self._outside = -1

    @property
    def pid(self) -> int | None:
        """The first process, as the machine sees it; None when there is none."""
        try:
            pid, network = self._remembered.read_text().split()
            return int(pid) if os.stat(f"/proc/{pid}/ns/net").st_ino == int(network) else None
        except FileNotFoundError:
            return None

    def open(self, bin: Path, images: Path) -> None:
        """Returns when the file systems and the network are there. Raises CellError."""
        _make_cgroups()
        unshare = ["unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc"]
        log = self.run / "log/init.log"
        with log.open("wb") as output:
            start = subprocess.Popen(
                ["setsid", "--fork", "sh", "-c", 'echo $$; exec "$@"', "sh", *unshare, INIT, self.run, bin, images],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )
        assert start.stdout
        with start, start.stdout:
            outer, said = start.stdout.readline().strip(), start.stdout.readline()
        if said != "ready\n":
            raise CellError(f"the node's namespaces could not be made:\n{log.read_text()}")
        pid = Path(f"/proc/{outer}/task/{outer}/children").read_text().strip()
        self._remembered.write_text(f"{pid} {os.stat(f'/proc/{pid}/ns/net').st_ino}")

    def daemon(self, name: str, *command: str | Path) -> None:
        """In all its namespaces, as a child of the first process; its exit code would be in ended/NAME."""
        script = f'exec </dev/null >>/mnt/node/log/{name}.log 2>&1; "$@"; echo $? >/mnt/node/ended/{name}'
        subprocess.run(self.within("setsid", "--fork", "bash", "-c", script, name, *command), check=True)

    def within(self, *command: str | Path) -> list[str | Path]:
        """In all its namespaces."""
        return ["nsenter", "-t", self._target(), "--net", "--mount", "--pid", "--", *command]

    def _target(self) -> str:
        if pid := self.pid:
            return str(pid)
        raise CellError("there is no node: python -m tests.cluster up")

    def on_its_network(self, *command: str | Path) -> list[str | Path]:
        """A client: files and user as on the machine."""
        return ["nsenter", "-t", self._target(), "--net", "--", *command]

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """This thread, and every thread and process that it starts meanwhile, is on the node's network."""
        before = self._outside
        with _network_of("self") as self._outside:
            self._enter_network()
            try:
                yield
            finally:
                _enter(self._outside)
                self._outside = before

    @contextlib.contextmanager
    def outside(self) -> Iterator[None]:
        """Back on the machine's own network for a while; the node may be another one afterwards."""
        _enter(self._outside)
        try:
            yield
        finally:
            self._enter_network()

    def _enter_network(self) -> None:
        with _network_of(self._target()) as within:
            _enter(within)

    def close(self) -> None:
        """One signal ends every daemon and container; the namespaces and mounts go with the last of them."""
        if pid := self.pid:
            os.kill(pid, signal.SIGKILL)
            _until_gone(Path(f"/proc/{pid}"))
        _remove_cgroups()
        self._remembered.unlink(missing_ok=True)


@contextlib.contextmanager
def _network_of(pid: str) -> Iterator[int]:
    task = "thread-self" if pid == "self" else pid
    descriptor = os.open(f"/proc/{task}/ns/net", os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _enter(network: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(network, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def cgroups() -> Sequence[Path]:
    """The node's own in each hierarchy (cgroup v1), or the one (v2); whether there or not."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS / CGROUP]
    return [hierarchy / CGROUP for hierarchy in CGROUPS.iterdir() if (hierarchy / "cgroup.procs").exists()]


def _make_cgroups() -> None:
    for cgroup in cgroups():
        cgroup.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):  # empty in a new one of v1, and then it takes no process
            if (cgroup / name).exists() and not (cgroup / name).read_text().strip():
                (cgroup / name).write_text((cgroup.parent / name).read_text())
        for name, weight in WEIGHTS.items():
            if (cgroup / name).exists():
                (cgroup / name).write_text(weight)


def _remove_cgroups() -> None:
    for cgroup in cgroups():
        for folder, _, _ in os.walk(cgroup, topdown=False):
            _remove_cgroup(Path(folder))


def _remove_cgroup(cgroup: Path) -> None:
    """The kernel gives one up a moment after its last process."""
    deadline = time.monotonic() + GONE_SECONDS
    while cgroup.exists():
        try:
            cgroup.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _until_gone(path: Path) -> None:
    deadline = time.monotonic() + GONE_SECONDS
    while path.exists():
        if time.monotonic() > deadline:
            raise CellError(f"{path} is still there {GONE_SECONDS:.0f} s after the node was ended")
        time.sleep(0.02)
