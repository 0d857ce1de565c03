from __future__ import annotations

import numpy as np
import pytest
import talib

from mtquant.features.registry import make_feature
from mtquant.features.technical import Macd, MacdHistogram
from mtquant.market.panel import Panel


def column(bars, key, params=None, k=0):
    return make_feature(key, params).compute(Panel([bars]), {})[:, 0, k]


def after_calm(bars_of, moves, calm=120, level=100.0, **columns):
    """A long constant price, whose means are known exactly, and then the given closes."""
    return bars_of(np.concatenate([np.full(calm, level), moves]), **columns)


@pytest.mark.nojit
def test_rsi_by_hand(bars_of):
    bars = after_calm(bars_of, [101.0, 100.5, 100.5])
    # Period 2 weighs 1/2, 1/4, ...: up 1/4, down 1/4 after the fall; both halve after the pause.
    result = column(bars, "rsi", {"period": 2})[-4:]
    np.testing.assert_allclose(result, [50.0, 100.0, 50.0, 50.0], atol=1e-9)


@pytest.mark.nojit
def test_macd_histogram_by_hand(bars_of):
    bars = after_calm(bars_of, [110.0], calm=200)
    result = column(bars, "macd_hist", {"fast": 3, "slow": 4, "signal": 3})[-1]
    # Weights 2/4 and 2/5: macd = 10 * (0.5 - 0.4) = 1; its signal 0.5 * 1.
    assert result == pytest.approx(0.5 / 110.0, abs=1e-12)


@pytest.mark.nojit
def test_macd_lines_by_hand(bars_of):
    bars = after_calm(bars_of, [110.0, 110.0], calm=200)
    result = Macd(fast=3, slow=4, signal=3).compute(Panel([bars]), {})[-2:, 0]
    # EMA 3 at 105 and 107.5, EMA 4 at 104 and 106.4: macd 1 and 1.1, signal 0.5 and 0.8.
    np.testing.assert_allclose(result * 110.0, [[1.0, 0.5], [1.1, 0.8]], atol=1e-9)


def test_macd_lines_are_talibs_and_the_histogram_is_their_gap(walk):
    bars = walk(4000, seed=8)
    panel = Panel([bars])
    lines = Macd().compute(panel, {})[2000:, 0]
    macd, signal, _ = talib.MACD(bars.close, 12, 26, 9)
    expected = np.stack([macd / bars.close, signal / bars.close], axis=1)[2000:]
    np.testing.assert_allclose(lines, expected, rtol=1e-9, atol=1e-12)
    histogram = MacdHistogram().compute(panel, {})[2000:, 0, 0]
    np.testing.assert_allclose(lines[:, 0] - lines[:, 1], histogram, atol=1e-15)
    with pytest.raises(ValueError, match="fast 26 must be below slow 12"):
        Macd(fast=26, slow=12)


def test_bollinger_position_by_hand(bars_of):
    bars = bars_of([1.0, 2.0, 6.0])
    result = column(bars, "bollinger_position", {"period": 3, "width": 2.0})
    assert np.isnan(result[:2]).all()
    assert result[2] == pytest.approx(3.0 / (2.0 * np.sqrt(14.0 / 3.0)))


@pytest.mark.nojit
def test_atr_by_hand(bars_of):
    calm = np.full(120, 100.0)
    bars = bars_of(
        np.append(calm, 104.0),
        open=np.append(calm, 102.0),
        high=np.append(calm, 106.0),
        low=np.append(calm, 102.0),
    )
    # The true range reaches back to the close before the gap: 106 - 100, weighed 1/2.
    assert column(bars, "atr", {"period": 2})[-1] == pytest.approx(3.0 / 104.0, rel=1e-9)


@pytest.mark.nojit
def test_ema_gap_by_hand(bars_of):
    bars = after_calm(bars_of, [110.0])
    # 100 + 10 / 2 and 100 + 10 * 2 / 5.
    result = column(bars, "ema_gap", {"fast": 3, "slow": 4})[-1]
    assert result == pytest.approx((105.0 - 104.0) / 110.0, rel=1e-9)


@pytest.mark.nojit
def test_adx_by_hand(bars_of):
    bars = after_calm(bars_of, [101.0, 99.5], calm=200)
    # Rise: the high grew by 1, so plus 1/2, index 100, mean 50. The bar after reaches 0.5 below the
    # last low: plus 1/4, minus 1/4, index 0, mean 25.
    np.testing.assert_allclose(column(bars, "adx", {"period": 2})[-2:], [50.0, 25.0], atol=1e-6)


def test_stochastic_by_hand(bars_of):
    bars = bars_of([10.0, 12.0, 11.0], high=[11.0, 14.0, 12.0], low=[9.0, 10.0, 10.0])
    result = column(bars, "stoch_k", {"period": 3})
    assert np.isnan(result[:2]).all()
    assert result[2] == pytest.approx(100.0 * (11.0 - 9.0) / (14.0 - 9.0))


def test_internal_bar_strength_by_hand(bars_of):
    bars = bars_of([10.0, 12.0, 11.0], high=[12.0, 12.0, 11.0], low=[8.0, 8.0, 11.0])
    np.testing.assert_array_equal(column(bars, "ibs"), [0.5, 1.0, 0.5])


def talib_columns(bars):
    high, low, close = bars.high, bars.low, bars.close
    upper, middle, _ = talib.BBANDS(close, timeperiod=20, nbdevup=2.0, nbdevdn=2.0)
    return {
        "rsi": talib.RSI(close, timeperiod=14),
        "macd_hist": talib.MACD(close, 12, 26, 9)[2] / close,
        "bollinger_position": (close - middle) / (upper - middle),
        "atr": talib.ATR(high, low, close, timeperiod=14) / close,
        "ema_gap": (talib.EMA(close, timeperiod=20) - talib.EMA(close, timeperiod=50)) / close,
        "adx": talib.ADX(high, low, close, timeperiod=14),
        "stoch_k": talib.STOCHF(high, low, close, fastk_period=14, fastd_period=1)[0],
    }


@pytest.mark.parametrize("price", [0.7, 2000.0, 60000.0])
def test_settled_talib_gives_the_same_values(walk, price):
    bars = walk(4000, seed=5, price=price)
    for key, expected in talib_columns(bars).items():
        ours = column(bars, key)[2000:]
        np.testing.assert_allclose(ours, expected[2000:], rtol=1e-9, atol=1e-9, err_msg=key)


def test_a_flat_market_is_neutral_whatever_came_before(walk, bars_of):
    lively = walk(800, volatility=0.02)
    close = np.concatenate([lively.close, np.full(800, lively.close[-1])])
    high = np.concatenate([lively.high, np.full(800, lively.close[-1])])
    low = np.concatenate([lively.low, np.full(800, lively.close[-1])])
    bars = bars_of(close, high=high, low=low)
    neutral = {"rsi": 50.0, "bollinger_position": 0.0, "atr": 0.0, "adx": 0.0}
    neutral |= {"stoch_k": 50.0, "ibs": 0.5}
    for key, value in neutral.items():
        assert column(bars, key)[-1] == value, key
    assert column(bars, "macd_hist")[-1] == pytest.approx(0.0, abs=1e-14)
    assert column(bars, "ema_gap")[-1] == pytest.approx(0.0, abs=1e-14)
