"""Forward returns, intervals, information coefficients, AUC and ablation on known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.errors import ConfigError, DataError
from mtquant.research.ablation import ablate
from mtquant.research.association import groups_of_alike, measure, rank_correlation
from mtquant.research.forward_returns import forward_returns
from mtquant.research.intervals import (
    Estimates,
    benjamini_hochberg,
    block_length,
    newey_west,
)

ROWS = 6_000


def test_a_return_runs_from_the_next_open_to_the_open_h_bars_on(bars_of):
    bars = bars_of([100, 110, 121, 242, 60.5], close=[7, 8, 9, 10, 11])
    by_hand = np.log([[121 / 110, 242 / 110], [242 / 121, 60.5 / 121]])
    np.testing.assert_allclose(forward_returns(bars, (1, 2)), by_hand, rtol=1e-12)


def test_the_last_row_may_end_at_the_last_open(bars_of):
    assert forward_returns(bars_of([1, 2, 3, 4]), (2,)).shape == (1, 1)
    with pytest.raises(DataError, match="at least 4 bars, got 3"):
        forward_returns(bars_of([1, 2, 3]), (2,))


@pytest.mark.parametrize("horizons", [(), (0,), (1, 1), (1.5,), (True,)])
def test_horizons_are_whole_numbers_of_bars(horizons, bars_of):
    with pytest.raises(ConfigError, match="horizons"):
        forward_returns(bars_of(np.ones(50)), horizons)


def test_newey_west_is_the_weighted_sum_of_autocovariances():
    rng = np.random.default_rng(1)
    series, block = rng.standard_normal((60, 2)).cumsum(axis=0), 7
    centred = series - series.mean(axis=0)
    variance = (centred**2).mean(axis=0)
    for lag in range(1, block):
        weight = 1.0 - lag / block
        variance += 2.0 * weight * (centred[lag:] * centred[:-lag]).sum(axis=0) / 60
    share = block / 60
    corrected = variance / (1.0 - share + share**2 / 3.0)
    np.testing.assert_allclose(newey_west(series, block), np.sqrt(corrected / 60), rtol=1e-12)


def test_intervals_and_chances_are_students():
    # Student's t: quantile 0.975 and two-sided p of 2.5, from printed tables.
    for freedom, quantile, p in ((10, 2.2281, 0.03145), (30, 2.0423, 0.01812), (1e6, 1.95997, 0)):
        one = Estimates(np.array(2.5), np.array(1.0), np.array(float(freedom)))
        assert one.high - one.value == pytest.approx(quantile, rel=2e-3)
        assert one.p == pytest.approx(p or 0.012419, rel=2e-2)


def test_what_has_no_error_says_nothing():
    nothing = Estimates(np.zeros(1), np.zeros(1), np.ones(1))
    assert nothing.p == 1.0
    assert not nothing.beyond.any()


def test_benjamini_hochberg_by_hand():
    # Limits 0.02, 0.04, 0.06, 0.08, 0.10: the third is above its own, the fourth below.
    p = np.array([0.9, 0.001, 0.065, 0.075, 0.03])
    assert benjamini_hochberg(p, 0.1).tolist() == [False, True, True, True, True]
    assert not benjamini_hochberg(np.full(5, 0.2), 0.1).any()


@pytest.mark.parametrize("share", [0.0, 0.99])
@pytest.mark.parametrize("horizon", [1, 20])
def test_intervals_hold_the_truth_of_overlapping_returns(
    share, horizon, autoregressive, sums_ahead
):
    """Nothing is to be found, whatever overlaps, persists or clusters."""
    rng, held = np.random.default_rng(5), []
    for _ in range(4):
        columns = autoregressive(rng, share, 4_000, 100)
        moves = rng.standard_normal(4_000) * np.exp(autoregressive(rng, 0.98, 4_000)[:, 0] / 2)
        returns = sums_ahead(moves, (horizon,))
        columns = columns[: len(returns)]
        found = measure(columns, returns, 5, block_length(len(returns), horizon))
        held += [~found.ic.beyond[:, 0], ~found.auc.beyond]
    assert np.mean(held) >= 0.9


def brute_auc(x, y):
    wins = [(a > b) + (a == b) / 2 for a in x[y > 0] for b in x[y < 0]]
    return np.mean(wins)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-2, 2)), min_size=12, max_size=40))
def test_auc_counts_pairs(pairs):
    x, y = np.array(pairs, np.float64).T
    if not ((y > 0).any() and (y < 0).any()):
        return
    found = measure(x[:, None], y[:, None], 2, 2)
    expected = brute_auc(x, y) if np.ptp(x) else 0.5
    assert found.auc.value[0, 0] == pytest.approx(expected, abs=1e-12)


def test_information_coefficient_is_spearmans_with_shared_ranks():
    x, y = np.array([3.0, 1, 4, 1, 5, 9]), np.array([2.0, 7, -3, 8, 2, 8])
    # Ranks 3, 1.5, 4, 1.5, 5, 6 and 2.5, 4, 1, 5.5, 2.5, 5.5.
    expected = np.corrcoef([3, 1.5, 4, 1.5, 5, 6], [2.5, 4, 1, 5.5, 2.5, 5.5])[0, 1]
    found = measure(x[:, None], y[:, None], 2, 1)
    assert found.ic.value[0, 0, 0] == pytest.approx(expected, rel=1e-12)
    bent = measure(np.exp(x)[:, None], y[:, None] ** 3, 2, 1)
    assert bent.ic.value[0, 0, 0] == pytest.approx(expected, rel=1e-12)
    by_size = np.corrcoef([3, 1.5, 4, 1.5, 5, 6], [1.5, 4, 3, 5.5, 1.5, 5.5])[0, 1]
    assert found.ic.value[0, 1, 0] == pytest.approx(by_size, rel=1e-12)


def test_columns_are_grouped_through_others():
    alike = np.eye(5)
    alike[0, 3] = alike[3, 0] = -0.95
    alike[3, 4] = alike[4, 3] = 0.91
    alike[1, 2] = alike[2, 1] = 0.9  # not above
    assert groups_of_alike(alike, 0.9) == ((0, 3, 4), (1,), (2,))


def test_rank_correlation_sees_through_a_bend():
    x = np.random.default_rng(3).standard_normal(500)
    alike = rank_correlation(np.stack([x, -np.exp(x), np.ones(500)], axis=1))
    np.testing.assert_allclose(alike, [[1, -1, 0], [-1, 1, 0], [0, 0, 0]], atol=1e-12)


def test_leaving_out_a_copy_costs_nothing_and_the_only_informed_column_all():
    rng = np.random.default_rng(4)
    signal, noise = rng.standard_normal((2, ROWS))
    target = 0.5 * signal + rng.standard_normal(ROWS)
    columns = np.stack([signal, signal, noise], axis=1)
    found = ablate(columns, target, 3_600, 24, [[0], [1], [2], [0, 1]], 80)
    assert found.r2.value == pytest.approx(0.2, abs=0.03)  # 0.25 / 1.25
    assert np.abs(found.loss.value[:3]).max() < 0.002
    assert found.loss.value[3] == pytest.approx(0.2, abs=0.03)
    assert found.loss.low[3] > 0.1
    assert found.ic.low > 0.35


def test_noise_is_not_rewarded_out_of_sample():
    rng = np.random.default_rng(6)
    columns, target = rng.standard_normal((ROWS, 40)), rng.standard_normal(ROWS)
    found = ablate(columns, target, 3_600, 24, [[0]], 80)
    assert found.r2.value < 0.001


def test_later_rows_and_the_embargo_teach_nothing():
    rng = np.random.default_rng(7)
    columns, target = rng.standard_normal((2_000, 3)), rng.standard_normal(2_000)
    target += columns[:, 0]
    altered, poisoned = columns.copy(), target.copy()
    altered[1_000:1_050], poisoned[1_000:1_050] = 50.0, -40.0
    first = ablate(columns, target, 1_000, 50, [[0]], 60)
    second = ablate(altered, poisoned, 1_000, 50, [[0]], 60)
    assert first.r2.value == second.r2.value
    flipped = target.copy()
    flipped[1_050:] *= -1.0
    assert ablate(columns, flipped, 1_000, 50, [[0]], 60).r2.value < -0.5
