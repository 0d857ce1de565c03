"""The other rewards, each against numbers worked out by hand."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.sim.account import empty_book
from mtquant.sim.observation import account_features
from mtquant.sim.reward import REWARDS, other_reward
from mtquant.sim.simulator import Simulator

pytestmark = pytest.mark.nojit

RATIO = {"reward_window": 3, "deviation_floor": 0.1, "trade_penalty": 0.003}
DIFFERENTIAL = {"adaptation": 0.1, "deviation_floor": 0.1, "reward_clip": 10.0}


@pytest.fixture(scope="session")
def rewards(toy_bars, toy_tape):
    """Rewards of a row of returns, and the book after them; the reward's unit is 1 %."""

    def of(kind, returns, deals=(), **rules):
        chosen = {"reward_kind": REWARDS[kind], **rules}
        tape = toy_tape(toy_bars([(100.0,) * 4] * 2), **chosen)
        book = empty_book(1, 1, tape.rules[0])
        equity, rewarded = 10_000.0, []
        for bar, change in enumerate(returns):
            before, equity = equity, equity * (1.0 + change)
            book.account["equity"], book.account["bars"] = equity, bar
            book.account["n_deals"] = deals[bar] if bar < len(deals) else 0
            rewarded.append(other_reward(book, tape, 0, before))
        return rewarded, book

    return of


def test_log_return(rewards):
    """In units of 1 %; a bar that loses everything counts as losing 99 %."""
    found, _ = rewards("log_return", [0.02, -0.5, -1.0])
    assert found == pytest.approx([100 * log(1.02), 100 * log(0.5), 100 * log(0.01)])
    sums, book = rewards("log_return", [0.03, -0.02, 0.01])
    assert sum(sums) == pytest.approx(100 * log(book.account["equity"][0] / 10_000.0))


def test_sortino_ratio(rewards):
    """Window 3, floor 0.1 of 1 %, 0.003 a deal.

    First 0.01 / floor 0.001. Then the mean -0.005 over the root of 0.02^2 / 2. Then 0.02 / 3 over
    the root of 0.02^2 / 3. The fourth bar pushes the first one out.
    """
    found, _ = rewards("sortino_ratio", [0.01, -0.02, 0.03, 0.0], deals=[1, 0, 2, 0], **RATIO)
    expected = [
        0.01 / 0.001 - 0.003,
        -0.005 / (0.02 / sqrt(2)),
        (0.02 / 3) / (0.02 / sqrt(3)) - 0.006,
        (0.01 / 3) / (0.02 / sqrt(3)),
    ]
    assert found == pytest.approx(expected)


def test_sortino_ratio_counts_from_the_risk_free_rate(rewards):
    """0.01 and 0.03 less 0.02: mean 0, nothing gained."""
    found, _ = rewards("sortino_ratio", [0.01, 0.03], **RATIO, risk_free=0.02)
    assert found == pytest.approx([-1.0, 0.0])


def test_differential_sharpe(rewards):
    """Eta 0.1, after a first bar of 2 %: A = 0.002, B = 0.00004.

    The second of 1 %: dA = 0.008, dB = 0.00006, variance 0.000036 and deviation 0.006.
    """
    found, book = rewards("differential_sharpe", [0.02, 0.01], **DIFFERENTIAL)
    assert found[0] == 0.0  # there is nothing to be better than
    assert found[1] == pytest.approx((0.00004 * 0.008 - 0.5 * 0.002 * 0.00006) / 0.006**3)
    assert book.account["mean_return"][0] == pytest.approx(0.002 + 0.1 * 0.008)
    assert book.account["square_return"][0] == pytest.approx(0.00004 + 0.1 * 0.00006)


def test_differential_downside(rewards):
    """Eta 0.1, after a first bar of -2 %: A = -0.002, D^2 = 0.00004.

    A gain of 1 %: 0.011 over D; a loss of 1 %: (0.00004 * -0.009 + 0.001 * 0.0001) over D^3.
    """
    deviation = sqrt(0.00004)
    up, book = rewards("differential_downside", [-0.02, 0.01], **DIFFERENTIAL)
    assert up[0] == -10.0  # -0.02 over the floor 0.001 is clipped
    assert up[1] == pytest.approx(0.011 / deviation)
    assert book.account["square_return"][0] == pytest.approx(0.9 * 0.00004)
    down, book = rewards("differential_downside", [-0.02, -0.01], **DIFFERENTIAL)
    assert down[1] == pytest.approx((0.00004 * -0.009 + 0.001 * 0.0001) / deviation**3)
    assert book.account["square_return"][0] == pytest.approx(0.00004 + 0.1 * 0.00006)


@pytest.mark.parametrize("kind", ["differential_sharpe", "differential_downside"])
def test_a_differential_ratio_is_the_slope_of_the_fading_ratio(rewards, kind):
    """Numerically: how the ratio changes as the newest return is given a little weight."""
    rng = np.random.default_rng(4)
    returns = (0.001 + 0.01 * rng.standard_normal(60)).tolist()
    for last in (0.013, -0.017):
        before = rewards(kind, returns, **DIFFERENTIAL)[1].account[0]
        found = rewards(kind, [*returns, last], **DIFFERENTIAL)[0][-1]
        a, b = float(before["mean_return"]), float(before["square_return"])
        sharpe = kind == "differential_sharpe"
        newest = last**2 if sharpe else min(last, 0.0) ** 2
        values = []
        for eta in (1e-6, -1e-6):
            mean, square = a + eta * (last - a), b + eta * (newest - b)
            values.append(mean / sqrt(square - mean * mean if sharpe else square))
        slope = (values[0] - values[1]) / 2e-6
        assert found == pytest.approx(slope, rel=1e-4)


@given(st.lists(st.floats(-0.9, 2.0), min_size=1, max_size=30), st.sampled_from(sorted(REWARDS)))
@settings(max_examples=60, deadline=None)
def test_they_are_finite_whatever_happens(rewards, returns, kind):
    if kind == "sortino":
        return
    rules = {**RATIO, **(DIFFERENTIAL if "differential" in kind else {})}
    found, book = rewards(kind, [*returns, -1.0, 0.0], deals=[4] * 40, **rules)
    assert np.isfinite(found).all()
    assert book.account["square_return"][0] >= 0.0
    if "differential" in kind:
        assert np.abs(found).max() <= 10.0


def test_moments_are_observed_where_there_is_room(toy_bars, toy_tape):
    """Mean 0.003 over deviation 0.01 is 0.3: 0.3 / 1.3; the deviation is 1 %: 1 / 2."""
    tape = toy_tape(toy_bars([(100.0,) * 4] * 2), **DIFFERENTIAL)
    plain = toy_tape(toy_bars([(100.0,) * 4] * 2))
    book = empty_book(1, 1)
    for name in ("equity", "peak", "day_start"):
        book.account[name] = 10_000.0
    book.account["mean_return"], book.account["square_return"] = 0.003, 0.0001
    wide, narrow = np.full((1, 10), 9.0, np.float32), np.full((1, 8), 9.0, np.float32)
    account_features(book, tape, 0, 0, wide, 0)
    account_features(book, tape, 0, 0, narrow, 0)
    np.testing.assert_array_equal(wide[:, :8], narrow)
    np.testing.assert_allclose(wide[0, 8:], [0.3 / 1.3, 0.5], rtol=1e-6)
    account_features(book, plain, 0, 0, wide, 0)
    np.testing.assert_array_equal(wide[:, :8], narrow)
    book.account["square_return"] = 0.0
    account_features(book, tape, 0, 0, wide, 0)
    assert wide[0, 8:].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("kind", sorted(REWARDS))
def test_the_kernel_pays_the_chosen_reward(random_tape, kind):
    """Equity is the same under every reward; what is paid follows from it alone."""
    rules = {"reward_kind": REWARDS[kind], **RATIO}
    if "differential" in kind:
        rules |= DIFFERENTIAL
    tape, plain = random_tape(3, 1, **rules), random_tape(3, 1)
    ours, default = Simulator(tape), Simulator(plain)
    ours.book = ours.book._replace(returns=np.zeros((1, 3)))
    shadow = ours.book.copy()
    for simulator in (ours, default):
        simulator.place(0, 3, len(tape.market) - 1, 10_000.0)
    for bar, action in enumerate(np.random.default_rng(1).uniform(-1, 1, 30)):
        before = float(ours.book.account["equity"][0])
        _, reward, status = ours.step_lane(0, np.array([action], np.float32))
        _, usual, _ = default.step_lane(0, np.array([action], np.float32))
        assert ours.book.account["equity"][0] == default.book.account["equity"][0]
        shadow.account["equity"], shadow.account["bars"] = ours.book.account["equity"], bar
        shadow.account["n_deals"] = ours.book.account["n_deals"]
        if kind == "sortino":
            assert reward == usual
        else:
            assert reward == other_reward(shadow, tape, 0, before)
        if status:
            break
    assert bar > 5
