"""One run among random disturbances; `make chaos` has more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_a_run_among_disturbances_keeps_its_promises(prefect_api: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", "--runs", "1", "--seed", "7", "--files", "50"],
        cwd=ROOT,
        env={**os.environ, "PREFECT_API_URL": prefect_api},
        capture_output=True,
        encoding="utf-8",
        timeout=170,
    )
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["runs"], said["violations"]) == (1, 0), done.stderr
    assert done.returncode == 0
