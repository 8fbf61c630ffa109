"""Named steps at which a test lets the process die, as `kill -9` would, to prove that nothing is lost there.

`BOXOFFICE_FAILPOINT=settle.charged` dies the first time that step is reached, `settle.charged:3` the third.
"""

from __future__ import annotations

import os
import signal


def reached(name: str) -> None:
    """Free unless the environment names a step."""
    global _left
    if name != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


_name, _, _nth = os.environ.get("BOXOFFICE_FAILPOINT", "").partition(":")
_left = int(_nth or 1)
