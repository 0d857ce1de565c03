from __future__ import annotations

import numpy as np
import pytest
import talib

from mtquant.features.channels import BollingerWidth, ChannelDistance
from mtquant.features.returns import average_true_range
from mtquant.market.panel import Panel


def values(feature, bars, last=None):
    return feature.compute(Panel([bars]), {}, last)[:, 0]


@pytest.mark.nojit
def test_bollinger_width_by_hand(bars_of):
    result = values(BollingerWidth(period=3, width=2.0), bars_of([1.0, 2.0, 6.0, 6.0, 6.0]))[:, 0]
    # Mean 3 and variance 14 / 3; mean 14 / 3 and variance 32 / 9; nothing moves.
    first = 4.0 * np.sqrt(14.0 / 3.0) / 3.0
    second = 4.0 * np.sqrt(32.0 / 9.0) / (14.0 / 3.0)
    np.testing.assert_allclose(result, [np.nan, np.nan, first, second, 0.0], rtol=1e-14)


def test_bollinger_width_is_talibs(walk):
    bars = walk(300, seed=4)
    upper, middle, lower = talib.BBANDS(bars.close, timeperiod=20, nbdevup=2.0, nbdevdn=2.0)
    expected = ((upper - lower) / middle)[19:]
    np.testing.assert_allclose(values(BollingerWidth(), bars)[19:, 0], expected, rtol=1e-6)


def test_bollinger_width_reaches_its_bound_where_one_price_is_all_there_is(bars_of):
    close = np.append(np.full(19, 1e-5), 1e6)
    feature = BollingerWidth()
    width = values(feature, bars_of(close))[-1, 0]
    assert width == pytest.approx(4.0 * np.sqrt(19.0), rel=1e-9)
    assert width <= feature.columns[0].high


@pytest.mark.nojit
def test_channel_by_hand(bars_of):
    calm = np.full(120, 100.0)
    bars = bars_of(
        np.concatenate([calm, [103.0, 101.0]]),
        high=np.concatenate([calm + 1.0, [104.0, 103.0]]),
        low=np.concatenate([calm - 1.0, [100.0, 100.0]]),
    )
    result = values(ChannelDistance(period=2, atr_period=2), bars)
    # True ranges 2 ..., 4, 3 at weights 1/2, 1/4, ...: ATR 2, 3, 3. The channel holds the newest
    # bar: highs 101, 104, 104 and lows 99, 99, 100 against closes 100, 103, 101.
    expected = [[1 / 2, 1 / 2], [1 / 3, 4 / 3], [3 / 3, 1 / 3]]
    np.testing.assert_allclose(result[-3:], expected, rtol=1e-9)


def test_channel_is_that_of_the_last_bars_and_cut_at_one_range_a_bar(walk, bars_of):
    bars = walk(900, seed=3)
    atr = average_true_range(bars, 14)
    result = values(ChannelDistance(), bars)
    for row in range(373, 900):
        window = slice(row - 19, row + 1)
        above = (bars.high[window].max() - bars.close[row]) / atr[row]
        below = (bars.close[row] - bars.low[window].min()) / atr[row]
        assert result[row].tolist() == [min(above, 20.0), min(below, 20.0)]
    storm = values(
        ChannelDistance(period=100), bars_of(np.append(np.full(400, 1.0), np.full(80, 9.0)))
    )
    assert storm[-1].tolist() == [0.0, 100.0]


@pytest.mark.parametrize("feature", [BollingerWidth(), ChannelDistance()])
def test_a_live_window_gives_the_bits_of_the_whole_history(walk, feature):
    bars = walk(700, seed=6)
    whole = values(feature, bars)
    assert np.isnan(whole[: feature.lookback - 1]).all()
    for row in range(feature.lookback - 1, 700, 13):
        window = bars[row - feature.lookback + 1 : row + 1]
        np.testing.assert_array_equal(values(feature, window, last=1)[0], whole[row])
