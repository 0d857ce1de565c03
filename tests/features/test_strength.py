from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.errors import ConfigError, DataError
from mtquant.features.leaks import find_leaks
from mtquant.features.pipeline import FeaturePipeline
from mtquant.features.registry import default_feature
from mtquant.features.strength import CurrencyStrength
from mtquant.market.bars import Bars
from mtquant.market.clock import HOUR_NS
from mtquant.market.panel import Panel
from mtquant.market.timeframe import MINUTE_NS, Timeframe


def prices(returns, start=100.0):
    """Closes whose log returns are these."""
    return start * np.exp(np.concatenate([[0.0], np.cumsum(returns)]))


def rows(feature, panel, symbol=0, last=None):
    values = feature.compute(panel, {}, last)[:, symbol]
    return dict(zip(feature.names, values.T, strict=True))


def random_bars(symbol, seed, time, price=100.0):
    rng = np.random.default_rng(seed)
    close = prices(0.001 * rng.standard_t(4, time.size - 1), price)
    nothing = np.zeros(time.size)
    return Bars(symbol, Timeframe.H1, time, close, close, close, close, nothing, nothing)


def hours(size, weekends=False, start=0):
    """Hourly opens, around the clock or on five days of seven."""
    hour = start + np.arange(size)
    return (hour if weekends else hour + 48 * (hour // 120)) * HOUR_NS


def by_definition(own, other, window, row):
    """Correlation and relative strength of one row, bar by bar and with numpy's own functions."""
    seen = [other.close[other.time <= t][-1] for t in own.time[row - window : row + 1]]
    closes = (own.close[row - window : row + 1], np.array(seen))
    r, s = (np.log(close[1:] / close[:-1]) for close in closes)
    trend = [x.sum() / (np.sqrt(np.mean(x**2)) * np.sqrt(window)) for x in (r, s)]
    return np.corrcoef(r, s)[0, 1], trend[0] - trend[1]


def test_a_pair_by_hand(bars_of):
    gold = bars_of(prices([0.01, -0.01, 0.02]))
    # Deviations of (1, -1, 2) from 2/3 are (1, -5, 4) / 3; of (1, 2, 3) from 2 they are (-1, 0, 1).
    euro = bars_of(prices([0.01, 0.02, 0.03]), symbol="EURUSD")
    feature = CurrencyStrength(against=("EURUSD",), window=3, signal_beyond=0.75)
    found = rows(feature, Panel([gold], [euro]))
    assert found["corr_EURUSD"][-1] == pytest.approx(3 / math.sqrt(42 * 2))
    strength = 2 / math.sqrt(6) - 6 / math.sqrt(14)  # -0.787
    assert found["relative_strength_EURUSD"][-1] == pytest.approx(strength)
    assert found["divergence_EURUSD"][-1] == 1.0
    assert found["strength_signal"][-1] == -1.0
    assert found["strength_confidence"][-1] == 0.65
    for column in found.values():
        assert np.isnan(column[:3]).all()


@pytest.mark.parametrize(
    ("theirs", "corr", "strength", "divergence"),
    [
        ([0.02, -0.02, 0.04], 1.0, 0.0, 0.0),  # twice as volatile, equally strong
        ([-0.01, 0.01, -0.02], -1.0, 4 / math.sqrt(6), 0.0),  # together by moving apart
        ([0.0, 0.0, 0.0], 0.0, 2 / math.sqrt(6), 1.0),
        ([0.01, 0.01, 0.01], 0.0, 2 / math.sqrt(6) - math.sqrt(3), 1.0),  # a constant return
    ],
)
def test_correlation_strength_and_divergence(bars_of, theirs, corr, strength, divergence):
    gold = bars_of(prices([0.01, -0.01, 0.02]))
    other = bars_of(prices(theirs), symbol="OTHER")
    feature = CurrencyStrength(against=("OTHER",), window=3)
    found = feature.compute(Panel([gold], [other]), {})[-1, 0, :3]
    np.testing.assert_allclose(found, [corr, strength, divergence], atol=1e-9)


def test_the_signal_is_of_the_mean_over_the_pairs(bars_of):
    gold = bars_of(prices([0.01, -0.01, 0.02]))  # 2 / sqrt(6) = 0.816
    pairs = [
        bars_of(prices([0.0, 0.0, 0.0]), symbol="A"),  # 0.816
        bars_of(prices([0.01, 0.01, 0.01]), symbol="B"),  # -0.916
    ]
    for beyond, signal in ((0.04, -1.0), (0.06, 0.0)):
        feature = CurrencyStrength(
            against=("A", "B"), window=3, signal_beyond=beyond, confidence=0.5
        )
        found = feature.compute(Panel([gold], pairs), {})[-1, 0, -2:]
        np.testing.assert_array_equal(found, [signal, 0.5 * abs(signal)])


def test_a_relative_is_read_as_of_each_bar_and_never_nearest(bars_of):
    gold = bars_of(prices([0.01, 0.01, 0.01, 0.01]))
    # Opens at -0:30, 0:59, 1:00, 3:01: known at 0:00 to 4:00 are the bars 0, 2, 2, 2, 3.
    time = np.array([-30, 59, 60, 181]) * MINUTE_NS
    other = bars_of(prices([0.5, -0.4, 0.2]), symbol="OTHER", time=time)
    seen = np.array([0.0, 0.1, 0.1, 0.1, 0.3])
    feature = CurrencyStrength(against=("OTHER",), window=4)
    found = rows(feature, Panel([gold], [other]))
    s = np.diff(seen)
    expected = 2.0 - s.sum() / np.sqrt((s**2).sum())
    assert found["relative_strength_OTHER"][-1] == pytest.approx(expected)


@pytest.mark.parametrize("own_weekends", [False, True])
@pytest.mark.parametrize("their_weekends", [False, True])
def test_every_row_agrees_with_the_definition(own_weekends, their_weekends):
    own = random_bars("XAUUSD", 1, hours(400, own_weekends, start=130))
    other = random_bars("EURUSD", 2, hours(800, their_weekends) + 20 * MINUTE_NS)
    feature = CurrencyStrength(against=("EURUSD",))
    found = rows(feature, Panel([own], [other]))
    for row in range(30, 400):
        seen = other.close[np.searchsorted(other.time, own.time[row - 30 : row + 1], "right") - 1]
        if np.unique(seen).size == 1:
            assert found["corr_EURUSD"][row] == 0.0  # stood still for the whole window
            continue
        corr, strength = by_definition(own, other, 30, row)
        assert found["corr_EURUSD"][row] == pytest.approx(corr, abs=1e-12)
        assert found["relative_strength_EURUSD"][row] == pytest.approx(strength, abs=1e-12)


def test_a_relative_that_begins_late_leaves_rows_out():
    own = random_bars("XAUUSD", 1, hours(100, True))
    late = random_bars("EURUSD", 2, hours(100, True)[50:] - MINUTE_NS)
    early = random_bars("GBPUSD", 3, hours(100, True))
    feature = CurrencyStrength(against=("GBPUSD", "EURUSD"), window=10)
    values = feature.compute(Panel([own], [early, late]), {})[:, 0]
    np.testing.assert_array_equal(np.isnan(values).any(axis=1), np.arange(100) < 60)
    np.testing.assert_array_equal(np.isnan(values).all(axis=1), np.arange(100) < 60)
    pipeline = FeaturePipeline([feature], ["XAUUSD"])
    assert pipeline.first_valid(Panel([own], [early, late])) == 60
    never = Panel([own[:40]], [early, late[:0]])
    assert np.isnan(feature.compute(never, {})).all()


@pytest.mark.parametrize("their_weekends", [False, True])
@pytest.mark.parametrize("own_weekends", [False, True])
def test_a_live_window_gives_the_bits_of_the_whole_history(own_weekends, their_weekends):
    own = random_bars("XAUUSD", 1, hours(600, own_weekends, start=130))
    other = random_bars("EURUSD", 2, hours(1000, their_weekends) + 40 * MINUTE_NS)
    third = random_bars("BTCUSD", 3, hours(1500, True))
    feature = CurrencyStrength(against=("EURUSD", "BTCUSD"))
    whole = feature.compute(Panel([own], [other, third]), {})
    for row in [*range(30, 600, 17), 599]:
        now, oldest = int(own.time[row]) + 1, int(own.time[row - 30])
        context = []
        for bars in (other, third):
            first = int(np.searchsorted(bars.time, oldest, side="right")) - 1
            context.append(bars.between(int(bars.time[first]), now))
        live = Panel([own[row - 30 : row + 1]], context)
        np.testing.assert_array_equal(feature.compute(live, {}, last=1)[0], whole[row])
    np.testing.assert_array_equal(
        feature.compute(Panel([own], [other, third]), {}, last=9), whole[-9:]
    )


def altered_after(bars, time_ns):
    """The same bars up to a time; later ones open earlier and cost twice as much."""
    late = bars.time > time_ns
    time = np.where(late, bars.time - 7 * MINUTE_NS, bars.time)
    close = np.where(late, 2.0 * bars.close, bars.close)
    kept = (time > time_ns) | ~late
    nothing = np.zeros(int(kept.sum()))
    columns = [close[kept]] * 4
    return Bars(bars.symbol, bars.timeframe, time[kept], *columns, nothing, nothing)


@pytest.mark.parametrize("weekends", [False, True])
def test_later_bars_of_a_relative_change_nothing(weekends):
    own = random_bars("XAUUSD", 1, hours(400, start=130))
    other = random_bars("EURUSD", 2, hours(800, weekends) + 20 * MINUTE_NS)
    feature = CurrencyStrength(against=("EURUSD",))
    whole = feature.compute(Panel([own], [other]), {})
    for row in (100, 119, 120, 250, 398):
        altered = altered_after(other, int(own.time[row]))
        found = feature.compute(Panel([own], [altered]), {})
        np.testing.assert_array_equal(found[: row + 1], whole[: row + 1])
        assert not np.array_equal(found[row + 1 :], whole[row + 1 :])


def test_traded_symbols_are_relatives_of_each_other():
    gold = random_bars("XAUUSD", 1, hours(500, start=130))
    coin = random_bars("BTCUSD", 2, hours(900, True))
    feature = CurrencyStrength(against=("BTCUSD", "XAUUSD"))
    panel = Panel([gold, coin])
    whole = feature.compute(panel, {})
    for s, (own, other) in enumerate([(gold, coin), (coin, gold)]):
        alone = CurrencyStrength(against=(other.symbol,))
        expected = rows(alone, Panel([own], [other]))
        found = rows(feature, panel, symbol=s)
        placed = np.searchsorted(own.time, panel.time, side="right") - 1
        for name, column in expected.items():
            known = np.where(placed >= 0, column[np.maximum(placed, 0)], np.nan)
            np.testing.assert_array_equal(found[name], known, err_msg=name)
        warm = ~np.isnan(found["strength_signal"])
        assert (found[f"corr_{own.symbol}"][warm] == 1.0).all()
        assert (found[f"relative_strength_{own.symbol}"][warm] == 0.0).all()
        assert (found[f"divergence_{own.symbol}"][warm] == 0.0).all()
    for row in (700, 801, 899):
        now, since = int(panel.time[row]) + 1, int(panel.time[row]) - 200 * HOUR_NS
        live = Panel([gold.between(since, now), coin.between(since, now)])
        np.testing.assert_array_equal(feature.compute(live, {}, last=1)[0], whole[row])


def test_a_symbol_against_itself_alone_is_neutral():
    coin = random_bars("BTCUSD", 2, hours(60, True))
    feature = CurrencyStrength(against=("BTCUSD",))
    assert feature.compute(Panel([coin]), {})[-1, 0].tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_columns_are_finite_and_bounded(data):
    """Jumps, flat stretches, trends and rare bars on either side."""
    size, window = 60, 8
    step = st.sampled_from([0.0, 0.0, 0.0, 1e-9, -1e-4, 0.003, 0.003, -0.4, 7.0, -7.0])
    gap = st.sampled_from([1, 1, 1, 2, 30])
    bars = []
    for symbol in ("XAUUSD", "EURUSD"):
        steps = data.draw(st.lists(step, min_size=size - 1, max_size=size - 1))
        gaps = data.draw(st.lists(gap, min_size=size, max_size=size))
        close = np.clip(prices(steps), 1e-5, 1e6)
        time, nothing = np.cumsum(gaps) * HOUR_NS, np.zeros(size)
        bars.append(Bars(symbol, Timeframe.H1, time, *[close] * 4, nothing, nothing))
    feature = CurrencyStrength(against=("EURUSD",), window=window)
    values = feature.compute(Panel(bars[:1], bars[1:]), {})[:, 0]
    known = int(np.searchsorted(bars[0].time, bars[1].time[0]))
    warm = values[known + window :]
    assert np.isfinite(warm).all()
    for column, series in zip(feature.columns, warm.T, strict=True):
        assert (series >= column.low).all() and (series <= column.high).all(), column.name


def test_one_direction_reaches_the_bound(bars_of):
    up = bars_of(prices(np.full(40, 0.01)))
    down = bars_of(prices(np.full(40, -0.02)), symbol="EURUSD")
    feature = CurrencyStrength(against=("EURUSD",))
    found = rows(feature, Panel([up], [down]))["relative_strength_EURUSD"]
    bound = {column.name: column.high for column in feature.columns}["relative_strength_EURUSD"]
    assert found[-1] == pytest.approx(bound) == pytest.approx(2 * math.sqrt(30))
    assert found[-1] <= bound


def test_symbols_are_needed_once_each(bars_of):
    gold = bars_of(np.ones(60))
    listed = default_feature(CurrencyStrength)
    assert listed is not None and listed.names == ("strength_signal", "strength_confidence")
    with pytest.raises(ConfigError, match=r"against: \[EURUSD, USDJPY\]"):
        listed.compute(Panel([gold]), {})
    with pytest.raises(ValueError, match="twice"):
        CurrencyStrength(against=("EURUSD", "EURUSD"))
    with pytest.raises(ValueError, match="empty name"):
        CurrencyStrength(against=("EURUSD", " "))
    with pytest.raises(DataError, match="EURUSD"):
        CurrencyStrength(against=("EURUSD",)).compute(Panel([gold]), {})


def test_the_seed_preset_signals_beyond_three_tenths():
    feature = CurrencyStrength(against=("EURUSD",), **CurrencyStrength.presets["seed"])
    assert (feature.window, feature.lookback) == (30, 31)
    assert (feature.divergence_below, feature.signal_beyond) == (0.7, 0.3)
    assert feature.confidence == 0.65
    assert feature.context == ("EURUSD",)


def test_the_leak_detector_finds_nothing():
    assert find_leaks(CurrencyStrength(against=("USDJPY", "AUDUSD"))) == []
