"""The kernels as plain Python: what is compiled is what is written (and coverage can see it)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_known_frames_without_compilation() -> None:
    env = {
        **os.environ,
        "NUMBA_DISABLE_JIT": "1",
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), str(ROOT)]),
    }
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("nojit_frames.py"))],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
