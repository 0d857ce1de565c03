"""Intervals of a mean, against Student's printed table."""

from __future__ import annotations

from math import inf, sqrt

import numpy as np
import pytest

from mtquant.backtest.student import mean_interval, student_quantile


@pytest.mark.parametrize(
    ("freedom", "level", "table"),
    [
        (1, 0.95, 12.706),
        (2, 0.95, 4.303),
        (3, 0.95, 3.182),
        (4, 0.95, 2.776),
        (9, 0.95, 2.262),
        (10, 0.95, 2.228),
        (30, 0.95, 2.042),
        (120, 0.95, 1.980),
        (5, 0.99, 4.032),
        (8, 0.90, 1.860),
    ],
)
def test_the_quantile_is_the_tables(freedom, level, table):
    assert student_quantile(freedom, level) == pytest.approx(table, abs=5e-4)


def test_an_interval_by_hand():
    # 1, 2, 3: mean 2, deviation 1, so 4.3027 / sqrt(3) either way.
    found = mean_interval([1.0, 2.0, 3.0])
    assert found.mean == 2.0 and found.numbers == 3
    reach = 4.302653 / sqrt(3.0)
    assert found[1:3] == pytest.approx((2.0 - reach, 2.0 + reach), abs=1e-5)


def test_a_single_number_bounds_nothing():
    assert mean_interval([5.0]) == (5.0, -inf, inf, 1)


def test_the_interval_holds_the_mean_as_often_as_it_says():
    drawn = np.random.default_rng(0).normal(1.0, 2.0, (4000, 4))
    found = [mean_interval(row.tolist()) for row in drawn]
    held = np.mean([interval.low <= 1.0 <= interval.high for interval in found])
    assert held == pytest.approx(0.95, abs=0.012)  # 3.5 errors of 4,000 draws
