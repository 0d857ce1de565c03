from __future__ import annotations

import math

import numpy as np
import pytest

from mtquant.errors import DataError
from mtquant.features.leaks import find_leaks
from mtquant.features.pipeline import FeaturePipeline
from mtquant.features.reference import MarketFilter
from mtquant.market.bars import Bars
from mtquant.market.clock import HOUR_NS
from mtquant.market.panel import Panel
from mtquant.market.timeframe import MINUTE_NS, Timeframe

SMALL = {"period": 4, "volatility": 2}


def hours(size, weekends=False):
    """Hourly opens, around the clock or on five days of seven."""
    hour = np.arange(size)
    return (hour if weekends else hour + 48 * (hour // 120)) * HOUR_NS


def random_bars(symbol, seed, time):
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(0.003 * rng.standard_t(4, time.size)))
    nothing = np.zeros(time.size)
    return Bars(symbol, Timeframe.H1, time, close, close, close, close, nothing, nothing)


def test_the_filter_by_hand(bars_of):
    bars = bars_of([1.0, 2.0, 4.0, 5.0, 3.0, 3.0])
    found = MarketFilter(**SMALL).compute(Panel([bars]), {})[:, 0]
    assert np.isnan(found[:3]).all()
    # SMA 3, 3.5, 3.75; squares of changes 1 4 1, 4 1 4, 1 4 0; (2 n - 1) / (6 n) = 7 / 24.
    distance = [2 / math.sqrt(7 / 4), -0.5 / math.sqrt(63 / 24), -0.75 / math.sqrt(35 / 24)]
    log = math.log
    volatility = [
        math.hypot(log(2), log(5 / 4)) / math.sqrt(2),
        math.hypot(log(5 / 4), log(3 / 5)) / math.sqrt(2),
        abs(log(3 / 5)) / math.sqrt(2),
    ]
    expected = np.transpose([[1, -1, -1], distance, volatility])
    np.testing.assert_allclose(found[3:], expected, rtol=1e-14)


def test_on_its_mean_and_without_motion_it_is_neutral(bars_of):
    on_mean = bars_of([3.0, 1.0, 3.0, 1.0, 2.0])
    found = MarketFilter(period=5, volatility=2).compute(Panel([on_mean]), {})[-1, 0]
    assert found[:2].tolist() == [0.0, 0.0]
    still = MarketFilter(**SMALL).compute(Panel([bars_of(np.full(9, 0.1))]), {})[-1, 0]
    assert still.tolist() == [0.0, 0.0, 0.0]


def test_a_straight_line_stands_within_the_bound(bars_of):
    """``(n - 1) / 2`` steps above the mean, in units of ``sqrt((n - 1) (2 n - 1) / (6 n))``."""
    feature = MarketFilter()
    found = feature.compute(Panel([bars_of(100.0 + np.arange(300))]), {})[-1, 0, 1]
    assert found == pytest.approx(99.5 / math.sqrt(199 * 399 / 1200))
    jump = bars_of(np.where(np.arange(300) < 299, 1e-3, 1e3))
    assert feature.compute(Panel([jump]), {})[-1, 0, 1] <= feature.columns[1].high
    # The farthest there can be: changes that grow in proportion to their weight in the mean.
    worst = bars_of(1.0 + np.cumsum(np.arange(200)))
    high = feature.compute(Panel([worst]), {})[-1, 0, 1]
    assert high == pytest.approx(math.sqrt(199)) and high <= feature.columns[1].high


def test_distances_of_a_random_walk_have_unit_width(bars_of):
    steps = np.random.default_rng(3).standard_normal(200_000)
    bars = bars_of(1e6 + np.cumsum(steps))
    found = MarketFilter(period=50).compute(Panel([bars]), {})[49:, 0, 1]
    assert found.std() == pytest.approx(1.0, abs=0.03)


def test_a_reference_is_placed_as_of_each_bar_and_never_nearest(bars_of):
    own = bars_of(np.linspace(1.0, 2.0, 8))
    # Opens at -0:30, 0:20, 0:40, 1:00, 4:59, 5:00, 6:01.
    time = np.array([-30, 20, 40, 60, 299, 300, 361]) * MINUTE_NS
    index = bars_of([5.0, 4.0, 7.0, 6.0, 9.0, 2.0, 8.0], symbol="INDEX", time=time)
    feature = MarketFilter(reference="INDEX", period=2, volatility=2)
    found = feature.compute(Panel([own], [index]), {})[:, 0]
    alone = MarketFilter(period=2, volatility=2).compute(Panel([index]), {})[:, 0]
    np.testing.assert_array_equal(found[:3, 0], [np.nan, np.nan, -1.0])
    np.testing.assert_array_equal(found[2:], alone[[3, 3, 3, 5, 5, 6]])


def test_rows_wait_for_the_warm_up_of_both(bars_of):
    own, index = random_bars("COIN", 1, hours(60, True)), random_bars("INDEX", 2, hours(60, True))
    feature = MarketFilter(reference="INDEX", **SMALL)
    for panel, first in (
        (Panel([own], [index[20:]]), 23),
        (Panel([own[20:]], [index]), 3),
        (Panel([own], [index[57:]]), 60),
        (Panel([own], [index[:0]]), 60),
    ):
        missing = np.isnan(feature.compute(panel, {})[:, 0])
        np.testing.assert_array_equal(missing.any(axis=1), np.arange(len(panel)) < first)
        np.testing.assert_array_equal(missing.all(axis=1), missing.any(axis=1))


@pytest.mark.parametrize("their_weekends", [False, True])
@pytest.mark.parametrize("own_weekends", [False, True])
def test_a_live_window_gives_the_bits_of_the_whole_history(own_weekends, their_weekends):
    own = random_bars("COIN", 1, hours(900, own_weekends))
    index = random_bars("INDEX", 2, hours(1400, their_weekends) - 30 * MINUTE_NS)
    feature = MarketFilter(reference="INDEX")
    whole = feature.compute(Panel([own], [index]), {})
    assert np.isfinite(whole[340:]).all()
    for row in [*range(400, 900, 31), 899]:
        context = index.between(None, int(own.time[row]) + 1)[-feature.lookback :]
        live = Panel([own[row - feature.lookback + 1 : row + 1]], [context])
        np.testing.assert_array_equal(feature.compute(live, {}, last=1)[0], whole[row])
    np.testing.assert_array_equal(feature.compute(Panel([own], [index]), {}, last=9), whole[-9:])


def test_later_bars_of_the_reference_change_nothing():
    own, index = random_bars("COIN", 1, hours(500)), random_bars("INDEX", 2, hours(800, True))
    feature = MarketFilter(reference="INDEX", period=50)
    whole = feature.compute(Panel([own], [index]), {})
    for row in (119, 120, 300, 498):
        late = index.time > own.time[row]
        time = np.where(late, index.time - 7 * MINUTE_NS, index.time)
        close = np.where(late, 3.0 * index.close, index.close)
        nothing = np.zeros(time.size)
        altered = Bars("INDEX", Timeframe.H1, time, *[close] * 4, nothing, nothing)
        found = feature.compute(Panel([own], [altered]), {})
        np.testing.assert_array_equal(found[: row + 1], whole[: row + 1])
        assert not np.array_equal(found[row + 1 :], whole[row + 1 :])


def test_a_traded_symbol_may_be_the_reference():
    coin = random_bars("BTCUSD", 1, hours(700, True))
    gold = random_bars("XAUUSD", 2, hours(500))
    panel = Panel([gold, coin])
    found = MarketFilter(reference="BTCUSD").compute(panel, {})
    alone = MarketFilter().compute(Panel([coin]), {})[:, 0]
    newest = np.searchsorted(coin.time, panel.time, side="right") - 1
    ready = (panel.row >= 199)[:, :, None]
    np.testing.assert_array_equal(found, np.where(ready, alone[newest][:, None], np.nan))
    assert np.isfinite(found[-1]).all()


def test_without_a_reference_every_symbol_is_its_own():
    gold, coin = random_bars("XAUUSD", 1, hours(300)), random_bars("BTCUSD", 2, hours(450, True))
    feature = MarketFilter(**SMALL)
    assert feature.context == ()
    panel = Panel([gold, coin])
    found = feature.compute(panel, {})
    for s, bars in enumerate((gold, coin)):
        own = feature.compute(Panel([bars]), {})[:, 0]
        np.testing.assert_array_equal(found[:, s], own[panel.row[:, s]])


def test_a_missing_reference_is_named():
    gold = random_bars("XAUUSD", 1, hours(300))
    feature = MarketFilter(reference="BTCUSD")
    assert feature.context == ("BTCUSD",)
    with pytest.raises(DataError, match="BTCUSD"):
        feature.compute(Panel([gold]), {})
    assert FeaturePipeline([feature], ["XAUUSD"]).context == ("BTCUSD",)


def test_the_leak_detector_finds_nothing():
    assert find_leaks(MarketFilter(reference="USDJPY", period=60)) == []
