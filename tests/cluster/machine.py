"""What a node could leave on the machine that it ran on."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.cell import cgroups
from tests.cluster.programs import programs

SYSCTLS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/ip_forward",
    "net/ipv4/icmp_ratelimit",
    "net/bridge/bridge-nf-call-iptables",
)
FOLDERS = (
    "/etc/cni",
    "/etc/containerd",
    "/opt/cni",
    "/opt/containerd",
    "/run/containerd",
    "/run/netns",
    "/tmp/hostpath_pv",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/etcd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
    "/var/run/kubernetes",
    "~/.kube",
    "~/.config/helm",
    "~/.cache/helm",
)


@dataclass(frozen=True)
class Machine:
    """Two are equal when nothing was left. Look from the machine's own network."""

    processes: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    links: frozenset[str]
    tables: str
    sysctls: tuple[str, ...]
    folders: frozenset[str]

    @classmethod
    def look(cls) -> Machine:
        return cls(
            processes=frozenset(_processes()),
            mounts=frozenset(line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()),
            cgroups=frozenset(str(cgroup) for cgroup in cgroups() if cgroup.exists()),
            links=frozenset(line.split(":")[1] for line in _said("ip", "-oneline", "link").splitlines()),
            tables=_said("nft", "list", "tables"),
            sysctls=tuple(sysctl(name) for name in SYSCTLS),
            folders=frozenset(folder for folder in FOLDERS if Path(folder).expanduser().exists()),
        )


def sysctl(name: str) -> str:
    path = Path("/proc/sys") / name
    return f"{name}={path.read_text().strip()}" if path.exists() else ""


def _processes() -> list[str]:
    """Those of the node's programs, and those in another pid namespace whose first process is ours."""
    bin = str(programs())
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            exe = os.readlink(process / "exe")
        except OSError:  # it has ended meanwhile, or is the kernel's
            continue
        if exe.startswith((bin, "/mnt/bin/")) or "cluster/files/init" in words:
            found.append(words)
    return found


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
