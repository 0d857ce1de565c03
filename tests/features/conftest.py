from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mtquant.market.bars import Bars
from mtquant.market.timeframe import Timeframe

MakeBars = Callable[..., Bars]


@pytest.fixture
def bars_of() -> MakeBars:
    """Bars from closes; the other prices follow unless they are given."""

    def make(close, symbol="XAUUSD", timeframe=Timeframe.H1, start=0, **columns) -> Bars:
        close = np.asarray(close, np.float64)
        opening = np.concatenate([close[:1], close[:-1]])
        given = {
            "time": start + timeframe.nanoseconds * np.arange(close.size),
            "open": opening,
            "high": np.maximum(opening, close),
            "low": np.minimum(opening, close),
            "volume": np.zeros(close.size),
            "spread": np.zeros(close.size),
        }
        given |= {name: np.asarray(column) for name, column in columns.items()}
        return Bars(symbol, timeframe, close=close, **given)

    return make


@pytest.fixture
def walk(bars_of: MakeBars) -> MakeBars:
    """A geometric random walk with ranges, spreads (some not recorded) and a weekend gap a week."""

    def make(size, seed=0, price=2000.0, volatility=0.002, **named) -> Bars:
        rng = np.random.default_rng(seed)
        close = price * np.exp(np.cumsum(volatility * rng.standard_normal(size)))
        opening = np.concatenate([close[:1], close[:-1]])
        reach = 1.0 + volatility * np.abs(rng.standard_normal((2, size)))
        spread = rng.integers(10, 40, size) * (rng.random(size) > 0.05)
        hour = np.arange(size)
        time = (hour + 48 * (hour // 120)) * Timeframe.H1.nanoseconds
        return bars_of(
            close,
            time=time,
            high=np.maximum(opening, close) * reach[0],
            low=np.minimum(opening, close) / reach[1],
            spread=spread.astype(np.float64),
            volume=rng.integers(0, 500, size).astype(np.float64),
            **named,
        )

    return make
