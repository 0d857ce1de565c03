"""The technical eight, each defined for every market that can occur.

RSI, MACD, ATR, EMA and ADX are the textbook ones (Wilder 1978; Appel 1979) over the windows of
:mod:`mtquant.features.windows`; TA-Lib gives their exact parts and, in the tests, the same values
wherever its recursions have settled. Oscillators keep the 0 to 100 scale of a terminal's chart, so
that a rule can say RSI < 30; what is measured in price is divided by the close.
"""

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
from mtquant.features.windows import (
    ema,
    ema_bars,
    ratio,
    standard_score,
    wilder,
    wilder_bars,
)
from mtquant.market.bars import Bars, Float

Period = Annotated[int, Field(ge=2, le=500)]


@dataclass(frozen=True, config=PARAMETERS)
class Rsi(SymbolFeature):
    """Relative strength index; 50 where the price has not moved within its window.

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
class MacdHistogram(SymbolFeature):
    """MACD minus its signal line, as a fraction of the close.

    Attributes:
        fast: Bars of the fast mean.
        slow: Bars of the slow mean.
        signal: Bars of the signal line.
    """

    key: ClassVar[str] = "macd_hist"
    group: ClassVar[str] = "technical"

    fast: Period = 12
    slow: Period = 26
    signal: Period = 9

    def __post_init__(self) -> None:
        _in_order(self.fast, self.slow)

    @property
    def columns(self) -> tuple[Column, ...]:
        """``macd_hist``."""
        return (Column("macd_hist", "MACD histogram over the close"),)

    @property
    def lookback(self) -> int:
        """The signal's mean of the slow mean."""
        return ema_bars(self.slow) + ema_bars(self.signal) - 1

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """``(macd - EMA(macd)) / close`` with ``macd = EMA fast - EMA slow``."""
        macd = ema(bars.close, self.fast) - ema(bars.close, self.slow)
        return [(macd - ema(macd, self.signal)) / bars.close]


@dataclass(frozen=True, config=PARAMETERS)
class BollingerPosition(SymbolFeature):
    """Place of the close between the Bollinger bands: -1 the lower, 0 the middle, 1 the upper.

    Attributes:
        period: Bars in the window.
        width: Standard deviations (population) from the middle to a band.
    """

    key: ClassVar[str] = "bollinger_position"
    group: ClassVar[str] = "technical"

    period: Period = 20
    width: Annotated[float, Field(gt=0.0, le=10.0, allow_inf_nan=False)] = 2.0

    @property
    def columns(self) -> tuple[Column, ...]:
        """``bollinger_position``; no value of a window lies further out than the bounds."""
        bound = math.sqrt(self.period - 1) / self.width
        return (
            Column("bollinger_position", "place between the bands", -bound, bound, fitted=False),
        )

    @property
    def lookback(self) -> int:
        """The window."""
        return self.period

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """``(close - mean) / (width * deviation)``, 0 where the window is constant."""
        return [standard_score(bars.close, self.period) / self.width]


@dataclass(frozen=True, config=PARAMETERS)
class Atr(SymbolFeature):
    """Average true range as a fraction of the close.

    Attributes:
        period: Bars of Wilder's mean.
    """

    key: ClassVar[str] = "atr"
    group: ClassVar[str] = "technical"

    period: Period = 14

    @property
    def columns(self) -> tuple[Column, ...]:
        """``atr_N``."""
        return (Column(f"atr_{self.period}", "average true range over the close", low=0.0),)

    @property
    def lookback(self) -> int:
        """Wilder's mean of ranges, and the close before the first."""
        return wilder_bars(self.period) + 1

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """``ATR / close``."""
        return [average_true_range(bars, self.period) / bars.close]


@dataclass(frozen=True, config=PARAMETERS)
class EmaGap(SymbolFeature):
    """A fast exponential mean minus a slow one, as a fraction of the close.

    Attributes:
        fast: Bars of the fast mean.
        slow: Bars of the slow mean.
    """

    key: ClassVar[str] = "ema_gap"
    group: ClassVar[str] = "technical"

    fast: Period = 20
    slow: Period = 50

    def __post_init__(self) -> None:
        _in_order(self.fast, self.slow)

    @property
    def columns(self) -> tuple[Column, ...]:
        """``ema_gap_FAST_SLOW``."""
        meaning = f"EMA {self.fast} minus EMA {self.slow} over the close"
        return (Column(f"ema_gap_{self.fast}_{self.slow}", meaning),)

    @property
    def lookback(self) -> int:
        """The slow mean."""
        return ema_bars(self.slow)

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """``(EMA fast - EMA slow) / close``."""
        return [(ema(bars.close, self.fast) - ema(bars.close, self.slow)) / bars.close]


@dataclass(frozen=True, config=PARAMETERS)
class Adx(SymbolFeature):
    """Average directional index: how one-sided the ranges grow; 0 where they do not.

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
    """Place of the close within its own bar: 0 the low, 1 the high, 0.5 in a bar without range."""

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


def _in_order(fast: int, slow: int) -> None:
    if fast >= slow:
        raise ValueError(f"fast {fast} must be below slow {slow}")


def _smooth_movement(movement: Float, period: int) -> Float:
    """Wilder's mean of one-bar directional movements, whose first row means nothing."""
    movement[0] = np.nan
    return wilder(movement, period)
