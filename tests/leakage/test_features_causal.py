"""No feature column knows anything of later bars, nor of when the history began."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mtquant.features.base import Feature, Params, SymbolFeature
from mtquant.features.registry import FEATURES, make_feature
from mtquant.market.bars import Bars
from mtquant.market.panel import Panel
from mtquant.market.timeframe import Timeframe

SIZE = 2600


def market(symbol: str, seed: int, size: int = SIZE) -> Bars:
    """A random walk with gaps in time, flat stretches, jumps and unrecorded spreads."""
    rng = np.random.default_rng(seed)
    steps = 0.002 * rng.standard_t(3, size) * (rng.random(size) > 0.1)
    steps[size // 3 : size // 3 + 60] = 0.0
    close = 2000.0 * np.exp(np.cumsum(steps))
    opening = np.concatenate([close[:1], close[:-1]])
    reach = 1.0 + 0.001 * rng.random((2, size)) * (steps != 0.0)
    return Bars(
        symbol,
        Timeframe.H1,
        time=np.cumsum(rng.choice([1, 1, 1, 1, 49], size)) * Timeframe.H1.nanoseconds,
        open=opening,
        high=np.maximum(opening, close) * reach[0],
        low=np.minimum(opening, close) / reach[1],
        close=close,
        volume=rng.integers(0, 99, size).astype(np.float64),
        spread=rng.integers(0, 30, size).astype(np.float64),
    )


def replaced_after(bars: Bars, row: int, other: Bars) -> Bars:
    """The same bars up to ``row``; what follows has other prices, times and spreads."""
    head, tail = slice(0, row + 1), slice(row + 1, None)
    columns = {
        name: np.concatenate([column[head], getattr(other, name)[tail]])
        for name, column in bars.columns()
    }
    step = bars.time[row] - other.time[row] + 7 * 60 * 10**9
    columns["time"] = np.concatenate([bars.time[head], other.time[tail] + step])
    return replace(bars, **columns)


#: What a feature cannot do without.
NEEDED = {"strength": {"against": ["USDJPY"]}, "level": {"of": ["USDJPY"]}}

#: Shorter histories give these a number too: a shorter median, or a neutral value.
NEVER_MISSING = {"spread_ratio", "higher_trend", "volatility_signal"}


def feature_of(key: str) -> Feature:
    return make_feature(key, NEEDED.get(key))


def context_of(key: str) -> list[Bars]:
    """Other bars, at other times, that reach beyond every cut."""
    return [market(symbol, 7) for symbol in feature_of(key).context]


def learned(key: str) -> Params:
    bars = [market("XAUUSD", 1)[:1200], market("EURUSD", 3)[:1200]]
    return feature_of(key).fit(Panel(bars, context_of(key)))


def columns_of(key: str, *bars: Bars) -> np.ndarray:
    return feature_of(key).compute(Panel(bars, context_of(key)), learned(key))


@pytest.mark.parametrize("key", FEATURES)
def test_cutting_later_bars_changes_no_bit(key):
    bars = market("XAUUSD", 1)
    whole = columns_of(key, bars)
    for row in (1250, 1753, 2048, SIZE - 2):
        np.testing.assert_array_equal(columns_of(key, bars[: row + 1]), whole[: row + 1])


@pytest.mark.parametrize("key", FEATURES)
def test_altering_later_bars_changes_no_bit(key):
    bars = market("XAUUSD", 1)
    whole = columns_of(key, bars)
    for row in (1250, 1753, 2048, SIZE - 2):
        altered = replaced_after(bars, row, market("XAUUSD", 2))
        assert not np.array_equal(altered.close[row + 1 :], bars.close[row + 1 :])
        np.testing.assert_array_equal(columns_of(key, altered)[: row + 1], whole[: row + 1])


@pytest.mark.parametrize("key", FEATURES)
def test_a_later_start_gives_the_same_bits_after_the_lookback(key):
    bars = market("XAUUSD", 1)
    whole, lookback = columns_of(key, bars), feature_of(key).lookback
    for start in (1, 333, 1024, 1500):
        later = columns_of(key, bars[start:])
        np.testing.assert_array_equal(later[lookback - 1 :], whole[start + lookback - 1 :])


SYMBOL_FEATURES = [
    key
    for key in FEATURES
    if isinstance(feature_of(key), SymbolFeature)
    and feature_of(key).lookback > 1
    and key not in NEVER_MISSING
]


@pytest.mark.parametrize("key", SYMBOL_FEATURES)
def test_the_lookback_is_not_longer_than_needed(key):
    """With one bar fewer a value is missing, so the warm-up wastes no bar."""
    feature = feature_of(key)
    assert isinstance(feature, SymbolFeature)
    short = market("XAUUSD", 1)[SIZE - feature.lookback + 1 :]
    newest = [column[-1] for column in feature.on_bars(short, learned(key).get("XAUUSD", {}))]
    assert np.isnan(newest).any()


@pytest.mark.parametrize("key", FEATURES)
def test_another_symbols_future_does_not_show(key):
    gold, euro = market("XAUUSD", 1), market("EURUSD", 3)
    panel = Panel([gold, euro])
    whole = columns_of(key, gold, euro)
    assert whole.shape == (len(panel), 2, len(feature_of(key).names))
    cut = 1900
    end = int(np.searchsorted(panel.time, gold.time[cut], side="right"))
    until = int(panel.time[end - 1]) + 1
    known = columns_of(key, gold.between(None, until), euro.between(None, until))
    np.testing.assert_array_equal(known, whole[:end])
