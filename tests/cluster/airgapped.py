"""python -m tests.cluster.airgapped FOLDER: installs what `make release` made on a node that has nothing else.

Ours come out of the folder's archives and must have the digests that images.txt names. The engines', which no registry
gives here, are our own of the same servers, under the names that images.txt lists. The node has no way out, and stays
up: `python -m tests.cluster run kubectl …` looks at it, `python -m tests.cluster down` ends it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from boxoffice import __version__
from tests.cluster.alone import alone
from tests.cluster.cluster import Cluster, Failed
from tests.cluster.images import ARCHIVES, Images
from tests.cluster.node import MANAGED, Node, NodeError
from tests.cluster.release import WAIT, Release, light, merged

REGISTRY = "registry.hall.internal/tickets"
"""Nobody answers there: what the node does not have already is not to be had."""
NAMESPACE = "tickets"
SAME_SERVERS = {
    "valkey/valkey": "valkey",
    "apache/kafka": "kafka",
    "mysql": "mysql",
    "prom/prometheus": "prometheus",
    "ncabatoff/process-exporter": "exporter",
}


def say(what: str) -> None:
    print(f"air-gapped: {what}", flush=True)


def listed(folder: Path) -> Iterator[tuple[str, str]]:
    """Names in images.txt, each with its digest, or with none where it is another project's."""
    for line in (folder / "images.txt").read_text().splitlines():
        name, *more = line.split()
        if name != "#":
            yield name, more[-1] if more else ""


def bring(node: Node, folder: Path, name: str, digest: str) -> None:
    """What a registry of one's own would: the image, under its name there. Raises NodeError."""
    repository = name.rpartition(":")[0]
    if digest:
        [archive] = folder.glob(f"{repository}-{__version__}-*.oci.tar")
        given = f"localhost/{name}"
    else:
        [archive] = Images(say).make([SAME_SERVERS[repository]])
        given = f"localhost/boxoffice/{SAME_SERVERS[repository]}:dev"
    copy = ARCHIVES / f"brought-{os.getpid()}.tar"
    shutil.copy(archive, copy)
    try:
        told = node.ctr("images", "import", "--local", MANAGED, f"/mnt/images/{copy.name}").stdout
    finally:
        copy.unlink()
    if digest not in told:
        raise NodeError(f"{archive.name} is not {digest}: {told}")
    node.ctr("images", "tag", given, f"{REGISTRY}/{name}")
    say(f"{REGISTRY}/{name} {digest}")


def install(cluster: Cluster, folder: Path) -> Release:
    """By the packaged chart, with the names that it has itself."""
    release = Release(cluster, NAMESPACE, "shop")
    parts = {part: {"resources": light()} for part in ("app", "admin", "settle", "operator", "migrate")}
    engines = {engine: {"cpu": "20m"} for engine in SAME_SERVERS.values()}
    values = merged(parts, {"imageRegistry": REGISTRY, "dev": {"enabled": True, **engines}})
    cluster.kubectl("create", "namespace", NAMESPACE)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        chart, given = folder / f"boxoffice-{__version__}.tgz", f"--values={file.name}"
        say(cluster.helm("install", release.name, chart, given, *WAIT, namespace=NAMESPACE))
    return release


def main(folder: str) -> None:
    node, files = Node(say), Path(folder)
    with alone("node", say):
        node.start(Images(say).make(["pause"]))
        for name, digest in listed(files):
            bring(node, files, name, digest)
        node.keep()
        with node.cell.network():
            release = install(Cluster(node.environment, REGISTRY), files)
            say(release.test())
            say(release.cluster.kubectl("get", "pods", "-o=wide", namespace=NAMESPACE))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (Failed, NodeError) as error:
        sys.exit(f"air-gapped: {error}")
