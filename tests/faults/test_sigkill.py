"""Real SIGKILL: at every call, at every write and at random instants of a run of 200 orders.

:mod:`sigkill_program` kills and judges, by the oracle of :mod:`harness` and by what the journal
holds of the terminal's deals; here it is started, with a share of it in the ordinary run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has neither fork nor SIGKILL"
)

PROGRAM = Path(__file__).with_name("sigkill_program.py")
ROOT = Path(__file__).parents[2]


def killed(*parts: object) -> list[dict[str, Any]]:
    """Of each part, given as its name, how many bars and how much of it, what came of it."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {
        "PYTHONPATH": path.rstrip(os.pathsep),
        # A fork has one thread only, so there should be no others.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [sys.executable, str(PROGRAM), *map(str, parts)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    told: list[dict[str, Any]] = json.loads(ran.stdout)
    broken = [life for one in told for life in one["broken"]]
    assert not broken, "\n".join(
        "\n".join(map(str, [" ".join(command), *wrong, "after deaths at", *deaths]))
        for wrong, deaths in broken
    )
    return told


@pytest.mark.timeout(1200)
def test_A1_A3_F4_a_killed_process_loses_and_doubles_nothing():
    """A share of all calls, writes and instants, of births and of shorter runs."""
    told = killed("events", 25, 0.03, "births", 4, 0.04, "instants", 15, 12)
    assert told[0]["unmet"] == 0 and told[0]["orders"] > 30
    assert sum(one["deaths"] for one in told) > 40


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_A1_A3_F4_killed_at_every_call_and_every_write_of_200_orders():
    (told,) = killed("events", 150, 1.0)
    assert told["orders"] >= 200 and told["calls"] > 1_000 and told["writes"] > 2_000
    assert told["unmet"] == 0 and told["deaths"] > told["calls"] + told["writes"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_F1_killed_at_every_step_of_a_birth():
    """Of the first, which makes the journal, and of one that finds an order without an answer."""
    assert killed("births", 6, 1.0)[0]["deaths"] > 150


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_A1_A3_F4_killed_at_300_random_instants():
    assert killed("instants", 150, 300)[0]["deaths"] >= 300
