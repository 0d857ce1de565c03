from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mtquant
from mtquant import jit
from mtquant.sim.account import Tape, empty_book, mark
from mtquant.sim.records import BAR, CONTRACT, RULES

PACKAGE = Path(mtquant.__file__).parent
DIGEST = "from mtquant.jit import sources_digest; print(sources_digest())"

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package that may be edited."""
    shutil.copytree(PACKAGE, tmp_path / "mtquant", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "mtquant"


@pytest.fixture
def fresh_cache():
    """Asks for the cache folder anew, before and after."""
    jit.cache_folder.cache_clear()
    yield
    jit.cache_folder.cache_clear()


def digest(package: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(package.parent)}
    command = [sys.executable, "-c", DIGEST]
    ran = subprocess.run(
        command, cwd=package.parent, env=environment, capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


def test_editing_a_callee_in_another_file_changes_the_digest(copy):
    """numba itself watches only the caller's file: an edited callee would never be compiled."""
    before = digest(copy)
    assert digest(copy) == before
    costs = copy / "sim" / "costs.py"
    source = costs.read_text(encoding="utf-8")
    assert "bid_ticks - slippage" in source
    edited = source.replace("bid_ticks - slippage", "bid_ticks + slippage")
    costs.write_text(edited, encoding="utf-8")
    assert digest(copy) != before


def test_a_new_kernel_file_changes_the_digest_and_other_files_do_not(copy):
    before = digest(copy)
    (copy / "errors.py").write_text("# no kernel in here\n", encoding="utf-8")
    assert digest(copy) == before
    added = "from mtquant.jit import kernel\n\n\n@kernel\ndef f(x):\n    return x\n"
    (copy / "sim" / "more.py").write_text(added, encoding="utf-8")
    assert digest(copy) != before


def test_every_room_with_kernels_is_in_the_digest():
    """What defines a kernel says ``@kernel``, in that spelling, which the digest looks for."""
    users = [p for p in PACKAGE.rglob("*.py") if "mtquant.jit import" in p.read_text("utf-8")]
    for path in users:
        source = path.read_text("utf-8")
        imports_it = any(
            "kernel" in line for line in source.splitlines() if "mtquant.jit import" in line
        )
        assert not imports_it or "@kernel" in source, path


@posix
def test_the_cache_folder_is_private(tmp_path, monkeypatch, fresh_cache):
    monkeypatch.setenv("MTQUANT_CACHE_DIR", str(tmp_path / "cache"))
    folder = jit.cache_folder()
    assert folder.is_relative_to(tmp_path / "cache")
    assert folder.name == jit.sources_digest()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_place_that_cannot_hold_the_cache_falls_back(tmp_path, monkeypatch, fresh_cache):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("MTQUANT_CACHE_DIR", str(blocked))
    folder = jit.cache_folder()
    assert folder.is_dir()
    assert not folder.is_relative_to(tmp_path)
    if os.name != "nt":
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert os.access(folder, os.W_OK)
    folder.rmdir()


def test_a_folder_without_write_access_falls_back(tmp_path, monkeypatch, fresh_cache):
    monkeypatch.setenv("MTQUANT_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(jit.os, "access", lambda path, mode: False)
    folder = jit.cache_folder()
    assert not folder.is_relative_to(tmp_path)
    folder.rmdir()


def test_without_the_jit_a_kernel_is_the_function_itself(monkeypatch):
    monkeypatch.setattr(jit.numba_config, "DISABLE_JIT", 1)

    def plain(x: float) -> float:
        return x + 1.0

    assert jit.kernel(plain) is plain
    assert jit.kernel(allocates=True)(plain) is plain
    assert jit.resolved(plain, 1.0) is plain


def test_the_resolved_form_is_the_kernel_for_these_types():
    book = empty_book(2, 1)
    book.account["balance"] = 7.0
    tape = Tape(
        np.zeros((1, 1), BAR),
        np.zeros(1, np.int64),
        np.zeros((1, 0), np.float32),
        np.zeros(1, CONTRACT),
        np.zeros(1, RULES),
    )
    assert jit.resolved(mark, book, tape, 1, 0)(book, tape, 1, 0) == mark(book, tape, 1, 0) == 7.0


@posix
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_may_write_to_is_not_trusted(tmp_path, monkeypatch, fresh_cache, mode):
    """A compiled kernel is code: whoever writes it is whoever runs it."""
    planted = tmp_path / "kernels" / jit.sources_digest()
    planted.mkdir(parents=True)
    planted.chmod(mode)
    monkeypatch.setenv("MTQUANT_CACHE_DIR", str(tmp_path))
    folder = jit.cache_folder()
    assert not folder.is_relative_to(tmp_path)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.rmdir()


@posix
def test_a_folder_of_somebody_else_is_not_trusted(tmp_path, monkeypatch, fresh_cache):
    monkeypatch.setenv("MTQUANT_CACHE_DIR", str(tmp_path))
    owner = os.getuid()
    monkeypatch.setattr(jit.os, "getuid", lambda: owner + 1)
    folder = jit.cache_folder()
    assert not folder.is_relative_to(tmp_path)
    folder.rmdir()
