"""Nothing of the node gets out of the machine, and nothing of it stays on the machine."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from tests.cluster.cluster import Cluster, Resource
from tests.cluster.machine import Machine
from tests.cluster.node import Node

NOBODY = "203.0.113.7"
"""An address for documentation, which no machine has (RFC 5737)."""

OURS = [ipaddress.ip_network(network) for network in ("10.244.0.0/16", "10.96.0.0/16", "203.0.113.0/24")]

# Says what came of each attempt, a line each; only an answer is "through".
TRY = """
import socket, sys
for host in sys.argv[1:]:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as s:
            s.settimeout(1)
            try:
                s.connect((host, 53))
                s.send(b"out")
                print(host, kind.name, "through", s.recv(1))
            except OSError as error:
                print(host, kind.name, error)
"""


class Wire:
    """What passes some network interfaces, as far as it is the cluster's."""

    def __init__(self, interfaces: Sequence[str]) -> None:
        self.sockets = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) for _ in interfaces]
        for tap, interface in zip(self.sockets, interfaces, strict=True):
            tap.setsockopt(socket.SOL_SOCKET, 33, 64 * 1024 * 1024)  # SO_RCVBUFFORCE: nothing may be missed
            tap.bind((interface, 0))

    def seen(self) -> list[tuple[str, str]]:
        """Pairs of source and destination."""
        return [pair for tap in self.sockets for frame in frames(tap) if (pair := addresses(frame))]

    def close(self) -> None:
        for tap in self.sockets:
            tap.close()


def frames(tap: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            yield tap.recv(2048, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return


def addresses(frame: bytes) -> tuple[str, str] | None:
    """Of IPv4, and of ARP, which asks for the way before a packet is sent."""
    source = {b"\x08\x00": 26, b"\x08\x06": 28}.get(frame[12:14])
    if not source:
        return None
    target = source + (4 if source == 26 else 10)
    pair = ipaddress.ip_address(frame[source : source + 4]), ipaddress.ip_address(frame[target : target + 4])
    if any(address in network for address in pair for network in OURS):
        return str(pair[0]), str(pair[1])
    return None


@contextmanager
def tapped(*interfaces: str) -> Iterator[Wire]:
    wire = Wire(interfaces)
    try:
        yield wire
    finally:
        wire.close()


def uplinks(node: Node) -> list[str]:
    """Every interface of the machine that is up, but its loopback."""
    with node.cell.outside():
        return [link["ifname"] for link in ip("link") if "UP" in link["flags"] and link["ifname"] != "lo"]


def ip(*arguments: str) -> list[Resource]:
    listed: list[Resource] = json.loads(subprocess.check_output(["ip", "-json", *arguments]))
    return listed


def own_addresses(node: Node) -> list[str]:
    """The machine's, and its gateways'."""
    with node.cell.outside():
        links, routes = ip("-4", "address"), ip("-4", "route")
    locals_ = [info["local"] for link in links if link["ifname"] != "lo" for info in link["addr_info"]]
    return locals_ + [route["gateway"] for route in routes if "gateway" in route]


def test_the_node_has_no_way_out(cluster: Cluster, node: Node) -> None:
    assert not [route for route in ip("route", "show", "table", "all") if route["dst"] == "default"]
    for link in ip("link"):
        assert re.fullmatch("lo|node0|veth[0-9a-f]+", link["ifname"])


def test_a_pod_that_tries_to_get_out_sends_no_packet(cluster: Cluster, node: Node, namespace: str) -> None:
    lead_out(cluster, namespace)
    targets = [NOBODY, *own_addresses(node), "out", "example.org"]
    interfaces = uplinks(node)
    with ExitStack() as stack:
        with node.cell.outside():
            out = stack.enter_context(tapped(*interfaces))
        within = stack.enter_context(tapped("node0"))
        said = cluster.run("base", "python3", "-c", TRY, *targets, namespace=namespace).splitlines()
        assert within.seen(), "it sees nothing at all"
        assert out.seen() == []
    assert len(said) == 2 * len(targets)
    assert not [line for line in said if "through" in line]


def lead_out(cluster: Cluster, namespace: str) -> None:
    """A service that translates to an address outside: the node itself would have to send it there."""
    ports = [{"name": "dns", "port": 53, "protocol": "TCP"}]
    cluster.apply(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "out"}, "spec": {"ports": ports}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "out", "labels": {"kubernetes.io/service-name": "out"}},
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [{"addresses": [NOBODY], "conditions": {"ready": True}}],
        },
        namespace=namespace,
    )


def test_the_node_goes_without_a_trace_and_is_back_within_a_minute(node: Node, before: Machine) -> None:
    with node.cell.outside():
        running = Machine.look()
        assert running.processes > before.processes, "it looks for the wrong ones"
        assert running.sysctls == before.sysctls
        node.stop()
        assert Machine.look() == before
        assert not node.run.exists()
        began = time.monotonic()
        node.start(node.images)
        assert time.monotonic() - began < 60
