from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.sim.records import RULES
from mtquant.sim.reward import sortino_reward

pytestmark = pytest.mark.nojit

MONEY = st.floats(-5_000, 5_000)


def rules(penalty: float = 0.05, scale: float = 0.01) -> np.void:
    row = np.zeros(1, RULES)
    row["downside_penalty"], row["reward_scale"] = penalty, scale
    return row[0]


@pytest.mark.parametrize(
    ("gross", "change", "reward"),
    [
        # equity 10,000 and scale 0.01: the unit is 100
        (0.0, 0.0, 0.0),
        (100.0, 100.0, 1.0),
        (-100.0, -100.0, -1.025),  # less 0.05 / 2
        (-200.0, -200.0, -2.1),  # the penalty is quadratic
        (100.0, 90.0, 0.9),  # 10 of costs count once
        (-100.0, -110.0, -1.125),
        (0.0, 20.0, 0.2),  # a swap credit
        (0.0, -20.0, -0.2),  # costs are no downside
    ],
)
def test_reward(gross, change, reward):
    assert sortino_reward(rules(), gross, change, 10_000.0) == pytest.approx(reward)


@given(MONEY, MONEY, st.floats(100, 1e6))
def test_without_the_penalty_it_is_the_change_of_equity(gross, change, equity):
    reward = sortino_reward(rules(penalty=0.0), gross, change, equity)
    assert reward == pytest.approx(change / (0.01 * equity), abs=1e-6)


@given(MONEY, MONEY, st.floats(100, 1e6), st.floats(0.0, 1.0))
def test_the_penalty_only_takes_and_only_from_losses(gross, change, equity, penalty):
    free = sortino_reward(rules(penalty=0.0), gross, change, equity)
    charged = sortino_reward(rules(penalty=penalty), gross, change, equity)
    assert charged <= free
    if gross >= 0.0:
        assert charged == free


def test_after_ruin_it_stays_finite():
    assert np.isfinite(sortino_reward(rules(), 0.0, 0.0, -500.0))


def test_the_best_scale_is_worth_the_squared_sortino_over_twice_lambda():
    """max over k of the mean reward of k times a strategy is mu^2 / (2 lambda delta^2)."""
    rng = np.random.default_rng(3)
    g = 0.02 + 0.5 * rng.standard_normal(20_000)
    mean, downside = g.mean(), np.sqrt(np.mean(np.minimum(g, 0.0) ** 2))
    penalty = 0.5
    best = mean**2 / (2 * penalty * downside**2)
    row = rules(penalty=penalty, scale=1.0)
    scales = mean / (penalty * downside**2) * np.array([0.8, 1.0, 1.2])
    means = [np.mean([sortino_reward(row, k * x, k * x, 1.0) for x in g]) for k in scales]
    assert means[1] == pytest.approx(best, rel=1e-9)
    assert max(means) == means[1]
