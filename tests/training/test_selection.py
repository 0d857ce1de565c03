"""Flat is always a candidate, and the best of many noisy checkpoints is still noise."""

from __future__ import annotations

import re
from math import inf, nan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.training import selection as selecting
from mtquant.training.selection import FLAT, Score, Selection, highest_by_chance

BARS, CHECKPOINTS = 1000, 12
TRAININGS = [100, pytest.param(1000, marks=pytest.mark.slow)]


@pytest.fixture
def fewer_draws(monkeypatch):
    """A quarter of them: the hurdle's error is twice as large, a hundredth of the hurdle."""
    monkeypatch.setattr(selecting, "DRAWS", 5000)


def run_of(rng: np.random.Generator, mean: float) -> Score:
    """A pass over bars whose returns have unit deviation and this mean."""
    returns = rng.standard_normal(BARS) + mean
    return Score.of(returns, 1e-3 * returns)


def selections(mean: float, count: int) -> list[Selection]:
    """Whole trainings, each of twelve independent checkpoints of the same worth."""
    rng, finished = np.random.default_rng(1), []
    for _ in range(count):
        selection = Selection()
        for checkpoint in range(CHECKPOINTS):
            selection.offer(run_of(rng, mean), 1000 * (checkpoint + 1))
        finished.append(selection)
    return finished


@pytest.mark.parametrize(("k", "quantile"), [(1, 1.645), (2, 1.955), (12, 2.632), (50, 3.083)])
def test_the_hurdle_of_independent_checkpoints_by_table(k, quantile):
    """The 95 % quantile of the largest of k normals: Phi(q)^k = 0.95."""
    assert highest_by_chance(np.eye(k)) == pytest.approx(quantile, abs=0.03)


def test_a_checkpoint_that_repeats_another_raises_no_hurdle():
    assert highest_by_chance(np.ones((12, 12))) == pytest.approx(1.645, abs=0.03)
    assert highest_by_chance(np.zeros((3, 3))) == 0.0


def test_hurdle_of_nothing_tried():
    assert Selection().hurdle == 0.0


def test_score_by_hand():
    score = Score.of(np.array([1.0, -1.0, 3.0, 1.0]), np.array([0.02, -0.02, 0.04, 0.0]))
    downside = sqrt((0.03**2 + 0.01**2) / 4)  # about the mean of 0.01
    assert score.mean_reward == 1.0
    assert score.sortino == pytest.approx(0.01 / downside)
    np.testing.assert_allclose(score.shocks * downside, [0.01, -0.03, 0.03, -0.01], rtol=1e-6)


@pytest.mark.parametrize(("returns", "sortino"), [([0.0, 0.0], 0.0), ([0.5, 0.5], inf)])
def test_a_run_on_which_nothing_moves(returns, sortino):
    assert Score.of(np.array([1.0, 2.0]), np.array(returns)).sortino == sortino


def test_a_policy_that_never_trades_is_no_better_than_flat():
    selection = Selection()
    assert not selection.offer(Score.of(np.zeros(10), np.zeros(10)), 1000)
    assert not selection.learned


def test_flat_wins_on_noise_that_pays_costs(fewer_draws):
    learned = np.mean([selection.learned for selection in selections(-0.02, 100)])
    assert learned <= 0.02


@pytest.mark.parametrize("trainings", TRAININGS)
def test_noise_beats_flat_in_one_of_twenty_trainings(fewer_draws, trainings):
    learned = np.mean([selection.learned for selection in selections(0.0, trainings)])
    assert 0.02 <= learned <= 0.08


@pytest.mark.parametrize("trainings", TRAININGS)
def test_noise_beats_flat_no_oftener_where_checkpoints_resemble_each_other(fewer_draws, trainings):
    """Each checkpoint does nine tenths of what the one before it did."""
    rng, learned = np.random.default_rng(2), 0
    for _ in range(trainings):
        selection, run = Selection(), rng.standard_normal(BARS)
        for checkpoint in range(CHECKPOINTS):
            run = 0.9 * run + sqrt(1 - 0.9**2) * rng.standard_normal(BARS)
            selection.offer(Score.of(run, 1e-3 * run), 1000 * (checkpoint + 1))
        learned += selection.learned
    assert 0.02 * trainings <= learned <= 0.08 * trainings


def test_what_is_selected_clears_the_hurdle_of_all_that_were_tried(fewer_draws):
    for selection in selections(0.02, 50):
        if selection.learned:
            assert len(selection.tried) == CHECKPOINTS
            assert selection.best.sortino > Selection(tried=selection.tried).hurdle


def test_a_real_edge_is_selected(fewer_draws):
    assert all(selection.learned for selection in selections(0.07, 50))


def tried(mean_reward: float, sortino: float) -> Score:
    """A pass of four bars, whose ratio has a standard error of 1/2."""
    return Score(mean_reward, sortino, np.array([1.0, -1.0, 1.0, -1.0], np.float32))


def test_a_higher_reward_alone_is_not_enough():
    selection = Selection()
    assert not selection.offer(tried(0.1, 0.75), 1000)  # 1.5 standard errors of 1.645
    assert selection.offer(tried(0.1, 0.9), 2000)


def test_a_higher_ratio_alone_is_not_enough():
    selection = Selection()
    assert selection.offer(tried(0.5, 3.0), 1000)
    assert not selection.offer(tried(0.5, 9.0), 2000)
    assert selection.best_frames == 1000 and len(selection.tried) == 2


def test_a_selection_is_restored():
    selection = Selection()
    selection.offer(tried(0.5, 3.0), 1000)
    again = Selection.from_dict(selection.to_dict(), selection.tried)
    assert again.learned and again.hurdle == selection.hurdle
    assert again.sentence() == selection.sentence()


@given(
    st.tuples(*[st.sampled_from([nan, -1.0, 0.0, 1.0, inf])] * 2).filter(
        lambda values: any(value != value for value in values)
    )
)
def test_a_score_that_is_no_number_never_wins(values):
    selection = Selection()
    assert not selection.offer(tried(*values[:2]), 1000)
    assert selection.best is FLAT and len(selection.tried) == 1


def test_a_diverged_pass_scores_nan_and_loses():
    with np.errstate(invalid="ignore"):
        score = Score.of(np.array([0.1, nan, 0.2]), np.array([0.1, nan, 0.1]))
    assert not Selection().offer(score, 1000)


def test_a_diverged_pass_does_not_move_the_hurdle_of_the_others():
    selection = Selection()
    with np.errstate(invalid="ignore"):
        selection.offer(Score.of(np.array([nan] * 4), np.array([0.1, nan, -0.1, 0.0])), 1000)
    assert selection.offer(tried(0.1, 0.9), 2000)


def test_sentences():
    selection = Selection()
    selection.offer(tried(-0.1, -0.2), 1000)
    assert re.search(r"None of 1 checkpoints beat flat.*stays flat", selection.sentence())
    selection.offer(tried(0.25, 0.95), 2_000_000)
    told = selection.sentence()
    assert "checkpoint at 2,000,000 frames" in told and "from 2" in told
    assert "0.25000 per bar" in told and "0.9500 per bar" in told
    assert f"{selection.hurdle:.4f}" in told
