"""The properties of the kernel over many more markets than the ordinary run has time for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CASES_EACH = 920
FILES = ("test_kernel_properties.py", "test_option_properties.py")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_twenty_thousand_cases():
    """920 of each of 22 properties."""
    environment = {**os.environ, "MTQUANT_PROPERTY_CASES": str(CASES_EACH)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-o", "timeout=1400", "-o", "addopts=--import-mode=importlib"]
    command += ["-k", "not lanes_draw and not random_starts"]
    run = subprocess.run(
        [*command, *(str(HERE / name) for name in FILES)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-4000:]
    passed = int(run.stdout.split(" passed")[0].split()[-1])
    assert passed * CASES_EACH >= 20_000
