"""Every mutant of the safety code is killed: the tests of this folder fail on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import mutants
import pytest

ROOT = Path(__file__).parents[2]
KILLERS = (
    "tests/faults/test_gates.py",
    "tests/faults/test_desk.py",
    "tests/faults/test_kill_switch.py",
    "tests/faults/test_feed.py",
    "tests/faults/test_disk.py",
    "tests/faults/test_beyond.py",
    "tests/faults/test_late.py",
    "tests/faults/test_strays.py",
    "tests/live/test_chain.py",
    "tests/brokers/test_retcodes.py",
    "tests/faults/test_schedules.py",
    "tests/faults/test_sigkill.py",
)


def test_every_mutant_changes_one_place():
    assert len(set(mutants.MUTANTS)) == len(mutants.MUTANTS) >= 40
    for file, old, new in mutants.MUTANTS:
        text = (ROOT / "mtquant" / file).read_text(encoding="utf-8")
        assert text.count(old) == 1 and old != new, (file, old)


# Minutes each: a few in the slow run, all of them where asked for.
PLAYED = range(len(mutants.MUTANTS)) if os.environ.get("MTQUANT_MUTANTS") else range(0, 18, 4)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """One copy for all mutants: kernels are compiled for the folder that they lie in."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("mtquant", "tests", "configs", "envs"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("number", PLAYED)
def test_a_mutant_is_killed(number, copy):
    file, old, new = mutants.MUTANTS[number]
    path = copy / "mtquant" / file
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace(old, new), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(copy)}
    command = [sys.executable, "-m", "pytest", "-x", "-n", "0", "-p", "no:cacheprovider", *KILLERS]
    ran = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    path.write_text(whole, encoding="utf-8")
    assert ran.returncode == 1, f"{file}: {old!r} -> {new!r} survives\n{ran.stdout[-2000:]}"
