"""What a training run tells whoever watches it; the console and tests listen in."""

from __future__ import annotations

from typing import Protocol

from mtquant.backtest.report import Report


class Listener(Protocol):
    """Receives a run's news; must not change it."""

    def on_text(self, text: str) -> None:
        """One line about what is being done."""

    def on_progress(self, frames: int, total: int, reward: float | None) -> None:
        """After every rollout.

        Args:
            frames: Trained so far.
            total: To be trained.
            reward: Mean reward per bar of episodes that ended lately; None before the first.
        """

    def on_validation(self, frames: int, reward: float, sharpe: float | None, kept: bool) -> None:
        """After every validation pass.

        Args:
            frames: Trained when it was made.
            reward: Mean reward per bar.
            sharpe: Annualised net Sharpe ratio; None where nothing was traded.
            kept: Whether this checkpoint is the new incumbent.
        """

    def on_report(self, report: Report) -> None:
        """The test split, once, at the end."""

    def of_seed(self, seed: int) -> Listener:
        """Who receives the news of one seed, where several are trained at a time."""


class Silent:
    """A listener that ignores everything."""

    def on_text(self, text: str) -> None:
        """Ignore."""

    def on_progress(self, frames: int, total: int, reward: float | None) -> None:
        """Ignore."""

    def on_validation(self, frames: int, reward: float, sharpe: float | None, kept: bool) -> None:
        """Ignore."""

    def on_report(self, report: Report) -> None:
        """Ignore."""

    def of_seed(self, seed: int) -> Listener:
        """This one."""
        return self
