"""Series whose worth is known, and bars made of them."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.market.bars import Bars
from mtquant.market.timeframe import Timeframe

ROWS = 6_000


def _bars_of(opening, close=None, symbol="XAUUSD") -> Bars:
    opening = np.asarray(opening, np.float64)
    close = opening if close is None else np.asarray(close, np.float64)
    return Bars(
        symbol,
        Timeframe.H1,
        time=Timeframe.H1.nanoseconds * np.arange(opening.size),
        open=opening,
        high=np.maximum(opening, close),
        low=np.minimum(opening, close),
        close=close,
        volume=np.zeros(opening.size),
        spread=np.zeros(opening.size),
    )


def _autoregressive(rng, share: float, rows: int = ROWS, columns: int = 1):
    """AR(1) with unit variance, ``[rows, columns]``."""
    shocks = rng.standard_normal((rows, columns)) * (1 - share**2) ** 0.5
    values = np.empty_like(shocks)
    values[0] = rng.standard_normal(columns)
    for t in range(1, rows):
        values[t] = share * values[t - 1] + shocks[t]
    return values


def _sums_ahead(moves, horizons):
    """Sums of the next ``h`` moves, as a forward return is one of bar returns, ``[n, H]``."""
    total = np.concatenate([[0.0], np.cumsum(moves)])
    rows = len(moves) - max(horizons)
    return np.stack([total[h : h + rows] - total[:rows] for h in horizons], axis=1)


def _ar_bars(symbol="XAUUSD", seed=14, rows=ROWS) -> Bars:
    moves = _autoregressive(np.random.default_rng(seed), 0.3, rows)[:, 0]
    return _bars_of(2000 * np.exp(0.001 * np.cumsum(moves)), symbol=symbol)


@pytest.fixture
def bars_of():
    """Bars from opens."""
    return _bars_of


@pytest.fixture
def autoregressive():
    """Series that follow themselves."""
    return _autoregressive


@pytest.fixture
def sums_ahead():
    """What follows each row."""
    return _sums_ahead


@pytest.fixture
def ar_bars():
    """Bars whose moves follow the last move."""
    return _ar_bars
