"""How much is traded, against what was traded just before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.features.base import PARAMETERS, Column, Params, SymbolFeature
from mtquant.jit import kernel
from mtquant.market.bars import Bars, Float


@dataclass(frozen=True, config=PARAMETERS)
class VolumeScore(SymbolFeature):
    """Standard score of the log volume among the recorded ones of a trailing window.

    A volume of 0 is *not recorded*: it scores 0 and never enters mean or deviation.

    Formula:
        (ln volume - mean) / deviation  over the recorded log volumes of the last ``period`` bars;
        population deviation; 0 where it is 0 or the newest volume is not recorded
    Source:
        mtquant; a standard score, of logs because volumes are skewed.
    Weakness:
        The day's rhythm is in it: each session's open scores high, every day. Volumes of a
        broker's bars are mostly counts of its price changes and not traded amounts.

    Attributes:
        period: Bars in the window, the newest included.
    """

    key: ClassVar[str] = "volume_score"
    group: ClassVar[str] = "volume"

    period: Annotated[int, Field(ge=2, le=1500)] = 20

    @property
    def columns(self) -> tuple[Column, ...]:
        """``volume_score_N``; no value of a window lies further out than the bounds."""
        bound = math.sqrt(self.period - 1)
        meaning = f"log volume among {self.period}, in deviations"
        return (Column(f"volume_score_{self.period}", meaning, -bound, bound),)

    @property
    def lookback(self) -> int:
        """The window."""
        return self.period

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """``(ln volume - mean) / deviation``, 0 where the volume was not recorded."""
        recorded = np.where(bars.volume > 0.0, bars.volume, np.nan)
        return [_recorded_score(np.log(recorded), self.period)]


@kernel(allocates=True)
def _recorded_score(values: Float, period: int) -> Float:
    """As :func:`mtquant.features.windows.standard_score`, among values that are not NaN, ``[T]``.

    0 where the newest value is NaN or the window holds one value only.
    """
    result = np.full(values.size, np.nan)
    for row in range(period - 1, values.size):
        result[row] = 0.0
        newest = values[row]
        if np.isnan(newest):
            continue
        count, mean, square = 0, 0.0, 0.0
        for i in range(row - period + 1, row + 1):
            if not np.isnan(values[i]):
                count += 1
                mean += values[i] - newest
        mean /= count
        for i in range(row - period + 1, row + 1):
            if not np.isnan(values[i]):
                deviation = values[i] - newest - mean
                square += deviation * deviation
        if square > 0.0:
            bound = math.sqrt(count - 1.0)
            result[row] = min(max(-mean / math.sqrt(square / count), -bound), bound)
    return result
