"""How much the price moves: realised volatility, its regime, and a signal that leans on both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.features.base import PARAMETERS, Column, Params, SymbolFeature
from mtquant.features.ranges import mean
from mtquant.features.returns import average_true_range, log_return
from mtquant.features.windows import ratio, root_mean_square, standard_score, wilder_bars
from mtquant.market.bars import Bars, Float

Period = Annotated[int, Field(ge=2, le=2000)]
ShortPeriod = Annotated[int, Field(ge=2, le=500)]
Multiple = Annotated[float, Field(gt=0.0, le=20.0)]

#: The analyser's confidence: a constant, a part by the position, its damping in HIGH, its cap.
CONFIDENCE, BY_POSITION, DAMPED, MOST_CONFIDENT = 0.6, 0.2, 0.8, 0.95


@dataclass(frozen=True, config=PARAMETERS)
class RealisedVolatility(SymbolFeature):
    """Root mean square of one-bar log returns, per bar and not annualised.

    The mean is not removed: over a few dozen bars it is noise, and without it the ratio of two
    windows has a bound.

    Formula:
        sqrt(mean(r^2)),  r = ln(close / last close), over ``short`` and over ``long`` bars;
        volatility_ratio = short / long, 1 where nothing moved
    Source:
        Standard; on squared returns as volatility Andersen and Bollerslev (1998), Answering the
        Skeptics.
    Weakness:
        It needs many bars: over 20 of them its standard error is a sixth of itself. One jump fills
        the window and leaves it again as suddenly. The day's rhythm of volatility is in it.

    Attributes:
        short: Bars of the short window.
        long: Bars of the long window.
    """

    key: ClassVar[str] = "realised_volatility"
    group: ClassVar[str] = "volatility"

    short: Period = 20
    long: Period = 100

    def __post_init__(self) -> None:
        if self.short >= self.long:
            raise ValueError(f"short {self.short} must be below long {self.long}")

    @property
    def columns(self) -> tuple[Column, ...]:
        """Both volatilities and ``volatility_ratio``."""
        return (
            Column(f"volatility_{self.short}", f"volatility of {self.short} returns", low=0.0),
            Column(f"volatility_{self.long}", f"volatility of {self.long} returns", low=0.0),
            Column("volatility_ratio", "short over long volatility", 0.0, self._bound),
        )

    @property
    def _bound(self) -> float:
        return math.sqrt(self.long / self.short)

    @property
    def lookback(self) -> int:
        """The long window and the close before it."""
        return self.long + 1

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """``sqrt(mean(r ** 2))`` twice, and their quotient, 1 where nothing moved."""
        returns = log_return(bars.close, 1)
        short = root_mean_square(returns, self.short)
        long = root_mean_square(returns, self.long)
        return [short, long, np.minimum(ratio(short, long, empty=1.0), self._bound)]


@dataclass(frozen=True, config=PARAMETERS)
class AtrRegime(SymbolFeature):
    """The average true range against its own mean, and the level LOW, NORMAL or HIGH.

    Formula:
        atr_ratio = ATR / mean of the last ``mean_period`` ATR, 1 where nothing moved
        atr_level = 1 (HIGH) above ``high``, 0 (LOW) below ``low``, 0.5 (NORMAL) between
    Source:
        The seed documents.
    Weakness:
        The average is compared with a mean that follows it within days: a lasting change is HIGH or
        LOW only while it is new, and a market may stay wild at NORMAL. LOW is rare, as an ATR of
        14 bars seldom falls to half its mean of 50.

    Attributes:
        period: Bars of the average true range.
        mean_period: Averages in the mean, the newest included.
        high: HIGH is above this ratio.
        low: LOW is below this ratio.
    """

    key: ClassVar[str] = "atr_regime"
    group: ClassVar[str] = "regime"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "seed": {"period": 14, "mean_period": 50, "high": 1.5, "low": 0.5}
    }

    period: ShortPeriod = 14
    mean_period: ShortPeriod = 50
    high: Multiple = 1.5
    low: Multiple = 0.5

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")

    @property
    def columns(self) -> tuple[Column, ...]:
        """``atr_ratio`` and ``atr_level``."""
        meaning = f"ATR {self.period} over its mean of {self.mean_period}"
        return (
            Column("atr_ratio", meaning, 0.0, self.mean_period),
            Column("atr_level", "LOW 0, NORMAL 0.5, HIGH 1", 0.0, 1.0, fitted=False),
        )

    @property
    def lookback(self) -> int:
        """Wilder's mean of ranges, the close before the first, and the mean of means."""
        return wilder_bars(self.period) + self.mean_period

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """The quotient, and where it stands against the thresholds."""
        compared = atr_ratio(bars, self.period, self.mean_period)
        return [compared, 0.5 + 0.5 * (compared > self.high) - 0.5 * (compared < self.low)]


@dataclass(frozen=True, config=PARAMETERS)
class VolatilityAnalyser(SymbolFeature):
    """Mean reversion at the Bollinger bands: sell near the upper one, buy near the lower one.

    In a HIGH market (ATR far above its own mean) the signal stands and its confidence shrinks.

    Formula:
        position = (close - mean) / (width * deviation)
        signal = -1 if position > threshold, 1 if position < -threshold, else 0
        confidence = min(0.95, (0.6 + 0.2 |position|) * (0.8 in HIGH, else 1)), 0 without a signal
        HIGH: ATR above ``high`` times its mean of ``mean_period``
    Source:
        The seed documents.
    Weakness:
        A trend walks along a band, and each of its bars is a signal against it. The confidence is
        the documents' formula and no frequency: on a random walk the signal is right half the time.

    Attributes:
        period: Bars of the Bollinger window.
        width: Standard deviations from the middle to a band.
        threshold: Position beyond which there is a signal.
        atr_period: Bars of the average true range.
        mean_period: Averages in its mean, the newest included.
        high: HIGH is above this ratio.
    """

    key: ClassVar[str] = "volatility_signal"
    group: ClassVar[str] = "signals"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "seed": {
            "period": 20,
            "width": 2.0,
            "threshold": 0.8,
            "atr_period": 14,
            "mean_period": 50,
            "high": 1.5,
        }
    }

    period: ShortPeriod = 20
    width: Annotated[float, Field(gt=0.0, le=10.0)] = 2.0
    threshold: Annotated[float, Field(gt=0.0, le=10.0)] = 0.8
    atr_period: ShortPeriod = 14
    mean_period: ShortPeriod = 50
    high: Multiple = 1.5

    @property
    def columns(self) -> tuple[Column, ...]:
        """``volatility_signal`` and ``volatility_confidence``."""
        return (
            Column("volatility_signal", "sell -1, none 0, buy 1", -1.0, 1.0, fitted=False),
            Column("volatility_confidence", "of the signal", 0.0, MOST_CONFIDENT, fitted=False),
        )

    @property
    def lookback(self) -> int:
        """The Bollinger window, or the range's mean of means."""
        return max(self.period, wilder_bars(self.atr_period) + self.mean_period)

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """Signal and confidence."""
        position = standard_score(bars.close, self.period) / self.width
        wild = atr_ratio(bars, self.atr_period, self.mean_period) > self.high
        signal = 1.0 * (position < -self.threshold) - 1.0 * (position > self.threshold)
        confidence = (CONFIDENCE + BY_POSITION * np.abs(position)) * np.where(wild, DAMPED, 1.0)
        return [signal, np.where(signal != 0.0, np.minimum(confidence, MOST_CONFIDENT), 0.0)]


def atr_ratio(bars: Bars, period: int, mean_period: int) -> Float:
    """The average true range over the mean of its last values, 1 where nothing moved, ``[T]``."""
    atr = average_true_range(bars, period)
    quotient = ratio(atr, mean(atr, mean_period), empty=1.0)
    return np.minimum(quotient, mean_period)
