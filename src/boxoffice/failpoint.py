"""Named steps at which a test lets the process die, as `kill -9` would, to prove that nothing is lost there.

`BOXOFFICE_FAILPOINT=settle.charged` dies the first time that step is reached, `settle.charged:3` the third;
`settle.charged:3:stop` stands still there, as under SIGSTOP, until SIGCONT.
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
        os.kill(os.getpid(), signal.SIGSTOP if _how == "stop" else signal.SIGKILL)


_name, _nth, _how = (os.environ.get("BOXOFFICE_FAILPOINT", "") + "::").split(":")[:3]
_left = int(_nth or 1)
