"""From here on SIGTERM ends the process, until kopf listens itself: the first process of a container hears no signal
that it did not ask for, and is killed when its grace is over."""

from __future__ import annotations

import signal
import sys

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
