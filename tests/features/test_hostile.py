"""Every column of every feature stays finite and within its bounds, whatever the market does."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.features.pipeline import FeaturePipeline
from mtquant.features.registry import build_features, groups
from mtquant.market.panel import Panel

SIZE = 1600


def constant(bars_of, walk):
    return bars_of(np.full(SIZE, 1234.567))


def tiny(bars_of, walk):
    return walk(SIZE, price=1e-5)


def huge(bars_of, walk):
    return walk(SIZE, price=1e6)


def wild(bars_of, walk):
    return walk(SIZE, volatility=0.4)


def one_jump(bars_of, walk):
    """Nothing, then a thousandfold, then nothing for longer than any window."""
    return bars_of(np.where(np.arange(SIZE) < 790, 1e-3, 1.0))


def one_fall(bars_of, walk):
    return bars_of(np.where(np.arange(SIZE) < 790, 1e6, 1e-5))


def calm_after_storm(bars_of, walk):
    close = walk(800, volatility=0.05).close
    return bars_of(np.concatenate([close, np.full(SIZE - 800, close[-1])]))


def tick_in_a_flat_market(bars_of, walk):
    return bars_of(np.where(np.arange(SIZE) % 400 == 399, 100.00001, 100.0))


def gaps(bars_of, walk):
    bars = walk(SIZE)
    rare = np.arange(SIZE) + 5000 * (np.arange(SIZE) // 300)
    return bars_of(bars.close, time=rare * bars.timeframe.nanoseconds, high=bars.high, low=bars.low)


MARKETS = (
    constant,
    tiny,
    huge,
    wild,
    one_jump,
    one_fall,
    calm_after_storm,
    tick_in_a_flat_market,
    gaps,
)


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.__name__)
def test_columns_are_finite_and_bounded(bars_of, walk, market):
    panel = Panel([market(bars_of, walk)])
    for feature in build_features(list(groups())):
        values = feature.compute(panel, feature.fit(panel))[:, 0]
        assert np.isnan(values[: feature.lookback - 1]).all()
        warm = values[feature.lookback - 1 :]
        assert np.isfinite(warm).all(), feature.key
        for column, series in zip(feature.columns, warm.T, strict=True):
            assert column.low <= series.min() <= series.max() <= column.high, column.name


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.__name__)
def test_scaled_columns_are_finite_wherever_the_scaler_learned(bars_of, walk, market):
    bars = market(bars_of, walk)
    for train in (bars, walk(SIZE)):
        fitted = FeaturePipeline(list(groups()), ["XAUUSD"]).fit(Panel([train]))
        panel = Panel([bars])
        scaled = fitted.transform(panel)[fitted.first_valid(panel) :]
        assert np.abs(scaled).max() <= 5.0
