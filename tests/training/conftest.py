"""Listeners and a training in an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtquant.training.progress import Silent
from mtquant.training.trainer import TrainingConfig


class Heard(Silent):
    """Keeps the news; may raise at some frame, at the end of a rollout or of a pass."""

    def __init__(
        self, fails: BaseException | None = None, at: int = 1024, where: str = "progress"
    ) -> None:
        self.texts: list[str] = []
        self.frames: list[int] = []
        self.validated: list[int] = []
        self.reports: list = []
        self.fails, self.at, self.where = fails, at, where

    def on_text(self, text):
        self.texts.append(text)

    def on_progress(self, frames, total, reward):
        self.frames.append(frames)
        self._fail("progress", frames)

    def on_validation(self, frames, reward, sharpe, kept):
        self.validated.append(frames)
        self._fail("validation", frames)

    def on_report(self, report):
        self.reports.append(report)

    def _fail(self, where: str, frames: int) -> None:
        if self.fails and where == self.where and frames >= self.at:
            raise self.fails


@pytest.fixture
def config(tmp_path: Path, small_env, small_agent, easy_bars) -> TrainingConfig:
    """A training in an empty folder."""
    return TrainingConfig(
        env=small_env,
        agent=small_agent,
        data=easy_bars,
        name="run",
        out=tmp_path / "models",
        runs=tmp_path / "runs",
        data_dir=tmp_path / "data",
    )


@pytest.fixture(scope="session")
def heard() -> type[Heard]:
    """The listener's class: ``heard()`` listens, ``heard(error, at)`` raises."""
    return Heard
