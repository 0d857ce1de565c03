from __future__ import annotations

import numpy as np
import pytest

from mtquant.features.statistics import (
    RegimeStatistics,
    autocorrelation,
    orders,
    permutation_entropy,
    variance_ratio,
)
from mtquant.market.panel import Panel


def from_returns(bars_of, returns):
    return bars_of(100.0 * np.exp(np.cumsum(np.append(0.0, returns))))


@pytest.mark.nojit
def test_permutation_entropy_of_the_example_of_bandt_and_pompe():
    """Orders 012, 012, 201, 102, 201."""
    series = np.array([4.0, 7.0, 9.0, 10.0, 6.0, 11.0, 3.0])
    bits = -(2 / 5 * np.log2(2 / 5) * 2 + 1 / 5 * np.log2(1 / 5))
    assert bits == pytest.approx(1.522, abs=5e-4)
    result = permutation_entropy(orders(series), 5)
    assert np.isnan(result[:6]).all()
    assert result[6] == pytest.approx(bits / np.log2(6))


@pytest.mark.nojit
def test_permutation_entropy_is_one_when_all_six_orders_are_equally_frequent():
    series = np.array([0.0, 1.0, 5.0, 4.0, 3.0, 7.0, 2.0, 6.0])
    assert permutation_entropy(orders(series), 6)[-1] == pytest.approx(1.0)
    assert permutation_entropy(orders(series), 1)[-1] == 0.0


@pytest.mark.parametrize(
    ("tied", "untied"),
    [
        ((1, 1, 2), (1, 2, 3)),
        ((2, 1, 1), (3, 1, 2)),
        ((2, 1, 2), (2, 1, 3)),
        ((1, 2, 2), (1, 2, 3)),
    ],
)
@pytest.mark.nojit
def test_of_two_equal_prices_the_earlier_counts_as_the_lower(tied, untied):
    assert orders(np.array(tied, float))[2] == orders(np.array(untied, float))[2]


@pytest.mark.nojit
def test_the_six_orders_are_told_apart():
    triples = [(1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1)]
    assert len({int(orders(np.array(triple, float))[2]) for triple in triples}) == 6


@pytest.mark.nojit
def test_autocorrelation_by_hand():
    result = autocorrelation(np.array([np.nan, 1.0, 2.0, -1.0, 3.0, 0.0]), 4)
    assert np.isnan(result[:4]).all()
    np.testing.assert_allclose(result[4:], [(2 - 2 - 3) / 15, (-2 - 3 + 0) / 14])


@pytest.mark.nojit
def test_variance_ratio_by_hand():
    returns = np.array([np.nan, 9.0, 1.0, 2.0, -1.0, 3.0])
    long = np.array([np.nan, np.nan, 10.0, 3.0, 1.0, 2.0])
    result = variance_ratio(returns, long, 4, 2)
    mean_long, mean = (9 + 1 + 4) / 3, (1 + 4 + 1 + 9) / 4
    assert np.isnan(result[:4]).all()
    assert result[5] == pytest.approx(mean_long / (2 * mean))


@pytest.mark.parametrize(
    ("returns", "expected"),
    [
        (np.full(20, 0.01), [0.0, 0.9, 2.0]),
        (0.01 * (-1.0) ** np.arange(20), [None, -0.9, 0.0]),
        (np.zeros(20), [0.0, 0.0, 1.0]),
    ],
    ids=["trend", "see-saw", "flat"],
)
def test_known_markets(bars_of, returns, expected):
    feature = RegimeStatistics(window=10, horizon=2)
    values = feature.compute(Panel([from_returns(bars_of, returns)]), {})[-1, 0]
    for value, wanted in zip(values, expected, strict=True):
        if wanted is not None:
            assert value == pytest.approx(wanted, abs=1e-9)


def test_a_random_walk_has_high_entropy_no_correlation_and_ratio_one(walk):
    feature = RegimeStatistics()
    values = feature.compute(Panel([walk(20_000)]), {})[feature.lookback - 1 :, 0]
    entropy, correlation, ratio = values.mean(axis=0)
    assert 0.93 < entropy < 0.97
    assert correlation == pytest.approx(0.0, abs=0.02)
    assert ratio == pytest.approx(1.0, abs=0.06)


def test_autoregressive_returns_show_in_all_three(bars_of):
    rng = np.random.default_rng(1)
    returns = np.zeros(5000)
    for t in range(1, returns.size):
        returns[t] = 0.6 * returns[t - 1] + 0.001 * rng.standard_normal()
    feature = RegimeStatistics()
    panel = Panel([from_returns(bars_of, returns)])
    entropy, correlation, ratio = feature.compute(panel, {})[200:, 0].mean(axis=0)
    assert correlation == pytest.approx(0.6, abs=0.06)
    # 1 + 2 sum (1 - k / 8) 0.6 ** k
    assert ratio == pytest.approx(1 + 2 * sum((1 - k / 8) * 0.6**k for k in range(1, 8)), abs=0.3)
    assert entropy < 0.92


def test_variance_ratio_stays_below_its_bound_where_all_moves_are_one_run(bars_of):
    returns = np.zeros(60)
    returns[40:44] = 0.01
    feature = RegimeStatistics(window=20, horizon=4)
    column = feature.columns[2]
    values = feature.compute(Panel([from_returns(bars_of, returns)]), {})[:, 0, 2]
    top = np.nanmax(values)
    # The 7 overlapping sums of four: 1, 2, 3, 4, 3, 2, 1.
    assert top == pytest.approx((1 + 4 + 9 + 16 + 9 + 4 + 1) / 17 / (4 * 4 / 20))
    assert top <= column.high


def test_a_live_row_has_the_bits_of_the_whole_history(walk):
    feature, bars = RegimeStatistics(), walk(700)
    whole = feature.compute(Panel([bars]), {})
    for end in (101, 102, 517, 700):
        live = feature.compute(Panel([bars[end - feature.lookback : end]]), {}, last=1)
        np.testing.assert_array_equal(live[-1], whole[end - 1])
    assert np.isnan(whole[: feature.lookback - 1]).all()


def test_a_horizon_beyond_half_the_window_is_refused():
    with pytest.raises(ValueError, match="horizon 8 must be at most half the window, 15"):
        RegimeStatistics(window=15)
