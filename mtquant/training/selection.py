r"""Which checkpoint becomes the bundle: flat is always a candidate.

The best of k noisy checkpoints always looks good. So a checkpoint replaces the incumbent only if
its mean validation reward is higher *and* its net Sortino ratio exceeds what the best of all that
were tried would reach on noise in 19 of 20 trainings (White 2000, A Reality Check for Data
Snooping).

What that is follows from the passes themselves. With :math:`u_{jt}` the centred net return of
checkpoint j on bar t over its downside deviation, chance alone draws the k ratios from a normal law
with covariance :math:`C_{jl} = T^{-2} \sum_t u_{jt} u_{lt}`, and the hurdle is the 95 % quantile of
their largest. Checkpoints that do nearly the same hardly raise it; independent ones do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

CHANCE = 0.05  # of learning something from noise
DRAWS = 20_000
NOTHING = np.zeros(0, np.float32)


def highest_by_chance(covariance: Float) -> float:
    """What the largest of normal draws with mean 0 exceeds with probability :data:`CHANCE`.

    Args:
        covariance: ``[k, k]``.
    """
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    drawn = np.random.default_rng(0).standard_normal((DRAWS, len(covariance)))
    return float(np.quantile((drawn @ root.T).max(axis=1), 1.0 - CHANCE))


@dataclass(frozen=True, eq=False)
class Score:
    """A deterministic validation pass.

    Attributes:
        mean_reward: Per bar.
        sortino: Net, per bar: mean return over the downside deviation about that mean, which is
            what the deviation would be if the mean were luck.
        shocks: Centred returns over that deviation, float32 ``[T]``; empty if nothing moved.
    """

    mean_reward: float
    sortino: float
    shocks: Float32

    @classmethod
    def of(cls, rewards: Float, returns: Float) -> Score:
        """From one pass's rewards and net returns per bar."""
        mean = float(returns.mean())
        centred = returns - mean
        downside = sqrt(float(np.mean(np.minimum(centred, 0.0) ** 2)))
        if downside == 0.0:
            return cls(float(rewards.mean()), inf if mean > 0.0 else 0.0, NOTHING)
        shocks = (centred / downside).astype(np.float32)
        return cls(float(rewards.mean()), mean / downside, shocks)


FLAT = Score(0.0, 0.0, NOTHING)


@dataclass
class Selection:
    """The incumbent, and what the checkpoints tried so far could reach by chance.

    Attributes:
        best: Score of the incumbent; flat's at first.
        best_frames: Frames trained when the incumbent was taken, 0 for flat.
        tried: Shocks of each checkpoint offered so far.
    """

    best: Score = field(default=FLAT)
    best_frames: int = 0
    tried: list[Float32] = field(default_factory=list)

    def offer(self, score: Score, frames: int) -> bool:
        """Count a checkpoint; True if it becomes the incumbent."""
        self.tried.append(score.shocks)
        self.__dict__.pop("hurdle", None)
        incumbent = self.best if self.learned else FLAT
        accepted = score.mean_reward > incumbent.mean_reward and score.sortino > self.hurdle
        if accepted:
            self.best, self.best_frames = score, frames
        return accepted

    @cached_property
    def hurdle(self) -> float:
        """Net Sortino ratio per bar that the best of those tried exceeds by chance, 1 in 20."""
        moved = [shocks for shocks in self.tried if shocks.size and np.isfinite(shocks).all()]
        if not moved:
            return 0.0
        passes = np.stack(moved).astype(np.float64)
        return highest_by_chance(passes @ passes.T / passes.shape[1] ** 2)

    @property
    def learned(self) -> bool:
        """Whether the incumbent beats flat by more than all that were tried would by chance.

        Every further checkpoint raises the hurdle, for the incumbent too.
        """
        return self.best_frames > 0 and self.best.sortino > self.hurdle

    def to_dict(self) -> dict[str, Any]:
        """JSON values of the incumbent; :attr:`tried` goes beside them."""
        best = {"mean_reward": self.best.mean_reward, "sortino": self.best.sortino}
        return {"best": best, "best_frames": self.best_frames}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], tried: list[Float32]) -> Selection:
        """From :meth:`to_dict`'s values; raises KeyError or TypeError."""
        return cls(Score(**data["best"], shocks=NOTHING), int(data["best_frames"]), tried)

    def sentence(self) -> str:
        """What was decided, for report and manifest."""
        count = len(self.tried)
        if not self.learned:
            return (
                f"None of {count} checkpoints beat flat on validation by more than the best of so "
                "many would by chance in 19 of 20 trainings: this bundle stays flat."
            )
        return (
            f"The checkpoint at {self.best_frames:,} frames was selected from {count} on "
            f"validation: mean reward {self.best.mean_reward:.5f} per bar, net Sortino "
            f"{self.best.sortino:.4f} per bar against a hurdle of {self.hurdle:.4f} that chance "
            "clears in 1 of 20 trainings."
        )
