"""Where the price has come from: log returns, and its distance from its own exponential means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
import talib
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.features.base import PARAMETERS, Column, Params, SymbolFeature
from mtquant.features.windows import ema, ema_bars, ratio, wilder, wilder_bars
from mtquant.market.bars import Bars, Float

Horizon = Annotated[int, Field(ge=1, le=1000)]
Period = Annotated[int, Field(ge=2, le=500)]


@dataclass(frozen=True, config=PARAMETERS)
class Returns(SymbolFeature):
    """Log return of the close over several horizons, not divided by their square root.

    A rule reads the plain return; an agent that wants equal widths gets them from the scaler.

    Formula:
        ln(close[t] / close[t - h])  for each horizon h
    Source:
        Standard; the link to momentum: Moskowitz, Ooi and Pedersen (2012), Time Series Momentum.
    Weakness:
        Past returns say next to nothing of the next one within a day; momentum was measured over
        months. Horizons overlap, so the columns share bars. A gap counts like a traded move.

    Attributes:
        horizons: Bars between the two closes, one column each.
    """

    key: ClassVar[str] = "returns"
    group: ClassVar[str] = "returns"

    horizons: Annotated[tuple[Horizon, ...], Field(min_length=1)] = (1, 5, 20, 60)

    @property
    def columns(self) -> tuple[Column, ...]:
        """``ret_H`` for each horizon H."""
        return tuple(Column(f"ret_{h}", f"log return over {h} bars") for h in self.horizons)

    @property
    def lookback(self) -> int:
        """The longest horizon and the bar it ends on."""
        return max(self.horizons) + 1

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """``ln(close[t] / close[t - h])``."""
        return [log_return(bars.close, horizon) for horizon in self.horizons]


@dataclass(frozen=True, config=PARAMETERS)
class EmaDistance(SymbolFeature):
    """How many average true ranges the close stands above its exponential means.

    A flat market after a trend would let the ratio grow without limit, so each column is cut at the
    distance which a straight line of one range a bar keeps from its mean, ``(period - 1) / 2``.

    Formula:
        (close - EMA(close, n)) / ATR  within (n - 1) / 2 either side, 0 where ATR = 0
    Source:
        mtquant, after Keltner's channels (1960) in ATR units.
    Weakness:
        The ATR has a memory of its own: the first hours after a burst look close to the mean, those
        after a lull far from it. The columns of two periods are alike.

    Attributes:
        periods: Bars of the means, one column each.
        atr_period: Bars of the average true range.
    """

    key: ClassVar[str] = "ema_distance"
    group: ClassVar[str] = "trend"

    periods: Annotated[tuple[Period, ...], Field(min_length=1)] = (20, 50)
    atr_period: Period = 14

    @property
    def columns(self) -> tuple[Column, ...]:
        """``ema_distance_N`` for each period N."""
        return tuple(
            Column(
                f"ema_distance_{n}",
                f"close minus EMA {n}, in ATR {self.atr_period}",
                low=-(n - 1) / 2,
                high=(n - 1) / 2,
            )
            for n in self.periods
        )

    @property
    def lookback(self) -> int:
        """The longest mean, or the range's mean and the close before it."""
        return max(ema_bars(max(self.periods)), wilder_bars(self.atr_period) + 1)

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """``(close - EMA) / ATR``, 0 in a market without any range."""
        atr = average_true_range(bars, self.atr_period)
        distances = [ratio(bars.close - ema(bars.close, n), atr, empty=0.0) for n in self.periods]
        bounds = [column.high for column in self.columns]
        return [np.clip(d, -bound, bound) for d, bound in zip(distances, bounds, strict=True)]


def log_return(close: Float, horizon: int) -> Float:
    """``ln(close[t] / close[t - horizon])``, ``[T]``, NaN for the first ``horizon`` rows."""
    result = np.full(close.size, np.nan)
    result[horizon:] = np.log(close[horizon:] / close[:-horizon])
    return result


def average_true_range(bars: Bars, period: int) -> Float:
    """Wilder's average true range in price units, ``[T]`` (New Concepts, 1978)."""
    return wilder(talib.TRANGE(bars.high, bars.low, bars.close), period)
