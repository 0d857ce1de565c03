"""The technical eight, each defined for every market that can occur, and the MACD's own lines.

RSI, MACD, ATR, EMA and ADX are the textbook ones (Wilder 1978; Appel 1979) over the windows of
:mod:`mtquant.features.windows`; TA-Lib gives their exact parts and, in the tests, the same values
wherever its recursions have settled. What is measured in price is divided by the close; the four
with fixed ends stand in :mod:`mtquant.features.oscillators`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.features.base import PARAMETERS, Column, Params, SymbolFeature
from mtquant.features.oscillators import Adx as Adx  # all eight are imported from here
from mtquant.features.oscillators import InternalBarStrength as InternalBarStrength
from mtquant.features.oscillators import Rsi as Rsi
from mtquant.features.oscillators import StochasticK as StochasticK
from mtquant.features.returns import average_true_range
from mtquant.features.windows import ema, ema_bars, standard_score, wilder_bars
from mtquant.market.bars import Bars, Float

Period = Annotated[int, Field(ge=2, le=500)]


@dataclass(frozen=True, config=PARAMETERS)
class MacdHistogram(SymbolFeature):
    """MACD minus its signal line, as a fraction of the close.

    Formula:
        (macd - EMA(macd, signal)) / close,  macd = EMA(close, fast) - EMA(close, slow)
    Source:
        Appel (1979), The Moving Average Convergence-Divergence Trading Method.
    Weakness:
        A difference of differences: it turns early and often, and most of its crossings in a market
        without trend are noise. Its width follows volatility.

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
class Macd(SymbolFeature):
    """MACD and its signal line, each as a fraction of the close.

    Formula:
        macd = (EMA(close, fast) - EMA(close, slow)) / close
        macd_signal = EMA(EMA(close, fast) - EMA(close, slow), signal) / close
    Source:
        Appel (1979), The Moving Average Convergence-Divergence Trading Method.
    Weakness:
        It is the gap of two means by another name (:class:`EmaGap`), and its signal line follows it
        closely: the two columns say much the same. Late at turns, and its width follows volatility.

    Attributes:
        fast: Bars of the fast mean.
        slow: Bars of the slow mean.
        signal: Bars of the signal line.
    """

    key: ClassVar[str] = "macd"
    group: ClassVar[str] = "momentum"

    fast: Period = 12
    slow: Period = 26
    signal: Period = 9

    def __post_init__(self) -> None:
        _in_order(self.fast, self.slow)

    @property
    def columns(self) -> tuple[Column, ...]:
        """``macd`` and ``macd_signal``."""
        return (
            Column("macd", f"EMA {self.fast} minus EMA {self.slow} over the close"),
            Column("macd_signal", f"EMA {self.signal} of the MACD over the close"),
        )

    @property
    def lookback(self) -> int:
        """The signal's mean of the slow mean."""
        return ema_bars(self.slow) + ema_bars(self.signal) - 1

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """``macd / close`` and ``EMA(macd) / close`` with ``macd = EMA fast - EMA slow``."""
        macd = ema(bars.close, self.fast) - ema(bars.close, self.slow)
        return [macd / bars.close, ema(macd, self.signal) / bars.close]


@dataclass(frozen=True, config=PARAMETERS)
class BollingerPosition(SymbolFeature):
    """Place of the close between the Bollinger bands: -1 the lower, 0 the middle, 1 the upper.

    Formula:
        (close - mean) / (width * deviation),  0 in a constant window
    Source:
        Bollinger (2001), Bollinger on Bollinger Bands; there %b = (this + 1) / 2.
    Weakness:
        The newest close is part of its own band, so the value is bounded and a jump looks smaller
        than it is. It does not say how far apart the bands are.

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

    Formula:
        Wilder's mean of max(high, last close) - min(low, last close), over the close
    Source:
        Wilder (1978), New Concepts in Technical Trading Systems.
    Weakness:
        It says how much the price moves and not where to. A weekend gap or one wild bar stays in it
        for weeks of bars, and a day's regular rise and fall of volatility is in it too.

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

    Formula:
        (EMA(close, fast) - EMA(close, slow)) / close
    Source:
        The crossing of two moving averages; on its worth Brock, Lakonishok and LeBaron (1992).
    Weakness:
        It follows: at a turn it points the wrong way for about half the slow mean's bars. What the
        rule earned on stock indices had faded in later samples. Its width follows volatility.

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


def _in_order(fast: int, slow: int) -> None:
    if fast >= slow:
        raise ValueError(f"fast {fast} must be below slow {slow}")
