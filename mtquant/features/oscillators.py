"""Numbers between fixed ends: RSI, ADX, stochastic %K and internal bar strength.

Oscillators keep the 0 to 100 scale of a terminal's chart, so that a rule can say RSI < 30. Where a
window holds nothing to compare they stand in the middle (ADX: at 0), never at an end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
import talib
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.features.base import PARAMETERS, Column, Params, SymbolFeature
from mtquant.features.windows import ratio, wilder, wilder_bars
from mtquant.market.bars import Bars, Float

Period = Annotated[int, Field(ge=2, le=500)]


@dataclass(frozen=True, config=PARAMETERS)
class Rsi(SymbolFeature):
    """Relative strength index; 50 where the price has not moved within its window.

    Formula:
        100 * up / (up + down)
        up, down = Wilder's means of the rises and of the falls of the close
    Source:
        Wilder (1978), New Concepts in Technical Trading Systems.
    Weakness:
        In a trend it stays beyond 70 or 30 for as long as the trend lasts, so "overbought" is not
        a turn. It sees direction and not size: a quiet drift and a crash can give the same value.

    Attributes:
        period: Bars of Wilder's mean.
    """

    key: ClassVar[str] = "rsi"
    group: ClassVar[str] = "technical"

    period: Period = 14

    @property
    def columns(self) -> tuple[Column, ...]:
        """``rsi_N``."""
        return (
            Column(f"rsi_{self.period}", "share of rises in the moves", 0.0, 100.0, fitted=False),
        )

    @property
    def lookback(self) -> int:
        """Wilder's mean of changes."""
        return wilder_bars(self.period) + 1

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """``100 * up / (up + down)``, means of the rises and of the falls of the close."""
        change = np.diff(bars.close, prepend=np.nan)
        up = wilder(np.maximum(change, 0.0), self.period)
        down = wilder(np.maximum(-change, 0.0), self.period)
        return [100.0 * ratio(up, up + down, empty=0.5)]


@dataclass(frozen=True, config=PARAMETERS)
class Adx(SymbolFeature):
    """Average directional index: how one-sided the ranges grow; 0 where they do not.

    Formula:
        Wilder's mean of 100 * |plus - minus| / (plus + minus)
        plus, minus = Wilder's means of the growth of the high and of the low beyond the last bar's,
        of which each bar counts only the larger
    Source:
        Wilder (1978), New Concepts in Technical Trading Systems. The true range cancels out.
    Weakness:
        Late twice over, a mean of a mean: a trend is often old when it passes 25. It does not tell
        up from down, and a random walk spends much of its time between 10 and 30.

    Attributes:
        period: Bars of Wilder's means, the directional one and the average of the index.
    """

    key: ClassVar[str] = "adx"
    group: ClassVar[str] = "technical"

    period: Period = 14

    @property
    def columns(self) -> tuple[Column, ...]:
        """``adx_N``."""
        return (Column(f"adx_{self.period}", "strength of the trend", 0.0, 100.0, fitted=False),)

    @property
    def lookback(self) -> int:
        """Wilder's mean of his mean of changes."""
        return 2 * wilder_bars(self.period)

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """Mean of ``100 * |plus - minus| / (plus + minus)``; the true range cancels out of it."""
        plus = _smooth_movement(talib.PLUS_DM(bars.high, bars.low, timeperiod=1), self.period)
        minus = _smooth_movement(talib.MINUS_DM(bars.high, bars.low, timeperiod=1), self.period)
        index = 100.0 * ratio(np.abs(plus - minus), plus + minus, empty=0.0)
        return [np.minimum(wilder(index, self.period), 100.0)]


@dataclass(frozen=True, config=PARAMETERS)
class StochasticK(SymbolFeature):
    """Place of the close within the channel of the last bars; 50 in a channel without width.

    Formula:
        100 * (close - lowest low) / (highest high - lowest low)
    Source:
        Lane (1984), Lane's Stochastics; the raw %K, without the slowing.
    Weakness:
        One bar with a long shadow sets an end of the channel until it leaves the window, and the
        value then jumps although the price did not. In a trend it sticks to one end.

    Attributes:
        period: Bars of the channel, the newest included. No slowing: this is the raw %K.
    """

    key: ClassVar[str] = "stoch_k"
    group: ClassVar[str] = "technical"

    period: Period = 14

    @property
    def columns(self) -> tuple[Column, ...]:
        """``stoch_k_N``."""
        meaning = f"place in the channel of {self.period} bars"
        return (Column(f"stoch_k_{self.period}", meaning, 0.0, 100.0, fitted=False),)

    @property
    def lookback(self) -> int:
        """The channel."""
        return self.period

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """``100 * (close - lowest low) / (highest high - lowest low)``."""
        lowest = talib.MIN(bars.low, timeperiod=self.period)
        width = talib.MAX(bars.high, timeperiod=self.period) - lowest
        return [100.0 * ratio(bars.close - lowest, width, empty=0.5)]


@dataclass(frozen=True, config=PARAMETERS)
class InternalBarStrength(SymbolFeature):
    """Place of the close within its own bar: 0 the low, 1 the high, 0.5 in a bar without range.

    Formula:
        (close - low) / (high - low)
    Source:
        Traders' lore; studied by Pagonidis (2014), The IBS Effect: Mean Reversion in Equity ETFs.
    Weakness:
        The reversal that it is known for was found in daily bars of stock indices; nothing says
        that it holds in currencies or inside a day. In short bars it is mostly bid-ask bounce.
    """

    key: ClassVar[str] = "ibs"
    group: ClassVar[str] = "technical"

    @property
    def columns(self) -> tuple[Column, ...]:
        """``ibs``."""
        return (Column("ibs", "place of the close within its bar", 0.0, 1.0, fitted=False),)

    @property
    def lookback(self) -> int:
        """The bar itself."""
        return 1

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """``(close - low) / (high - low)``."""
        return [ratio(bars.close - bars.low, bars.high - bars.low, empty=0.5)]


def _smooth_movement(movement: Float, period: int) -> Float:
    """Wilder's mean of one-bar directional movements, whose first row means nothing."""
    movement[0] = np.nan
    return wilder(movement, period)
