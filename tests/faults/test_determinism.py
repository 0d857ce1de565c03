"""The same life leaves the same journal, byte for byte, whatever Python's hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

STORY = """
import sqlite3, sys
from pathlib import Path
import harness, schedules
path = Path(sys.argv[1])
for plan in ({}, {30: "time-out, executed", 60: "history lags a bar"}, {45: "dies after"}):
    harness.play(schedules.stage(), schedules.faults_of(plan), path)
    with sqlite3.connect(path) as database:
        (digest,) = database.execute("SELECT digest FROM chain ORDER BY n DESC LIMIT 1").fetchone()
    database.close()
    print(digest.hex())
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_C8_the_head_of_the_journal_does_not_depend_on_the_hash_seed(tmp_path):
    heads = set()
    for seed in ("0", "1", "4242"):
        ran = subprocess.run(
            [sys.executable, "-c", STORY, str(tmp_path / f"{seed}.db")],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": _paths()},
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr
        heads.add(ran.stdout)
    assert len(heads) == 1 and len(heads.pop().split()) == 3


def _paths() -> str:
    root = Path(__file__).parents[2]
    return os.pathsep.join([str(root), str(Path(__file__).parent)])
