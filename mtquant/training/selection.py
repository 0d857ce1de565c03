"""Which checkpoint becomes the bundle: flat is always a candidate.

The best of k noisy checkpoints always looks good. So a checkpoint replaces the incumbent only if
its mean validation reward is higher *and* its net Sortino ratio exceeds flat's by what the best of
k ratios would reach on noise alone (Bailey and Lopez de Prado, 2014).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import e, inf, sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

EULER_GAMMA = 0.5772156649015329


def expected_maximum(k: int) -> float:
    """Expected maximum of ``k`` standard normal draws, by Bailey and Lopez de Prado's formula."""
    if k < 2:
        return 0.0
    quantile = NormalDist().inv_cdf
    return (1.0 - EULER_GAMMA) * quantile(1.0 - 1.0 / k) + EULER_GAMMA * quantile(
        1.0 - 1.0 / (k * e)
    )


@dataclass(frozen=True)
class Score:
    """A deterministic validation pass.

    Attributes:
        mean_reward: Per bar.
        sortino: Net, per bar: mean return over downside deviation.
        standard_error: Of ``sortino``.
    """

    mean_reward: float
    sortino: float
    standard_error: float

    @classmethod
    def of(cls, rewards: npt.NDArray[np.float64], returns: npt.NDArray[np.float64]) -> Score:
        """From one pass's rewards and net returns per bar."""
        downside = sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
        if downside == 0.0:
            never_lost = inf if returns.mean() > 0.0 else 0.0
            return cls(float(rewards.mean()), never_lost, 0.0)
        error = float(returns.std()) / (sqrt(len(returns)) * downside)
        return cls(float(rewards.mean()), float(returns.mean()) / downside, error)


FLAT = Score(0.0, 0.0, 0.0)


@dataclass
class Selection:
    """The incumbent and how many checkpoints were tried.

    Attributes:
        best: Score of the incumbent; flat's at first.
        best_frames: Frames trained when the incumbent was taken, 0 for flat.
        tried: Checkpoints offered so far.
    """

    best: Score = field(default=FLAT)
    best_frames: int = 0
    tried: int = 0

    def offer(self, score: Score, frames: int) -> bool:
        """Count a checkpoint; True if it becomes the incumbent."""
        self.tried += 1
        incumbent = self.best if self.learned else FLAT
        accepted = score.mean_reward > incumbent.mean_reward and self._clears(score)
        if accepted:
            self.best, self.best_frames = score, frames
        return accepted

    @property
    def learned(self) -> bool:
        """Whether the incumbent beats flat by more than all that were tried would by chance.

        Every further checkpoint raises the hurdle, for the incumbent too.
        """
        return self.best_frames > 0 and self._clears(self.best)

    def _clears(self, score: Score) -> bool:
        return score.sortino > expected_maximum(self.tried) * score.standard_error

    def sentence(self) -> str:
        """What was decided, for report and manifest."""
        if not self.learned:
            return (
                f"None of {self.tried} checkpoints beat flat on validation by more than the best "
                "of so many is expected to by chance: this bundle stays flat."
            )
        return (
            f"The checkpoint at {self.best_frames:,} frames was selected from {self.tried} on "
            f"validation: mean reward {self.best.mean_reward:.5f} per bar, net Sortino "
            f"{self.best.sortino:.4f} per bar against a hurdle of "
            f"{expected_maximum(self.tried) * self.best.standard_error:.4f} for chance."
        )
