"""Flat is always a candidate, and the best of many noisy checkpoints is still noise."""

from __future__ import annotations

import re
from math import inf, isfinite, nan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.training.selection import FLAT, Score, Selection, expected_maximum

BARS, CHECKPOINTS = 1000, 12


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


@pytest.mark.parametrize("k", [2, 5, 12, 50])
def test_expected_maximum_is_what_simulation_finds(k):
    drawn = np.random.default_rng(0).standard_normal((20_000, k)).max(axis=1).mean()
    assert expected_maximum(k) == pytest.approx(drawn, abs=0.06)


def test_the_best_of_one_or_none_is_expected_at_zero():
    assert expected_maximum(0) == expected_maximum(1) == 0.0


def test_score_by_hand():
    score = Score.of(np.array([1.0, -1.0, 3.0, 1.0]), np.array([0.02, -0.02, 0.04, 0.0]))
    downside = sqrt(0.02**2 / 4)
    deviation = sqrt((0.01**2 + 0.03**2 + 0.03**2 + 0.01**2) / 4)
    assert score.mean_reward == 1.0
    assert score.sortino == pytest.approx(0.01 / downside)
    assert score.standard_error == pytest.approx(deviation / (sqrt(4) * downside))


@pytest.mark.parametrize(("returns", "sortino"), [([0.0, 0.0], 0.0), ([0.1, 0.2], inf)])
def test_a_run_without_a_loss(returns, sortino):
    assert Score.of(np.array([1.0, 2.0]), np.array(returns)).sortino == sortino


def test_a_policy_that_never_trades_is_no_better_than_flat():
    selection = Selection()
    assert not selection.offer(Score.of(np.zeros(10), np.zeros(10)), 1000)
    assert not selection.learned


def test_flat_wins_on_noise_that_pays_costs():
    learned = np.mean([selection.learned for selection in selections(-0.05, 400)])
    assert learned <= 0.02


def test_noise_beats_flat_no_oftener_than_the_best_of_k_beats_its_expectation():
    """The best of twelve draws exceeds its own expected value in about 45 % of all trainings."""
    learned = np.mean([selection.learned for selection in selections(0.0, 400)])
    assert learned <= 0.52


def test_what_is_selected_clears_the_hurdle_of_all_that_were_tried():
    for selection in selections(0.0, 200):
        if selection.learned:
            hurdle = expected_maximum(selection.tried) * selection.best.standard_error
            assert selection.best.sortino > hurdle, selection.sentence()


def test_a_real_edge_is_selected():
    assert all(selection.learned for selection in selections(0.15, 50))


def test_a_higher_reward_alone_is_not_enough():
    selection = Selection(tried=CHECKPOINTS - 1)
    lucky = Score(mean_reward=0.1, sortino=1.5, standard_error=1.0)
    assert not selection.offer(lucky, 1000)
    assert selection.offer(Score(0.1, 1.8, 1.0), 2000)


def test_a_higher_ratio_alone_is_not_enough():
    selection = Selection(best=Score(0.5, 3.0, 0.1), best_frames=1000, tried=1)
    assert not selection.offer(Score(0.5, 9.0, 0.1), 2000)
    assert selection.best_frames == 1000 and selection.tried == 2


@given(
    st.tuples(*[st.sampled_from([nan, -1.0, 0.0, 1.0, inf])] * 3).filter(
        lambda values: any(value != value for value in values)
    )
)
def test_a_score_that_is_no_number_never_wins(values):
    selection = Selection()
    assert not selection.offer(Score(*values), 1000)
    assert selection.best == FLAT and selection.tried == 1


def test_a_diverged_pass_scores_nan_and_loses():
    with np.errstate(invalid="ignore"):
        score = Score.of(np.array([0.1, nan, 0.2]), np.array([0.1, nan, 0.1]))
    assert not Selection().offer(score, 1000)


def test_sentences():
    selection = Selection()
    selection.offer(Score(-0.1, -0.2, 0.1), 1000)
    assert re.search(r"None of 1 checkpoints beat flat.*stays flat", selection.sentence())
    selection.offer(Score(0.25, 0.75, 0.1), 2_000_000)
    told = selection.sentence()
    assert "checkpoint at 2,000,000 frames" in told and "from 2" in told
    assert "0.25000 per bar" in told and "0.7500 per bar" in told
    assert f"{expected_maximum(2) * 0.1:.4f}" in told and isfinite(selection.best.sortino)
