from __future__ import annotations

from math import inf, pi, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.risk.sizing import (
    RANGE_PER_DEVIATION,
    SIZING_FIELDS,
    VOLATILITY_TARGET,
    at_risk,
    full_size,
    kelly_risk,
    target_steps,
    volume_cap,
)

pytestmark = pytest.mark.nojit

COUNTS = st.integers(0, 500)
SUMS = st.floats(0, 1e6)


def sizing(**changes: float) -> np.void:
    """Kelly's rules with a prior that weighs next to nothing."""
    rules = np.zeros(1, np.dtype(SIZING_FIELDS))
    plain = {
        "kelly_fraction": 1.0,
        "max_risk_fraction": 1.0,
        "prior_trades": 1e-12,
        "prior_win_rate": 0.5,
        "prior_payoff": 1.0,
    }
    for name, value in {**plain, **changes}.items():
        rules[name] = value
    return rules[0]


@pytest.mark.parametrize(
    ("wins", "losses", "gain_sum", "loss_sum", "share"),
    [
        (6, 4, 600.0, 200.0, 0.4),  # p 0.6, W 100, L 50: 0.6 - 0.4 / 2
        (5, 5, 500.0, 500.0, 0.0),  # a fair coin
        (5, 5, 1_000.0, 500.0, 0.25),  # that pays double: 0.5 - 0.5 / 2
        (4, 6, 400.0, 600.0, 0.0),  # 0.4 - 0.6 is no bet, not the other side
        (9, 1, 90.0, 90.0, 0.0),  # W 10, L 90: 0.9 - 0.1 * 9
        (10, 0, 50.0, 0.0, 1.0),  # nothing lost yet: the prior's payoff, p = 1
        (0, 10, 0.0, 50.0, 0.0),
    ],
)
def test_kellys_share_of_equity_at_risk(wins, losses, gain_sum, loss_sum, share):
    risk = kelly_risk(sizing(), wins, losses, gain_sum, loss_sum)
    assert risk == pytest.approx(share, abs=1e-9)


def test_a_quarter_of_the_worked_example():
    assert kelly_risk(sizing(kelly_fraction=0.25), 6, 4, 600.0, 200.0) == pytest.approx(0.1)
    capped = sizing(kelly_fraction=0.25, max_risk_fraction=0.02)
    assert kelly_risk(capped, 6, 4, 600.0, 200.0) == 0.02


def test_a_stake_that_loses_half_is_twice_the_share_at_risk():
    """The growth of wealth is greatest at a stake of 0.8 whose losses take half of it.

    A win pays the stake, a loss takes half of it: the wealth is multiplied by 1 + s with p = 0.6
    and by 1 - s / 2 otherwise. What is at risk is s / 2 = 0.4, the share of the worked example.
    """
    stakes = np.linspace(0.0, 1.9, 1901)
    growth = 0.6 * np.log(1 + stakes) + 0.4 * np.log(1 - stakes / 2)
    best = stakes[np.argmax(growth)]
    assert best == pytest.approx(0.8, abs=1e-3)
    assert best / 2 == pytest.approx(kelly_risk(sizing(), 6, 4, 600.0, 200.0), abs=1e-3)


def test_the_prior_speaks_first_and_fades():
    """20 imagined trips at 0.55 and a payoff of 1 begin with 0.55 - 0.45 = 0.1.

    After 6 wins of 100 and 4 losses of 50: p = (6 + 11) / 30, payoff = (20 * 1 + 4 * 2) / 24.
    """
    rules = sizing(prior_trades=20.0, prior_win_rate=0.55, prior_payoff=1.0)
    assert kelly_risk(rules, 0, 0, 0.0, 0.0) == pytest.approx(0.1)
    p, payoff = 17 / 30, 28 / 24
    assert kelly_risk(rules, 6, 4, 600.0, 200.0) == pytest.approx(p - (1 - p) / payoff)
    assert kelly_risk(rules, 6_000, 4_000, 6e5, 2e5) == pytest.approx(0.4, abs=2e-3)


@given(COUNTS, COUNTS, SUMS, SUMS, st.floats(0.01, 1), st.floats(0.001, 0.5))
def test_the_share_stays_between_nothing_and_the_most(wins, losses, gains, lost, fraction, most):
    rules = sizing(kelly_fraction=fraction, max_risk_fraction=most, prior_trades=20.0)
    risk = kelly_risk(rules, wins, losses, gains, lost)
    assert 0.0 <= risk <= most


def test_what_is_at_risk_is_lost_on_the_distance():
    """2 % of 50,000 over a distance of 40 at one dollar a step: 25 steps lose 1,000."""
    assert at_risk(0.02, 50_000.0, 40.0, 1.0) == pytest.approx(25.0)
    assert at_risk(0.02, 50_000.0, 0.0, 1.0) == 0.0
    assert at_risk(0.02, 50_000.0, float("nan"), 1.0) == 0.0


def test_a_volatility_target_holds_the_deviation_of_equity():
    """ATR 16 is a deviation of 10.03; 1 % of 10,000 is 100: 9.97 steps of a dollar."""
    rules = sizing(sizing_method=VOLATILITY_TARGET, target_volatility=0.01)
    steps = full_size(rules, 10_000.0, 2_000.0, 16.0, 1.0)
    assert steps == pytest.approx(100.0 / (16.0 / sqrt(8 / pi)))
    assert full_size(rules, 10_000.0, 2_000.0, 0.0, 1.0) == 0.0
    assert full_size(rules, -5.0, 2_000.0, 16.0, 1.0) == 0.0


def test_the_mean_range_of_a_random_walk():
    rng = np.random.default_rng(2)
    walks = np.cumsum(rng.standard_normal((1_000, 1_000)) / sqrt(1_000), axis=1)
    ranges = np.maximum(walks.max(axis=1), 0.0) - np.minimum(walks.min(axis=1), 0.0)
    assert ranges.mean() == pytest.approx(RANGE_PER_DEVIATION, rel=0.05)


def test_the_cap_by_volume():
    """5 % of 300 lots are 15 lots, 1,500 steps of 0.01; unrecorded volume caps nothing."""
    rules = sizing(max_volume_share=0.05)
    assert volume_cap(rules, 300.0, 0.01) == pytest.approx(1_500.0)
    assert volume_cap(rules, 0.0, 0.01) == inf


@pytest.mark.parametrize(
    ("action", "held", "steps"),
    [
        (1.0, 21, 21),  # 4 steps
        (1.0, 20, 25),  # 5 steps are enough
        (0.8, 24, 24),
        (-1.0, -21, -21),
        (0.0, 2, 0),  # out is out
        (-0.1, 2, -2),  # and so is the other side
        (0.1, 0, 2),
    ],
)
def test_small_changes_on_the_same_side_are_left_alone(action, held, steps):
    rules = sizing(min_change=5.0)
    assert target_steps(rules, action, 25.0, held, 1, 1_000) == steps
