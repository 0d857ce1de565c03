"""What is lost out of sample when a column is left out: ridge regression, fitted on the past only.

A column that goes with later moves may still bring nothing that the others do not. So a ridge
regression on all columns is fitted to the first part, and again without the column in question; the
loss is the share of the later part's variance that it no longer explains, with the interval of
Diebold and Mariano (1995) on the difference of squared errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtquant.market.bars import Float
from mtquant.research.association import correlation, scores
from mtquant.research.intervals import Estimates

#: Ridge penalties that the first part chooses among, in units of a column's variance.
PENALTIES = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)

#: Share of the first part on which the penalties are tried.
TRIED_ON = 0.25

#: Targets are cut this many standard deviations from 0, as observations are.
CLIP = 5.0


@dataclass(frozen=True, eq=False)
class Ablation:
    """Ridge regressions of one target, with all columns and without some.

    Attributes:
        r2: Share of the later part's variance that all columns explain; below 0 if they mislead.
        ic: Spearman's correlation of that forecast with the target.
        loss: How much of ``r2`` is lost without the columns left out, one entry per choice.
    """

    r2: Estimates
    ic: Estimates
    loss: Estimates


@dataclass(frozen=True, eq=False)
class _Moments:
    """What ridge needs of some rows: means, and products of centred columns and target."""

    centre: Float
    level: float
    square: Float
    product: Float

    @classmethod
    def of(cls, columns: Float, target: Float) -> _Moments:
        centre, level = columns.mean(axis=0), float(target.mean())
        centred = columns - centre
        square, product = centred.T @ centred, centred.T @ (target - level)
        return cls(centre, level, square / len(target), product / len(target))

    def coefficients(self, penalty: float, left_out: Sequence[int] = ()) -> Float:
        """One weight per column, 0 for those that are left out."""
        kept = np.setdiff1d(np.arange(len(self.centre)), left_out)
        square = self.square[np.ix_(kept, kept)] + penalty * np.eye(kept.size)
        weights = np.zeros(len(self.centre))
        weights[kept] = np.linalg.solve(square, self.product[kept])
        return weights


def ablate(
    columns: Float,
    target: Float,
    split: int,
    embargo: int,
    left_out: Sequence[Sequence[int]],
    block: int,
) -> Ablation:
    """Fit on the first rows, judge on the later ones.

    Args:
        columns: Scaled by what the first part taught, ``[n, k]``.
        target: ``[n]``.
        split: Rows of the first part.
        embargo: Rows after it that are in neither part, no fewer than the target spans.
        left_out: Choices of columns to leave out.
        block: Rows up to which rows depend on each other.
    """
    width = float(np.sqrt(np.mean(target[:split] ** 2)))
    cut = np.clip(target / width if width > 0.0 else target, -CLIP, CLIP)
    penalty = _choose_penalty(columns[:split], cut[:split], embargo)
    known = _Moments.of(columns[:split], cut[:split])
    weights = [known.coefficients(penalty, choice) for choice in ((), *left_out)]
    later = slice(split + embargo, None)
    actual = cut[later] - known.level
    forecast = (columns[later] - known.centre) @ np.stack(weights, axis=1)
    squares = (actual[:, None] - forecast) ** 2
    ranked = scores(target[later])[:, None]
    return Ablation(
        _share(actual**2, actual**2 - squares[:, 0], block),
        correlation(scores(forecast[:, 0]), ranked, block)[0],
        _share(actual**2, squares[:, 1:] - squares[:, :1], block),
    )


def _choose_penalty(columns: Float, target: Float, embargo: int) -> float:
    """The penalty whose fit to the first rows forecasts the last of them best."""
    first = int(len(target) * (1.0 - TRIED_ON))
    known = _Moments.of(columns[: first - embargo], target[: first - embargo])
    weights = np.stack([known.coefficients(penalty) for penalty in PENALTIES], axis=1)
    forecast = known.level + (columns[first:] - known.centre) @ weights
    return PENALTIES[int(np.argmin(np.sum((target[first:, None] - forecast) ** 2, axis=0)))]


def _share(total: Float, part: Float, block: int) -> Estimates:
    """The mean of ``part`` as a share of that of ``total``, per column of ``part``."""
    level = float(total.mean())
    if level == 0.0:
        part, level = np.zeros_like(part), 1.0
    share = part.mean(axis=0) / level
    rows = total if part.ndim == 1 else total[:, None]
    return Estimates.of(share, (part - share * rows) / level, block)
