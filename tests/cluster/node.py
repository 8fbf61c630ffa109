"""The node: up in some twenty seconds, down in some five, one at a time on a machine."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import daemons
from tests.cluster.cell import Cell
from tests.cluster.programs import CACHE, ROOT, programs

FILES = Path(__file__).parent / "files"
IMAGES = CACHE / "images"
LOGS = ROOT / "build/node-logs"
READY_SECONDS = 90.0
MANAGED = "--label=io.cri-containerd.image=managed"
"""Of an image that pods may use."""
VOLUMES, VOLUME_SIZE = 40, "20Gi"


class NodeError(Exception):
    pass


class Node:
    """`say` is told what is done, a line each."""

    def __init__(self, say: Callable[[str], None], run: Path = CACHE / "node-run") -> None:
        self.say = say
        self.run = run
        self.cell = Cell(run)
        self.images: Sequence[Path] = ()
        self.began = time.monotonic()

    @property
    def kubeconfig(self) -> Path:
        return self.run / "pki/admin.kubeconfig"

    @property
    def environment(self) -> dict[str, str]:
        """For clients: kubectl and helm in PATH, and nothing of theirs left in the home directory."""
        folders = {name: str(self.run / "clients") for name in ("KUBECACHEDIR", "HELM_CACHE_HOME", "HELM_CONFIG_HOME")}
        return {
            **os.environ,
            **folders,
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{programs()}:{os.environ['PATH']}",
        }

    @property
    def kept(self) -> bool:
        """Whether it is to stay for the next run."""
        return (self.run / "kept").exists()

    def keep(self) -> None:
        (self.run / "kept").touch()

    @property
    def is_up(self) -> bool:
        return self.cell.pid is not None and self._kubectl("get", "--raw=/readyz", check=False).returncode == 0

    def start(self, images: Sequence[Path]) -> None:
        """Returns when pods can run, images imported. Raises NodeError, CellError; a failed start leaves its logs."""
        bin = programs()
        self.began = time.monotonic()
        self.stop()
        try:
            self._start(bin, images)
        except BaseException:
            self.stop(keep_logs=True)
            raise

    def _start(self, bin: Path, images: Sequence[Path]) -> None:
        self._lay_out()
        IMAGES.mkdir(exist_ok=True)
        self.cell.open(bin, IMAGES)
        self.cell.daemon("etcd", *daemons.etcd())
        self.cell.daemon("kube-apiserver", *daemons.apiserver())
        self.cell.daemon("containerd", *daemons.containerd())
        self._until(lambda: self.ctr("version", check=False).returncode == 0, "containerd")
        self.load(images)
        self._until(lambda: self._kubectl("get", "--raw=/readyz", check=False).returncode == 0, "the API server")
        self._done("etcd and kube-apiserver are up")
        self.cell.daemon("kube-controller-manager", *daemons.controller_manager())
        self.cell.daemon("kube-scheduler", *daemons.scheduler())
        self.cell.daemon("kubelet", *daemons.kubelet())
        self._kubectl("apply", f"--filename={FILES / 'addons.yaml'}", "--filename=-", input=self._volumes())
        self.cell.daemon("coredns", *daemons.coredns())
        self.cell.daemon("metrics-server", *daemons.metrics_server())
        self._wait("--for=create", f"node/{daemons.NODE}")
        # Only now: it ends when the node's address changes, and a node not yet registered has another one.
        self.cell.daemon("kube-proxy", *daemons.kube_proxy())
        self._wait("--for=condition=Ready", f"node/{daemons.NODE}")
        self._wait("--for=create", "serviceaccount/default")
        self._until(self._resolves, "the cluster's DNS")
        self._done("the node is ready")

    def stop(self, keep_logs: bool = False) -> None:
        """Nothing of it is left on the machine but its images and programs in the cache, and logs if asked for."""
        self.cell.close()
        if keep_logs and (self.run / "log").exists():
            shutil.rmtree(LOGS, ignore_errors=True)
            shutil.copytree(self.run / "log", LOGS)
            self.say(f"its logs are in {LOGS.relative_to(ROOT)}")
        if self.run.exists():
            shutil.rmtree(self.run)

    def load(self, images: Sequence[Path]) -> None:
        """Into containerd, where pods find them by name and nobody looks for them elsewhere."""
        self.images = images
        for image in images:
            imported = self.run / "imported" / image.name
            if not imported.exists():
                self.ctr("images", "import", "--local", MANAGED, f"/mnt/images/{image.name}")
                imported.touch()
                self._done(f"{image.stem.rpartition('-')[0]} imported ({image.stat().st_size / 1e6:.0f} MB)")

    def free_volumes(self) -> None:
        """Those whose claims are gone, for a node that is used again."""
        listed = json.loads(self._kubectl("get", "persistentvolumes", "--output=json").stdout)
        for volume in listed["items"]:
            if volume["status"]["phase"] == "Released":
                folder = self.run / "volumes" / volume["metadata"]["name"].removeprefix("local-")
                shutil.rmtree(folder)
                folder.mkdir()
                free = '[{"op": "remove", "path": "/spec/claimRef"}]'
                self._kubectl("patch", "persistentvolume", volume["metadata"]["name"], "--type=json", f"--patch={free}")

    def _lay_out(self) -> None:
        for folder in ("pki", "log", "ended", "conf/cni", "volumes", "clients", "imported"):
            (self.run / folder).mkdir(parents=True)
        for file in ("containerd.toml", "kubelet.yaml", "kube-proxy.yaml", "Corefile"):
            shutil.copy(FILES / file, self.run / "conf")
        shutil.copy(FILES / "cni.conflist", self.run / "conf/cni")
        (self.run / "conf/resolv.conf").touch()
        daemons.write_keys(self.run / "pki")

    def _volumes(self) -> str:
        """Made beforehand: `local` is the kind that gives a pod's fsGroup its rights, as a real one's driver does."""
        for number in range(VOLUMES):
            (self.run / f"volumes/{number}").mkdir()
        return yaml.safe_dump_all(volume(number) for number in range(VOLUMES))

    def _until(self, ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not ready():
            self._check()
            if time.monotonic() > deadline:
                raise NodeError(f"{what} was not ready in {READY_SECONDS:.0f} s")
            time.sleep(0.1)

    def _check(self) -> None:
        for ended in (self.run / "ended").iterdir():
            log = (self.run / f"log/{ended.name}.log").read_text(errors="replace")
            raise NodeError(f"{ended.name} ended:\n" + "\n".join(log.splitlines()[-15:]))

    def _wait(self, condition: str, what: str) -> None:
        """In small turns, so that a daemon that ends is told at once."""
        turn = ("wait", condition, what, "--timeout=2s")
        self._until(lambda: self._kubectl(*turn, check=False).returncode == 0, what)

    def _resolves(self) -> bool:
        """Whether CoreDNS knows the cluster's names, and kube-proxy leads to it."""
        dns = http.client.HTTPConnection(daemons.NODE_IP, daemons.DNS_READY_PORT, timeout=2)
        with self.cell.network(), contextlib.closing(dns), contextlib.suppress(OSError):
            dns.request("GET", "/ready")
            with socket.create_connection((daemons.DNS_SERVICE, 53), timeout=2):
                return dns.getresponse().status == 200
        return False

    def _kubectl(self, *arguments: str, check: bool = True, input: str = "") -> subprocess.CompletedProcess[str]:
        command = self.cell.on_its_network(programs() / "kubectl", *arguments)
        return run(command, self.environment, check, input)

    def ctr(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        ctr = ["/mnt/bin/ctr", f"--address={daemons.CONTAINERD}", "--namespace=k8s.io", *arguments]
        return run(self.cell.within(*ctr), None, check)

    def _done(self, what: str) -> None:
        self.say(f"{time.monotonic() - self.began:5.1f} s  {what}")


def volume(number: int) -> dict[str, Any]:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [daemons.NODE]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"local-{number}"},
        "spec": {
            "storageClassName": "local",
            "capacity": {"storage": VOLUME_SIZE},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": f"/mnt/node/volumes/{number}"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


def run(
    command: Sequence[str | Path], environment: Mapping[str, str] | None, check: bool, input: str = ""
) -> subprocess.CompletedProcess[str]:
    """Raises NodeError with what it said, if it is to be checked."""
    done = subprocess.run(command, env=environment, input=input, capture_output=True, text=True)
    if check and done.returncode:
        words = " ".join(str(part) for part in command)
        raise NodeError(f"{words}\nended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done
