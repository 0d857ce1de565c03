"""Relative value iteration and closed forms, against brute force, known numbers and each other."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.errors import ConfigError
from mtquant.market.planted import SlowAlpha
from mtquant.research.closed_forms import garleanu_pedersen, lead_lag_value
from mtquant.research.iteration import (
    Chain,
    Terms,
    best_by_running_maximum,
    best_positions,
    habits,
    solve,
)
from mtquant.research.optimum import factor_chain


def long_run(transition: np.ndarray, reward: np.ndarray, start: np.ndarray) -> float:
    """Mean reward per bar of a Markov chain, from the mean of its first 2^12 powers."""
    mean, power = np.eye(len(reward)), transition
    for _ in range(12):
        mean, power = 0.5 * (mean + power @ mean), power @ power
    return float(start @ mean @ reward)


@pytest.mark.parametrize("cost", [0.05, 0.4])
@pytest.mark.parametrize("penalty", [0.0, 0.6])
def test_no_other_policy_of_a_small_market_is_better(cost: float, penalty: float) -> None:
    chain = Chain(
        state=np.array([0.0, 1.0]),
        transition=np.array([[0.8, 0.2], [0.3, 0.7]]),
        mean=np.array([0.25, -0.2]),
        down_long=np.array([0.3, 0.7]),
        down_short=np.array([0.8, 0.25]),
    )
    grid = (-1.0, 0.0, 1.0)
    start = np.zeros(6)
    start[2:4] = 0.6, 0.4  # flat, in the shares of the states
    best = -math.inf
    for policy in itertools.product(range(3), repeat=6):  # by position before, then state
        transition, reward = np.zeros((6, 6)), np.zeros(6)
        for (before, state), after in zip(
            itertools.product(range(3), range(2)), policy, strict=True
        ):
            row, x = 2 * before + state, grid[after]
            down = chain.down_long[state] if x > 0 else chain.down_short[state]
            reward[row] = x * chain.mean[state] - penalty / 2 * x * x * down
            reward[row] -= cost * abs(x - grid[before])
            transition[row, 2 * after : 2 * after + 2] = chain.transition[state]
        best = max(best, long_run(transition, reward, start))
    terms = Terms(cost, 0.0, penalty)
    solution = solve(chain, terms, n_positions=3)
    # The first bars, before the chain settles, are in the long run of the enumeration.
    assert solution.value == pytest.approx(best, abs=3e-4)
    assert habits(chain, terms, solution).value == pytest.approx(solution.value, abs=1e-6)


@given(seed=st.integers(0, 2**32), cost=st.floats(0.0, 2.0))
def test_the_running_maximum_is_the_maximum(seed: int, cost: float) -> None:
    grid = np.linspace(-1, 1, 7)
    worth = np.random.default_rng(seed).standard_normal((7, 3))
    terms = Terms(cost)
    net = worth[None] - cost * np.abs(grid[:, None] - grid)[:, :, None]
    np.testing.assert_allclose(
        best_by_running_maximum(worth, grid, terms), net.max(axis=1), atol=1e-12
    )
    chosen = best_positions(worth, grid, terms)
    at = np.searchsorted(grid, chosen - 1e-9)
    np.testing.assert_allclose(
        np.take_along_axis(net, at[:, None], axis=1)[:, 0], net.max(axis=1), atol=1e-11
    )


def test_of_equal_positions_the_one_held_is_kept() -> None:
    grid = np.linspace(-1, 1, 5)
    assert (best_positions(np.zeros((5, 1)), grid, Terms(0.0))[:, 0] == grid).all()


def test_garleanu_and_pedersen_by_known_numbers() -> None:
    policy = garleanu_pedersen(
        edge=0.04, phi=0.95, risk_aversion=1.0, cost_quadratic=20.0, discount=0.0005
    )
    assert policy.rate == pytest.approx(0.19977780, abs=1e-7)
    assert policy.aim == pytest.approx(0.03333951, abs=1e-7)
    with pytest.raises(ConfigError, match="risk_aversion 0"):
        garleanu_pedersen(0.04, 0.95, 0.0, 20.0)


@pytest.mark.parametrize(("phi", "lam"), [(0.95, 20.0), (0.80, 2.0)])
def test_value_iteration_finds_garleanu_and_pedersen(phi: float, lam: float) -> None:
    edge, gamma = 0.04, 1.0
    chain = factor_chain(SlowAlpha(phi=phi, rho=edge))
    # Risk the same on either side and in every state, as theirs is.
    chain = replace(chain, down_long=np.ones(201), down_short=np.ones(201))
    solution = solve(chain, Terms(0.0, lam, gamma))
    policy = garleanu_pedersen(edge, phi, gamma, lam)
    middle, central = solution.grid.size // 2, slice(40, 161)  # +-3 standard deviations
    np.testing.assert_allclose(
        solution.policy[:, 100], (1.0 - policy.rate) * solution.grid, atol=1e-5
    )
    aims = policy.rate * policy.aim * chain.state
    np.testing.assert_allclose(solution.policy[middle, central], aims[central], atol=2e-5)
    assert solution.value == pytest.approx(policy.value(edge, phi, gamma, lam), rel=3e-3)


def test_the_worth_of_partial_adjustment_by_simulation() -> None:
    edge, phi, gamma, lam = 0.3, 0.9, 1.0, 2.0
    policy = garleanu_pedersen(edge, phi, gamma, lam)
    rng = np.random.default_rng(3)
    f, x, total = rng.standard_normal(4_000), np.zeros(4_000), []
    for bar in range(300):
        after = x + policy.rate * (policy.aim * f - x)
        if bar >= 100:
            net = edge * f * after - 0.5 * gamma * after**2 - 0.5 * lam * (after - x) ** 2
            total.append(net.mean())
        x, f = after, phi * f + math.sqrt(1.0 - phi**2) * rng.standard_normal(4_000)
    assert np.mean(total) == pytest.approx(policy.value(edge, phi, gamma, lam), rel=0.02)


def test_two_calls_by_hand() -> None:
    # phi(0.5) = 0.352065, Phi(-0.5) = 0.308538; phi(0.05) = 0.398444, Phi(-0.05) = 0.480061.
    assert lead_lag_value(0.10, 0.05) == pytest.approx(2 * (0.0352065 - 0.0154269), abs=1e-6)
    assert lead_lag_value(1.0, 0.05) == pytest.approx(2 * (0.398444 - 0.0240031), abs=2e-6)
    with pytest.raises(ConfigError, match="needs rho in"):
        lead_lag_value(0.0, 0.05)
