"""python -m tests.cluster up [IMAGE …] | run CMD | down: the node by hand."""

from __future__ import annotations

import os
import sys

from tests.cluster.alone import alone
from tests.cluster.cell import CellError
from tests.cluster.images import ImageError, Images, in_cluster
from tests.cluster.node import Node, NodeError


def say(what: str) -> None:
    print(f"node: {what}", flush=True)


def main(command: str, *arguments: str) -> None:
    node = Node(say)
    if command == "run":
        words = [str(word) for word in node.cell.on_its_network(*arguments)]
        os.execvpe(words[0], words, node.environment)
    with alone("node", say):
        if command == "up":
            node.start(Images(say).make(arguments or in_cluster()))
            node.keep()
        else:
            node.stop()


try:
    main(*sys.argv[1:])
except (CellError, ImageError, NodeError) as error:
    sys.exit(f"node: {error}")
