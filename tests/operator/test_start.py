"""The operator's first seconds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.cluster.programs import ROOT


def test_a_sigterm_is_heard_while_modules_are_still_loaded(tmp_path: Path) -> None:
    """Here the first module that is ours never ends to load. Who is not the first process of a container dies of a
    SIGTERM that nobody asked for, by -15."""
    package = tmp_path / "boxoffice"
    package.mkdir()
    (package / "__init__.py").write_text("print('loading', flush=True)\nimport time\nwhile True: time.sleep(0.1)\n")
    command = [sys.executable, "-m", "kopf", "run", "--standalone", "--namespace=shop", str(ROOT / "operator/main.py")]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as operator:
        assert operator.stdout
        assert operator.stdout.readline() == "loading\n"
        operator.send_signal(signal.SIGTERM)
        try:
            assert operator.wait(20) == 0
        finally:
            operator.kill()
