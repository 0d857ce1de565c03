from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.features import windows


def recursive(values, alpha, start):
    """The exponential mean of an infinite history that stood at ``start``."""
    mean, result = start, []
    for value in values:
        mean += alpha * (value - mean)
        result.append(mean)
    return np.array(result)


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("mean", "bars", "period", "alpha"),
    [
        (windows.ema, windows.ema_bars, 3, 0.5),
        (windows.ema, windows.ema_bars, 9, 0.2),
        (windows.wilder, windows.wilder_bars, 4, 0.25),
    ],
)
def test_means_equal_the_recursion_of_an_infinite_history(mean, bars, period, alpha):
    warm = bars(period) - 1
    moved = np.array([101.0, 99.0, 99.0, 105.0])
    values = np.concatenate([np.full(warm, 100.0), moved])
    result = mean(values, period)
    assert np.isnan(result[:warm]).all()
    np.testing.assert_allclose(result[warm:], recursive(moved, alpha, 100.0), rtol=1e-13)


def test_ema_50_needs_about_600_bars_and_leaves_out_less_than_its_tail():
    bars = windows.ema_bars(50)
    left_out = (49 / 51) ** bars
    assert 600 < bars < 750
    assert left_out <= windows.TAIL < left_out * 51 / 49


def test_leading_nan_lengthens_the_warm_up_and_an_inner_one_leaves_after_its_window():
    values = np.ones(200)
    values[:3] = np.nan
    values[100] = np.nan
    result = windows.wilder(values, 2)
    bars = windows.wilder_bars(2)
    expected = np.zeros(200, bool)
    expected[: bars + 2] = True
    expected[100 : 100 + bars] = True
    np.testing.assert_array_equal(np.isnan(result), expected)


def test_blocks_leave_no_trace():
    values = np.random.default_rng(3).standard_normal(3 * windows.BLOCK)
    whole = windows.ema(values, 5)
    bars = windows.ema_bars(5)
    for row in (windows.BLOCK + bars - 2, windows.BLOCK + bars - 1, 2500, 3 * windows.BLOCK - 1):
        alone = windows.ema(values[row - bars + 1 : row + 1], 5)[-1]
        assert alone == whole[row]


def test_fewer_values_than_a_window_are_all_warm_up():
    short = np.ones(5)
    for result in (
        windows.ema(short, 20),
        windows.standard_score(short, 6),
        windows.root_mean_square(short, 6),
    ):
        assert np.isnan(result).all()


@pytest.mark.nojit
def test_standard_score_by_hand():
    result = windows.standard_score(np.array([1.0, 2.0, 6.0, 6.0, 6.0]), 3)
    # Window 1, 2, 6: mean 3, deviation sqrt(14 / 3); window 2, 6, 6: mean 14/3, the extreme's half.
    np.testing.assert_allclose(result[2:], [3 / np.sqrt(14 / 3), np.sqrt(0.5), 0.0], rtol=1e-14)


@pytest.mark.parametrize("level", [1e-5, 0.1, 1234.567, 1e6])
def test_standard_score_of_a_constant_is_exactly_zero(level):
    assert (windows.standard_score(np.full(30, level), 20)[19:] == 0.0).all()


def test_standard_score_keeps_its_digits_at_a_high_level():
    steps = np.random.default_rng(1).integers(-50, 50, 200).astype(np.float64)
    low = windows.standard_score(steps, 20)
    high = windows.standard_score(1e9 + steps, 20)
    np.testing.assert_array_equal(high, low)


@pytest.mark.nojit
def test_root_mean_square_by_hand():
    result = windows.root_mean_square(np.array([np.nan, 3.0, 4.0, 0.0]), 2)
    np.testing.assert_allclose(result, [np.nan, np.nan, np.sqrt(12.5), np.sqrt(8.0)])


@pytest.mark.nojit
@given(
    values=st.lists(st.one_of(st.just(np.nan), st.integers(1, 5).map(float)), max_size=30),
    period=st.integers(2, 6),
)
def test_median_is_that_of_the_recorded_values(values, period):
    result = windows.median(np.array(values, np.float64), period)
    for row in range(len(values)):
        known = [v for v in values[max(0, row - period + 1) : row + 1] if not np.isnan(v)]
        expected = np.median(known) if known else np.nan
        np.testing.assert_equal(result[row], expected)


def test_ratio_gives_the_stated_value_only_where_nothing_is_divided_by():
    result = windows.ratio(np.array([1.0, 0.0, np.nan]), np.array([4.0, 0.0, 2.0]), empty=0.5)
    np.testing.assert_array_equal(result, [0.25, 0.5, np.nan])
