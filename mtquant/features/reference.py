"""The market filter: on which side of its long mean the market stands, seen from one reference.

The reference may be the symbol itself or another one, such as an index or bitcoin for the smaller
coins. Its mean and volatility come from its own bars; a row shows those of its newest bar that had
closed with the row's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.features.base import PARAMETERS, Column, Params, SymbolFeature, in_stretches
from mtquant.features.returns import log_return
from mtquant.features.windows import root_mean_square
from mtquant.jit import kernel
from mtquant.market.bars import Bars, Float
from mtquant.market.panel import Panel

Period = Annotated[int, Field(ge=2, le=2000)]


@dataclass(frozen=True, config=PARAMETERS)
class MarketFilter(SymbolFeature):
    """Side of and distance from the reference's simple moving average, and its volatility.

    The distance is divided by the standard deviation that a random walk with the reference's price
    changes has around its mean, so that it needs no price unit and has a bound.

    Formula:
        market_above_sma = sign of ``close - SMA(period)``, 0 on the mean;
        market_distance = (close - SMA) / sqrt((n - 1) (2 n - 1) / (6 n) * mean(change^2)) over the
        n - 1 price changes inside the SMA's n bars, 0 where there were none;
        market_volatility = root mean square of the last ``volatility`` log returns
    Source:
        The seed documents (SMA 200); the filter of Faber (2007), A Quantitative Approach to
        Tactical Asset Allocation, who takes ten months.
    Weakness:
        A long mean is late by half its length and crossed many times in a market without trend. 200
        bars of an hour are less than two weeks, not the ten months for which it was studied.

    Attributes:
        reference: Symbol to look at, traded in the panel or its context; empty for each its own.
        period: Bars of the moving average.
        volatility: Log returns in the volatility.
    """

    key: ClassVar[str] = "market_filter"
    group: ClassVar[str] = "regime"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"seed": {"period": 200}}

    reference: str = ""
    period: Period = 200
    volatility: Period = 20

    @property
    def columns(self) -> tuple[Column, ...]:
        """``market_above_sma``, ``market_distance``, ``market_volatility``."""
        of = self.reference or "close"
        bound = math.sqrt(self.period - 1.0)
        above = f"{of} below its SMA {self.period} -1, above 1"
        distance = f"{of} from its SMA {self.period}, in standard deviations"
        return (
            Column("market_above_sma", above, -1.0, 1.0, fitted=False),
            Column("market_distance", distance, -bound, bound),
            Column("market_volatility", f"volatility of {self.volatility} returns", low=0.0),
        )

    @property
    def lookback(self) -> int:
        """The mean, or the volatility and the close before it."""
        return max(self.period, self.volatility + 1)

    @property
    def context(self) -> tuple[str, ...]:
        """The reference, unless it is the symbol itself."""
        return (self.reference,) if self.reference else ()

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """The columns over the reference's bars."""
        distance = _distance(bars.close, self.period)
        volatility = root_mean_square(log_return(bars.close, 1), self.volatility)
        return [np.sign(distance), distance, volatility]

    @in_stretches
    def compute(self, panel: Panel, params: Params, last: int | None = None) -> Float:
        """The columns on the panel's clock, see :meth:`mtquant.features.base.Feature.compute`.

        With a reference they are those of its newest bar which opened no later than the row; they
        are NaN before ``lookback`` of its bars and of the symbol's own.

        Raises:
            DataError: The panel lacks the reference.
        """
        if not self.reference:
            return super().compute(panel, params, last)
        bars = panel.of(self.reference)
        rows = slice(None if last is None else -last, None)
        newest = np.searchsorted(bars.time, panel.time[rows], side="right") - 1
        seen = np.full((newest.size, self.n_columns), np.nan)
        begun = newest >= 0
        if begun.any():
            first = int(newest[begun][0])
            seen[begun] = self._from_row(first, bars, {})[newest[begun] - first]
        warm = panel.row[rows] >= self.lookback - 1
        return np.where(warm[:, :, None], seen[:, None, :], np.nan)


@kernel(allocates=True)
def _distance(close: Float, period: int) -> Float:
    """Close minus its simple mean, in standard deviations of a random walk around its mean."""
    result = np.full(close.size, np.nan)
    bound = math.sqrt(period - 1.0)
    spread = (2.0 * period - 1.0) / (6.0 * period)
    for row in range(period - 1, close.size):
        above, square = 0.0, 0.0
        for i in range(row - period + 1, row):
            above += close[row] - close[i]
            change = close[i + 1] - close[i]
            square += change * change
        distance = above / period / math.sqrt(spread * square) if square > 0.0 else 0.0
        result[row] = min(max(distance, -bound), bound)
    return result
