"""Currency strength: does a symbol still move with its relatives, and is it stronger than they are?

Relatives are context symbols. Each is read on the described symbol's own bars: at every bar stands
the newest close of the relative that was known when the bar had closed, never the nearest one. A
relative that stood still meanwhile has a return of 0 there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.errors import ConfigError
from mtquant.features.base import PARAMETERS, BaseFeature, Column, Params, in_stretches
from mtquant.features.returns import log_return
from mtquant.jit import kernel
from mtquant.market.bars import Bars, Float
from mtquant.market.panel import Panel

Share = Annotated[float, Field(ge=0.0, le=1.0)]

#: Returns that differ by less than the root of this share are one constant up to rounding.
_ROUNDING = 1e-18


@dataclass(frozen=True, config=PARAMETERS)
class CurrencyStrength(BaseFeature):
    """Correlation with related symbols, and the symbol's trend beyond theirs, as a signal.

    A trend is measured in standard deviations of a random walk of the symbol's own volatility, so
    that gold and a currency compare; the mean return is not removed from that volatility, which
    gives the trend a bound. Random walks that correlate at 0.7 pass the seed's threshold of 0.3
    such units on seven of ten bars and unrelated ones on five of six; they pass 1.0 on one of five
    and on half. Where several symbols are traded and one of them is named, it has correlation 1 and
    strength 0 against itself, and that pair is left out of its mean.

    Formula:
        r, s = last ``window`` log returns of the symbol and of a relative, on the symbol's bars
        corr = correlation of r and s, 0 where either is constant (a relative without new bars);
        relative_strength = sum(r) / sqrt(sum(r^2)) - sum(s) / sqrt(sum(s^2))
        divergence = 1 where ``|corr| < divergence_below``: a pair such as gold and USDJPY belongs
        together by moving apart;
        strength_signal = sign of the mean relative strength beyond +-signal_beyond, else 0;
        strength_confidence = ``confidence`` where there is a signal, else 0
    Source:
        Window, thresholds and confidence of the seed documents; the unit of strength is mtquant's.
    Weakness:
        It follows the trend of the last window and forecasts nothing by itself; the confidence is a
        constant. A relative quoted the other way round (USDJPY for the dollar) counts as a symbol,
        not as a currency. While a relative rests, as on a weekend, the pair is said to diverge.

    Attributes:
        against: The relatives; at least one, traded in the panel or its context.
        window: Returns in each window.
        divergence_below: Size of the correlation below which a pair diverges.
        signal_beyond: Size of the mean relative strength beyond which there is a signal.
        confidence: Of every signal.
    """

    key: ClassVar[str] = "strength"
    group: ClassVar[str] = "strength"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "seed": {"window": 30, "divergence_below": 0.7, "signal_beyond": 0.3, "confidence": 0.65}
    }

    against: tuple[str, ...] = ()
    window: Annotated[int, Field(ge=3, le=1000)] = 30
    divergence_below: Share = 0.7
    signal_beyond: Annotated[float, Field(ge=0.0, le=60.0)] = 1.0
    confidence: Share = 0.65

    def __post_init__(self) -> None:
        if not all(name.strip() for name in self.against):
            raise ValueError(f"against {list(self.against)} has an empty name; leave it out")
        if len(set(self.against)) < len(self.against):
            raise ValueError(f"against {list(self.against)} names a symbol twice; name it once")

    @property
    def columns(self) -> tuple[Column, ...]:
        """``corr_``, ``relative_strength_`` and ``divergence_NAME`` each, signal and confidence."""
        bound = 2.0 * math.sqrt(self.window)
        pairs = [
            column
            for name in self.against
            for column in (
                Column(f"corr_{name}", f"correlation with {name}", -1.0, 1.0, fitted=False),
                Column(f"relative_strength_{name}", f"trend beyond {name}'s", -bound, bound),
                Column(f"divergence_{name}", f"1 if it left {name}", 0.0, 1.0, fitted=False),
            )
        ]
        return (
            *pairs,
            Column("strength_signal", "weak -1, neither 0, strong 1", -1.0, 1.0, fitted=False),
            Column("strength_confidence", "of the signal", 0.0, 1.0, fitted=False),
        )

    @property
    def lookback(self) -> int:
        """The window and the close before it."""
        return self.window + 1

    @property
    def context(self) -> tuple[str, ...]:
        """The relatives.

        Raises:
            ConfigError: There are none.
        """
        if not self.against:
            raise ConfigError(
                "strength has no context symbols; say strength: {against: [EURUSD, USDJPY]}"
            )
        return self.against

    @in_stretches
    def compute(self, panel: Panel, params: Params, last: int | None = None) -> Float:
        """The columns on the panel's clock, see :meth:`mtquant.features.base.Feature.compute`.

        Rows whose window begins before a relative's first bar are NaN.

        Raises:
            ConfigError: There are no relatives.
            DataError: The panel lacks one.
        """
        relatives = [panel.of(name) for name in self.context]
        rows = panel.row if last is None else panel.row[-last:]
        own = [
            self._from_row(int(row), bars, relatives)
            for bars, row in zip(panel.bars, rows[0], strict=True)
        ]
        return panel.place(own, last)

    def _from_row(self, row: int, bars: Bars, relatives: Sequence[Bars]) -> Float:
        """Columns ``[T - row, k]`` from a row on; NaN in the warm-up."""
        row = max(row, 0)
        values = np.full((len(bars) - row, self.n_columns), np.nan)
        known = max(_first_known(bars, other) for other in relatives)
        first = max(row - self.window, known)
        warm = first + self.window
        if warm < len(bars):
            values[warm - row :] = self._on_bars(bars[first:], relatives)[self.window :]
        return values

    def _on_bars(self, bars: Bars, relatives: Sequence[Bars]) -> Float:
        """Columns ``[T, k]`` over bars which begin no earlier than each relative."""
        values = np.zeros((len(bars), self.n_columns))
        returns = log_return(bars.close, 1)
        trend = _trend(returns, self.window)
        total, others = np.zeros(len(bars)), 0
        for k, other in enumerate(relatives):
            if other.symbol == bars.symbol:
                values[:, 3 * k] = 1.0
                continue
            newest = np.searchsorted(other.time, bars.time, side="right") - 1
            theirs = log_return(other.close[newest], 1)
            correlation = _correlation(returns, theirs, self.window)
            relative = trend - _trend(theirs, self.window)
            values[:, 3 * k] = correlation
            values[:, 3 * k + 1] = relative
            values[:, 3 * k + 2] = np.abs(correlation) < self.divergence_below
            total, others = total + relative, others + 1
        mean = total / max(others, 1)
        signal = np.where(np.abs(mean) > self.signal_beyond, np.sign(mean), 0.0)
        values[:, -2] = signal
        values[:, -1] = self.confidence * np.abs(signal)
        return values


def _first_known(bars: Bars, other: Bars) -> int:
    """The first bar at which the other symbol has begun; the number of bars if never."""
    return int(np.searchsorted(bars.time, other.time[0])) if len(other) else len(bars)


@kernel(allocates=True)
def _trend(returns: Float, window: int) -> Float:
    """Sum of the last returns over the root of their sum of squares; 0 where nothing moved."""
    result = np.full(returns.size, np.nan)
    bound = math.sqrt(window)
    for row in range(window, returns.size):
        total, square = 0.0, 0.0
        for i in range(row - window + 1, row + 1):
            total += returns[i]
            square += returns[i] * returns[i]
        trend = total / math.sqrt(square) if square > 0.0 else 0.0
        result[row] = min(max(trend, -bound), bound)
    return result


@kernel(allocates=True)
def _correlation(a: Float, b: Float, window: int) -> Float:
    """Correlation of the last returns of two symbols; 0 where either is constant."""
    result = np.full(a.size, np.nan)
    for row in range(window, a.size):
        first = row - window + 1
        mean_a, mean_b, raw_a, raw_b = 0.0, 0.0, 0.0, 0.0
        for i in range(first, row + 1):
            mean_a += a[i]
            mean_b += b[i]
            raw_a += a[i] * a[i]
            raw_b += b[i] * b[i]
        mean_a /= window
        mean_b /= window
        square_a, square_b, product = 0.0, 0.0, 0.0
        for i in range(first, row + 1):
            deviation_a, deviation_b = a[i] - mean_a, b[i] - mean_b
            square_a += deviation_a * deviation_a
            square_b += deviation_b * deviation_b
            product += deviation_a * deviation_b
        constant = square_a <= _ROUNDING * raw_a or square_b <= _ROUNDING * raw_b
        correlation = 0.0 if constant else product / math.sqrt(square_a) / math.sqrt(square_b)
        result[row] = min(max(correlation, -1.0), 1.0)
    return result
