"""Bands and channels: how wide the Bollinger bands are, and how far the channel's ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
import talib
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.features.base import PARAMETERS, Column, Params, SymbolFeature
from mtquant.features.returns import average_true_range
from mtquant.features.windows import ratio, wilder_bars
from mtquant.jit import kernel
from mtquant.market.bars import Bars, Float

Period = Annotated[int, Field(ge=2, le=500)]


@dataclass(frozen=True, config=PARAMETERS)
class BollingerWidth(SymbolFeature):
    """Distance between the Bollinger bands as a fraction of the middle.

    Formula:
        2 * width * deviation / mean  of the last ``period`` closes; population deviation
    Source:
        Bollinger (2001), Bollinger on Bollinger Bands (BandWidth).
    Weakness:
        A trend widens the bands as much as volatility does: it cannot tell the two apart. That a
        narrow band ("squeeze") is followed by a move says nothing of the direction.

    Attributes:
        period: Bars in the window.
        width: Standard deviations from the middle to a band.
    """

    key: ClassVar[str] = "bollinger_width"
    group: ClassVar[str] = "ranges"

    period: Period = 20
    width: Annotated[float, Field(gt=0.0, le=10.0, allow_inf_nan=False)] = 2.0

    @property
    def columns(self) -> tuple[Column, ...]:
        """``bollinger_width``; positive prices deviate by ``sqrt(period - 1)`` means at most."""
        bound = 2.0 * self.width * math.sqrt(self.period - 1)
        return (Column("bollinger_width", "width of the bands over their middle", 0.0, bound),)

    @property
    def lookback(self) -> int:
        """The window."""
        return self.period

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """``(upper - lower) / middle``, 0 where the window is constant."""
        return [2.0 * self.width * _relative_deviation(bars.close, self.period)]


@dataclass(frozen=True, config=PARAMETERS)
class ChannelDistance(SymbolFeature):
    """How many average true ranges the close stands below the channel's high and above its low.

    The channel includes the newest bar, so both are 0 or more and one is 0 only at a new extreme
    that is also the close. A calm after a storm would let the quotients grow without limit: they
    are cut at one range for each bar of the channel.

    Formula:
        channel_high = (highest high - close) / ATR,  channel_low = (close - lowest low) / ATR
        within [0, period]; 0 where ATR = 0
    Source:
        Donchian's channel (1960); the units are mtquant's.
    Weakness:
        Old extremes leave the window without any trade, and the distance then jumps. Breakouts of a
        20-bar channel are mostly false in a market without trend.

    Attributes:
        period: Bars of the channel, the newest included.
        atr_period: Bars of the average true range.
    """

    key: ClassVar[str] = "channel"
    group: ClassVar[str] = "location"

    period: Period = 20
    atr_period: Period = 14

    @property
    def columns(self) -> tuple[Column, ...]:
        """``channel_high`` and ``channel_low``."""
        unit = f"in ATR {self.atr_period}"
        return (
            Column(
                "channel_high", f"high of {self.period} bars minus close, {unit}", 0.0, self.period
            ),
            Column(
                "channel_low", f"close minus low of {self.period} bars, {unit}", 0.0, self.period
            ),
        )

    @property
    def lookback(self) -> int:
        """The channel, or the range's mean and the close before it."""
        return max(self.period, wilder_bars(self.atr_period) + 1)

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """``(high - close) / ATR`` and ``(close - low) / ATR``, 0 in a market without any range."""
        atr = average_true_range(bars, self.atr_period)
        above = talib.MAX(bars.high, timeperiod=self.period) - bars.close
        below = bars.close - talib.MIN(bars.low, timeperiod=self.period)
        return [np.clip(ratio(gap, atr, empty=0.0), 0.0, self.period) for gap in (above, below)]


@kernel(allocates=True)
def _relative_deviation(values: Float, period: int) -> Float:
    """Standard deviation over the mean of the last ``period`` positive values, ``[T]``.

    Deviations are taken from the newest value first: a constant window gives exactly 0.
    """
    result = np.full(values.size, np.nan)
    bound = math.sqrt(period - 1.0)
    for row in range(period - 1, values.size):
        mean = 0.0
        for i in range(row - period + 1, row + 1):
            mean += values[i] - values[row]
        mean /= period
        square = 0.0
        for i in range(row - period + 1, row + 1):
            deviation = values[i] - values[row] - mean
            square += deviation * deviation
        result[row] = min(math.sqrt(square / period) / (values[row] + mean), bound)
    return result
