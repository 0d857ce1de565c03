"""Bars by colour, and the newest cluster of similar ones: what it is, and whether it breaks.

A bar is yellow where its body is small against its range, else green or red. A run of bars of one
colour is a cluster; a yellow one is a market that makes up its mind, a coloured one a move under
way. How often a cluster is really left within some bars is counted on the training split.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.features.base import PARAMETERS, Column, Params, SymbolFeature
from mtquant.features.windows import ratio
from mtquant.jit import kernel
from mtquant.market.bars import Bars, Float

#: Shares of a cluster's bars above which it is yellow, or green or red.
YELLOW_SHARE, COLOURED_SHARE = 0.5, 0.6

#: The documents' breakout probability: a constant by type and a part that grows with strength.
SEED_YELLOW, SEED_OTHER, SEED_STRENGTH = 0.7, 0.4, 0.2

#: Confidence that a coloured cluster goes on, a multiple of its strength.
SEED_CONTINUES = 0.7

MOST_CONFIDENT = 0.95

_NONE, _YELLOW, _GREEN, _RED, _MIXED = range(5)
_TERCILES = (1 / 3, 2 / 3)


@dataclass(frozen=True, config=PARAMETERS)
class Bars3D(SymbolFeature):
    """Colour of the bar, the newest cluster of similar bars, and what the cluster points to.

    The cluster is the newest run of at least ``least`` similar bars among the last ``window``, cut
    off where the window begins; it may have ended before the newest bar. Without one its columns
    are 0. Its direction is the sign of its last close minus its first open, and so is the signal;
    that of a yellow cluster is the side on which the newest close has left its range, if any.

    The default counts on the training split how often one of the ``horizon`` closes after a
    cluster lay outside its high and low: for yellow and other clusters, by terciles of strength,
    each share pulled to that of all clusters as if by ``prior`` more of them. Only horizons that
    end inside the split count. The documents' constants (preset ``seed``) also stand in while
    nothing was learned.

    Formula:
        yellow where ``|close - open| / (high - low) < yellow_body`` or high = low
        cluster yellow where more than 0.5 of its bars are, green or red where more than 0.6 are
        strength = 1 / (1 + sd / mean) of the ranges of its bars
        breakout: (breaks + prior * base) / (clusters + prior); seed: 0.7 yellow, 0.4 other,
        + 0.2 strength; confidence: breakout if yellow, else 0.7 strength; at most 0.95
    Source:
        The seed documents; the calibration is mtquant.
    Weakness:
        Most clusters are left within ten bars, one way or the other, on a random walk too: a high
        probability is no edge. An old cluster counts like a fresh one. The confidence that a
        coloured cluster goes on measures how even its ranges are, it is no frequency.

    Attributes:
        yellow_body: Body over range below which a bar is yellow.
        window: Bars in which clusters are looked for.
        least: Bars that make a cluster.
        mixed: Whether yellow bars may stand in a run of coloured ones, so that only green beside
            red ends it and the shares decide its type; otherwise a run has one colour.
        calibrated: Whether the breakout probability is learned; otherwise it is the seed's.
        horizon: Bars within which a breakout counts.
        prior: Weight, in clusters, of the share of all clusters in that of some.
    """

    key: ClassVar[str] = "bars3d"
    group: ClassVar[str] = "bars3d"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "seed": {"yellow_body": 0.3, "window": 50, "least": 3, "calibrated": False}
    }

    yellow_body: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.3
    window: Annotated[int, Field(ge=5, le=500)] = 50
    least: Annotated[int, Field(ge=2, le=50)] = 3
    mixed: bool = False
    calibrated: bool = True
    horizon: Annotated[int, Field(ge=1, le=500)] = 3
    prior: Annotated[float, Field(gt=0.0, le=10_000.0)] = 20.0

    def __post_init__(self) -> None:
        if self.least > self.window:
            raise ValueError(f"least {self.least} must not be above window {self.window}")

    @property
    def columns(self) -> tuple[Column, ...]:
        """The bar, the cluster, and the signal."""
        return (
            Column("bar_colour", "red -1, yellow 0, green 1", -1.0, 1.0, fitted=False),
            Column("run_length", "similar bars up to this one", 1.0, self.window, fitted=False),
            Column("cluster_yellow", "1 if the newest cluster is yellow", 0.0, 1.0, fitted=False),
            Column("cluster_green", "1 if the newest cluster is green", 0.0, 1.0, fitted=False),
            Column("cluster_red", "1 if the newest cluster is red", 0.0, 1.0, fitted=False),
            Column("cluster_strength", "evenness of its ranges", 0.0, 1.0, fitted=False),
            Column("cluster_direction", "down -1, up 1 across it", -1.0, 1.0, fitted=False),
            Column("breakout_probability", "that its range is left", 0.0, 1.0, fitted=False),
            Column("bars3d_signal", "down -1, none 0, up 1", -1.0, 1.0, fitted=False),
            Column("bars3d_confidence", "of the signal", 0.0, MOST_CONFIDENT, fitted=False),
        )

    @property
    def lookback(self) -> int:
        """The window."""
        return self.window

    def learn(self, bars: Bars) -> Params:
        """Breakout shares by type and strength, counted where a cluster has its newest bar.

        Returns:
            ``limits``, two strengths between the terciles, and ``yellow`` and ``other``, a share
            for each; nothing where not calibrated, or where the bars hold no whole case.
        """
        if not self.calibrated:
            return {}
        found = self._clusters(bars, colours(bars, self.yellow_body))
        kind, strength, age = found[:, 1], found[:, 2], found[:, 4]
        ends = np.flatnonzero((kind != _NONE) & (age == 0.0))
        ends = ends[ends < len(bars) - self.horizon]
        if ends.size == 0:
            return {}
        broken = leaves(bars.close, ends, found[ends, 5], found[ends, 6], self.horizon)
        limits = np.quantile(strength[ends], _TERCILES)
        tercile = np.searchsorted(limits, strength[ends], side="right")
        base = broken.mean()
        shares = [
            [
                float((broken[cell].sum() + self.prior * base) / (cell.sum() + self.prior))
                for cell in (of_kind & (tercile == k) for k in range(3))
            ]
            for of_kind in (kind[ends] == _YELLOW, kind[ends] != _YELLOW)
        ]
        return {"limits": limits.tolist(), "yellow": shares[0], "other": shares[1]}

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """The columns; with nothing learned the breakout probability is the seed's."""
        colour = colours(bars, self.yellow_body)
        found = self._clusters(bars, colour)
        run, kind, strength, direction, _, top, bottom = found.T
        yellow = kind == _YELLOW
        breakout = _breakout(yellow, strength, params if self.calibrated else {})
        breakout = np.where(kind == _NONE, 0.0, breakout)
        left = 1.0 * (bars.close > top) - (bars.close < bottom)
        signal = np.where(yellow, left, direction)
        confidence = np.where(yellow, breakout, SEED_CONTINUES * strength)
        confidence = np.where(signal == 0.0, 0.0, np.minimum(confidence, MOST_CONFIDENT))
        flags = [(kind == k).astype(np.float64) for k in (_YELLOW, _GREEN, _RED)]
        columns = [colour, run, *flags, strength, direction, breakout, signal, confidence]
        unknown = np.isnan(run)
        return [np.where(unknown, np.nan, column) for column in columns]

    def _clusters(self, bars: Bars, colour: Float) -> Float:
        step = 1.0 if self.mixed else 0.0
        return newest_clusters(
            bars.open, bars.high, bars.low, bars.close, colour, step, self.window, self.least
        )


def colours(bars: Bars, yellow_body: float = 0.3) -> Float:
    """Colour of each bar: -1 red, 0 yellow, 1 green, ``[T]``."""
    body = bars.close - bars.open
    share = ratio(np.abs(body), bars.high - bars.low, empty=0.0)
    return np.where(share < yellow_body, 0.0, np.sign(body))


def _breakout(yellow: np.ndarray, strength: Float, learned: Params) -> Float:
    """Probability for each row that the cluster's range is left."""
    if not learned:
        return np.where(yellow, SEED_YELLOW, SEED_OTHER) + SEED_STRENGTH * strength
    tercile = np.searchsorted(learned["limits"], strength, side="right")
    shares = np.array([learned["other"], learned["yellow"]])
    result: Float = shares[yellow.astype(np.int64), tercile]
    return result


@kernel(allocates=True)
def newest_clusters(
    opened: Float,
    high: Float,
    low: Float,
    close: Float,
    colour: Float,
    step: float,
    window: int,
    least: int,
) -> Float:
    """The newest cluster in the trailing window of each row.

    Args:
        opened: Prices, ``[T]``.
        high: As ``opened``.
        low: As ``opened``.
        close: As ``opened``.
        colour: From :func:`colours`.
        step: Largest difference of neighbouring colours within a run.
        window: Bars of the window.
        least: Bars that make a cluster.

    Returns:
        ``[T, 7]``: length of the run that ends at the row; then the cluster's kind (0 for none),
        strength, direction, bars since its last, high and low. NaN before the first full window.
    """
    result = np.full((close.size, 7), np.nan)
    for row in range(window - 1, close.size):
        result[row] = 0.0
        oldest = row - window + 1
        last = row
        while last >= oldest:
            first = last
            while first > oldest and abs(colour[first - 1] - colour[first]) <= step:
                first -= 1
            if last == row:
                result[row, 0] = last - first + 1
            if last - first + 1 >= least:
                _describe(result, row, opened, high, low, close, colour, first, last)
                break
            last = first - 1
    return result


@kernel
def _describe(
    result: Float,
    row: int,
    opened: Float,
    high: Float,
    low: Float,
    close: Float,
    colour: Float,
    first: int,
    last: int,
) -> None:
    size = last - first + 1
    mean = square = 0.0
    green = red = 0
    top, bottom = high[first], low[first]
    for i in range(first, last + 1):
        mean += high[i] - low[i]
        green += colour[i] > 0.0
        red += colour[i] < 0.0
        top, bottom = max(top, high[i]), min(bottom, low[i])
    mean /= size
    for i in range(first, last + 1):
        square += (high[i] - low[i] - mean) ** 2
    kind = _MIXED
    if size - green - red > YELLOW_SHARE * size:
        kind = _YELLOW
    elif green > COLOURED_SHARE * size:
        kind = _GREEN
    elif red > COLOURED_SHARE * size:
        kind = _RED
    result[row, 1] = kind
    result[row, 2] = 1.0 / (1.0 + math.sqrt(square / size) / mean) if mean > 0.0 else 1.0
    result[row, 3] = np.sign(close[last] - opened[first])
    result[row, 4] = row - last
    result[row, 5], result[row, 6] = top, bottom


@kernel(allocates=True)
def leaves(close: Float, ends: np.ndarray, top: Float, bottom: Float, horizon: int) -> Float:
    """1 for each end whose next ``horizon`` closes hold one outside its top and bottom, else 0."""
    result = np.zeros(ends.size)
    for k in range(ends.size):
        for i in range(ends[k] + 1, ends[k] + horizon + 1):
            if close[i] > top[k] or close[i] < bottom[k]:
                result[k] = 1.0
                break
    return result
