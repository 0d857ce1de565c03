"""A desk to work at: commands run as a user types them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from mtquant.cli import main
from mtquant.market.bars import Bars


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: object
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture(scope="session")
def write_csv() -> Callable[[Path, Bars], None]:
    """Writes a CSV of UTC bars that does not say so."""

    def write(path: Path, bars: Bars) -> None:
        frame = bars.to_frame()
        frame["time"] = frame["time"].dt.tz_localize(None)
        frame.to_csv(path, index=False)

    return write


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_env, small_agent) -> Path:
    """A working directory with an env, an agent and nothing else."""
    env, agent = small_env.model_dump(mode="json"), small_agent.model_dump(mode="json")
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(env), encoding="utf-8")
    (tmp_path / "ppo.yaml").write_text(yaml.safe_dump(agent), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def mtquant(desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs ``mtquant ...`` in this process."""

    def run(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["mtquant", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        return Outcome(stopped.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def refused(desk: Path, mtquant: Command) -> Callable[..., str]:
    """Runs a command that must be refused, and returns what it says."""

    def run(*words: object) -> str:
        before = sorted(desk.rglob("*"))
        done = mtquant(*words)
        assert done.code == 2, done
        lines = done.err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: "), done.err
        assert len(lines[0]) < 500, "one sentence, not a page"
        assert sorted(desk.rglob("*")) == before, "something was written"
        return lines[0]

    return run


@pytest.fixture
def models(desk: Path, small_run, easy_store) -> Path:
    """The bundle ``small`` and its bars, where the commands look for them."""
    shutil.copytree(easy_store, desk / "data")
    return Path(shutil.copytree(small_run.folder / "models", desk / "models" / "checkpoints"))
