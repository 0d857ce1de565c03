"""Every mutant of the safety code is killed: a test fails on it that passes without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import mutants
import pytest

ROOT = Path(__file__).parents[2]


def test_every_mutant_changes_one_place_and_names_a_test():
    assert len(set(mutants.MUTANTS)) == len(mutants.MUTANTS) >= 40
    for file, old, new, killer in mutants.MUTANTS:
        text = (ROOT / "mtquant" / file).read_text(encoding="utf-8")
        assert text.count(old) == 1 and old != new, (file, old)
        path, name = killer.split("::")
        assert f"def {name.split('[')[0]}(" in (ROOT / "tests" / path).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """One copy for all mutants: kernels are compiled for the folder that they lie in."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("mtquant", "tests", "configs", "envs"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def failed(copy, *tests):
    """Names of the tests that fail in the copy."""
    environment = os.environ | {"PYTHONPATH": str(copy)}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "-rfE"]
    names = [f"tests/{one}" for one in tests]
    ran = subprocess.run([*command, *names], cwd=copy, env=environment, capture_output=True)
    said = ran.stdout.decode()
    assert ran.returncode in (0, 1), said[-2000:]
    return [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_nothing_fails_where_nothing_is_mutated(copy):
    assert not failed(copy, *dict.fromkeys(killer for *_, killer in mutants.MUTANTS))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(len(mutants.MUTANTS)))
def test_a_mutant_is_killed(number, copy):
    file, old, new, killer = mutants.MUTANTS[number]
    path = copy / "mtquant" / file
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace(old, new), encoding="utf-8")
    try:
        assert failed(copy, killer), f"{file}: {old!r} -> {new!r} survives"
    finally:
        path.write_text(whole, encoding="utf-8")
