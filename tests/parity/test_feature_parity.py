"""The live window gives the observation of the whole history: the contract's 1e-9, in fact 0."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from mtquant.errors import DataError
from mtquant.features import base
from mtquant.features.pipeline import FeaturePipeline
from mtquant.features.registry import groups, make_feature
from mtquant.market.bars import Bars
from mtquant.market.panel import Panel
from mtquant.market.simulated import simulate
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe

ROOT = Path(__file__).parents[2]
REAL_BARS = ROOT.parent / "shared" / "data" / "XAUUSD_H1_2006_2019_oanda.parquet"


def random_walk(size: int) -> Bars:
    rng = np.random.default_rng(11)
    close = 1.1 * np.exp(np.cumsum(0.001 * rng.standard_t(4, size)))
    opening = np.concatenate([close[:1], close[:-1]])
    reach = 1.0 + 0.0005 * rng.random((2, size))
    return Bars(
        "EURUSD",
        Timeframe.H1,
        time=np.arange(size) * Timeframe.H1.nanoseconds,
        open=opening,
        high=np.maximum(opening, close) * reach[0],
        low=np.minimum(opening, close) / reach[1],
        close=close,
        volume=np.zeros(size),
        spread=rng.integers(0, 20, size).astype(np.float64),
    )


def simulated(size: int) -> Bars:
    entries = yaml.safe_load((ROOT / "configs" / "symbols.yaml").read_text(encoding="utf-8"))
    return simulate(SymbolSpec(name="BTCUSD", **entries["BTCUSD"]), Timeframe.M5, size, seed=5)


def largest_error(bars: Bars, rows: np.ndarray) -> float:
    """Of the newest raw row of a live window against the whole history, as the contract counts."""
    base = {"base": bars.timeframe.name, "timeframe": "H4"}
    selection = [*groups(), {"higher_trend": base}, {"higher_channel": base}]
    fitted = FeaturePipeline(selection, [bars.symbol]).fit(Panel([bars[: len(bars) // 2]]))
    raw, scaled = fitted.raw(Panel([bars])), fitted.transform(Panel([bars]))
    worst = 0.0
    for row in rows:
        window = Panel([bars[row - fitted.lookback + 1 : row + 1]])
        live = fitted.raw(window, last=1)[0]
        worst = max(worst, float(np.max(np.abs(live - raw[row]) / np.maximum(1, np.abs(raw[row])))))
    np.testing.assert_allclose(fitted.latest(window)[0], scaled[rows[-1]], atol=1e-6)
    return worst


@pytest.mark.parametrize("make", [random_walk, simulated])
def test_live_windows_equal_the_whole_history(make):
    bars = make(5000)
    rows = np.random.default_rng(0).integers(800, 5000, 300)
    assert largest_error(bars, rows) <= 1e-9


@pytest.mark.shared_data
def test_live_windows_equal_the_whole_history_of_real_bars():
    if not REAL_BARS.exists():
        pytest.skip("the real bars are not beside this checkout")
    bars = Bars.from_frame(pd.read_parquet(REAL_BARS), "XAUUSD", Timeframe.H1)[40_000:60_000]
    assert largest_error(bars, np.arange(800, len(bars), 7)) <= 1e-9


@pytest.mark.parametrize("key", groups()["regime"] + ("rsi", "returns", "fusion", "session"))
def test_stretches_give_the_bits_of_one_pass(key, monkeypatch):
    """Long histories are computed piece by piece; of two symbols each begins at another time."""
    gold, euro = random_walk(1800), random_walk(1500)
    late = replace(euro, symbol="XAUUSD", time=euro.time + 200 * Timeframe.H1.nanoseconds)
    panel, feature = Panel([gold, late]), make_feature(key)
    params = feature.fit(panel)
    whole = feature.compute(panel, params)
    monkeypatch.setattr(base, "STRETCH", 350)
    np.testing.assert_array_equal(feature.compute(panel, params), whole)


def test_a_symbol_may_begin_after_the_first_stretch(monkeypatch):
    gold = random_walk(900)
    late = replace(gold, symbol="XAUUSD", time=gold.time + 600 * Timeframe.H1.nanoseconds)
    panel, feature = Panel([gold, late]), make_feature("rsi")
    whole = feature.compute(panel, {})
    monkeypatch.setattr(base, "STRETCH", 350)
    np.testing.assert_array_equal(feature.compute(panel, {}), whole)
    assert np.isnan(whole[:600, 1]).all() and np.isfinite(whole[-1, 1])


def test_rows_that_do_not_fit_the_bars_are_refused():
    panel = Panel([random_walk(50)])
    with pytest.raises(DataError, match="EURUSD: 25 rows for 50 bars"):
        panel.place([np.zeros((25, 1))])
