"""A policy with memory: the state that goes in comes from the bar before, and from nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.agents.base import Agent, Remembers
from mtquant.agents.policy import OnnxPolicy
from mtquant.errors import BundleError

READ = ((0.5, -1.0), (0.25, 0.0), (0.0, 2.0))
ACT = (1.0, -0.5)


@pytest.fixture
def policy(memory_policy):
    return OnnxPolicy(memory_policy(READ, ACT), name="m", inputs=("a", "b"), burn_in=9)


def by_hand(rows, starts=()):
    """The recursion of the fixture's docstring, in double precision."""
    hidden = cell = np.zeros(2)
    actions = []
    for step, row in enumerate(rows):
        if step in starts:
            hidden = cell = np.zeros(2)
        cell = 0.5 * cell + 0.25 * hidden + row.astype(np.float64) @ np.array(READ)
        hidden = np.tanh(cell)
        actions.append(float(np.clip(hidden @ np.array(ACT), -1.0, 1.0)))
    return actions, np.stack([hidden, cell])


def rolled(policy, rows, starts=()):
    state, actions = None, []
    for step, row in enumerate(rows):
        action, state = policy.predict(row, state, np.array([step in starts]))
        assert action.shape == (1,) and action.dtype == np.float32
        actions.append(float(action[0]))
    return actions, state


def test_it_says_that_it_remembers(policy, linear_policy):
    assert isinstance(policy, Agent) and isinstance(policy, Remembers)
    assert (policy.width, policy.state_shape, policy.burn_in) == (3, (2, 1, 2), 9)
    plain = OnnxPolicy(linear_policy([1.0]), name="p", inputs=("a",))
    assert plain.state_shape == () and plain.burn_in == 0


def test_each_bar_goes_on_from_the_one_before(policy):
    rows = np.random.default_rng(1).normal(0.0, 0.7, (40, 3)).astype(np.float32)
    actions, state = rolled(policy, rows)
    expected, memory = by_hand(rows)
    np.testing.assert_allclose(actions, expected, atol=1e-5)
    np.testing.assert_allclose(state[:, 0], memory, atol=1e-5)
    assert len(set(actions)) > 30


def test_an_episode_begins_with_an_empty_memory(policy):
    rows = np.random.default_rng(2).normal(0.0, 0.7, (30, 3)).astype(np.float32)
    actions, _ = rolled(policy, rows, starts=(0, 13))
    np.testing.assert_allclose(actions, by_hand(rows, starts=(0, 13))[0], atol=1e-5)
    assert actions[13:] == rolled(policy, rows[13:])[0]


def test_a_state_handed_in_is_not_written_to(policy):
    state = np.full((2, 1, 2), 0.5, np.float32)
    _, after = policy.predict(np.ones(3, np.float32), state)
    assert (state == 0.5).all() and not np.array_equal(after, state)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_not_remembered(policy, bad):
    _, before = policy.predict(np.array([1.0, 0.5, 0.0], np.float32))
    action, after = policy.predict(np.array([0.0, bad, 0.0], np.float32), before)
    assert np.isnan(action).all() and action.shape == (1,)
    np.testing.assert_array_equal(after, before)


def test_a_model_that_gives_another_state_than_it_takes_is_refused(memory_policy):
    model = memory_policy(READ, ACT, out=(2, 1, 3))
    with pytest.raises(BundleError, match=r"shape \[2, 1, 2\] and gives|is no usable ONNX policy"):
        OnnxPolicy(model, name="m", inputs=())
