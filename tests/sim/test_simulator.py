from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from mtquant.risk.sizing import FIXED_AT_START, FIXED_FRACTIONAL
from mtquant.sim.kernel import RUNNING, TERMINATED, TRUNCATED
from mtquant.sim.observation import account_feature_names
from mtquant.sim.simulator import Simulator

pytestmark = pytest.mark.nojit


def play(tape, actions, start=0):
    simulator = Simulator(tape, bars_per_year=6_000.0)
    simulator.place(0, start, len(tape.market) - 1, tape.rules["capital"][0])
    equity, rewards, gross = [float(tape.rules["capital"][0])], [], []
    for action in actions:
        _, reward, status = simulator.step_lane(0, np.array([[action]], np.float32))
        account = simulator.book.account[0]
        close = tape.market["close"][account["cursor"], 0] * 0.01
        equity.append(float(account["equity"]))
        gross.append(abs(simulator.book.positions["steps"][0, 0]) * close / equity[-1])
        rewards.append(reward)
        if status != RUNNING:
            break
    return simulator, np.array(equity), np.array(rewards), np.array(gross), status


def test_the_summary_is_that_of_the_equity_curve(toy_bars, toy_spec, toy_tape):
    rng = np.random.default_rng(8)
    close = 100.0 + np.cumsum(rng.normal(0.0, 0.5, 40)).round(2)
    opening = np.concatenate([close[:1], close[:-1]])
    rows = np.stack([opening, np.maximum(opening, close), np.minimum(opening, close), close], 1)
    spec = toy_spec(commission_per_lot=3.5, swap_mode="points", swap_long=-9.0, swap_short=2.0)
    tape = toy_tape(toy_bars(rows), spec, slippage_points=2)
    actions = rng.choice([-1.0, -0.5, 0.0, 0.6, 1.0, np.nan], 39)
    simulator, equity, rewards, gross, status = play(tape, actions)
    assert status == TRUNCATED
    summary = simulator.summary()
    returns = np.diff(equity) / equity[:-1]
    assert summary.bars == 39
    assert summary.reward == pytest.approx(rewards.sum())
    assert summary.total_return == pytest.approx(equity[-1] / equity[0] - 1)
    assert summary.sharpe == pytest.approx(sqrt(6_000) * returns.mean() / returns.std())
    downside = np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2))
    assert summary.sortino == pytest.approx(sqrt(6_000) * returns.mean() / downside)
    falls = 1.0 - equity / np.maximum.accumulate(equity)
    assert summary.max_drawdown == pytest.approx(falls.max())
    assert summary.exposure == pytest.approx(gross.mean())
    account = simulator.book.account[0]
    assert summary.turnover == pytest.approx(account["traded"] / 10_000)
    costs = sum(account[name] for name in ("spread_cost", "slippage_cost", "commission", "swap"))
    assert summary.costs == pytest.approx(costs)
    assert summary.trades > 3


def test_trades_wins_and_holding_periods(toy_bars, toy_tape):
    """Long over +2 (won), short over +2 (lost), long over nothing (its spread is lost)."""
    levels = [100, 100, 102, 102, 104, 104, 104, 104]
    rows = [(x, x, x, x) for x in levels]
    tape = toy_tape(toy_bars(rows))
    actions = [0.1, 0.1, -0.1, -0.1, 0.1, 0.0, 0.0]
    simulator, *_ = play(tape, actions)
    summary = simulator.summary()
    # Opened at bars 1, 3 and 5, ended at the opens of bars 3, 5 and 6.
    assert summary.trades == 3
    assert summary.win_rate == pytest.approx(1 / 3)
    assert summary.average_holding_bars == pytest.approx((2 + 2 + 1) / 3)


def test_a_partial_profit_belongs_to_its_round_trip(toy_bars, toy_tape):
    """Most was sold 5 higher, the rest 2 lower: one trade, won."""
    rows = [(x, x, x, x) for x in (100, 100, 105, 105, 98, 98)]
    tape = toy_tape(toy_bars(rows))
    simulator, *_ = play(tape, [1.0, float("nan"), 0.3, 0.0, 0.0])
    summary = simulator.summary()
    assert (summary.trades, summary.win_rate) == (1, 1.0)


@pytest.mark.parametrize(
    ("spec", "won"),
    [
        ({}, 1.0),  # 10 * 0.40 = 4 USD
        ({"commission_per_lot": 19.0}, 1.0),  # less 2 * 1.90
        ({"commission_per_lot": 21.0}, 0.0),  # less 2 * 2.10
        ({"swap_mode": "money", "swap_long": -39.0}, 1.0),  # less 3.90
        ({"swap_mode": "money", "swap_long": -41.0}, 0.0),
    ],
)
def test_a_win_is_net_of_commission_and_swap(toy_bars, toy_spec, toy_tape, spec, won):
    rows = [(100.0, 100.0, 100.0, 100.0)] * 2 + [(100.5, 100.5, 100.5, 100.5)] * 2
    tape = toy_tape(toy_bars(rows, start="2024-01-02T22:00"), toy_spec(**spec))
    simulator, *_ = play(tape, [0.1, 0.0, 0.0])
    assert simulator.summary().trades == 1
    assert simulator.summary().win_rate == won


def test_nothing_traded_is_nothing_earned(toy_bars, toy_tape):
    simulator, *_ = play(toy_tape(toy_bars([(100, 101, 99, 100)] * 6)), [0.0] * 5)
    summary = simulator.summary()
    assert summary.bars == 5
    assert (summary.sharpe, summary.sortino, summary.win_rate, summary.trades) == (0, 0, 0, 0)
    assert (summary.total_return, summary.max_drawdown, summary.exposure) == (0, 0, 0)


def test_ruin_locks_the_account(toy_bars, toy_tape):
    rows = [(100, 100, 100, 100)] * 2 + [(50, 50, 50, 50)] * 5
    tape = toy_tape(toy_bars(rows), notional_fraction=50.0, max_exposure=50.0)
    simulator, equity, _, _, status = play(tape, [1.0, 1.0])
    assert status == TERMINATED
    assert equity[-1] < 0
    for _ in range(3):  # a backtest goes on and stays flat
        _, reward, status = simulator.step_lane(0, np.ones((1, 1), np.float32))
        assert (reward, status) == (0.0, TERMINATED)
        assert simulator.book.positions["steps"][0, 0] == 0
        assert simulator.book.account["equity"][0] == equity[-1]


def test_account_columns_are_bounded_and_mean_what_they_say(toy_bars, toy_tape):
    """The limit allows 200 steps, half of what |action| = 1 asks for until LEVEL_1 halves it."""
    rows = [(x, x, x, x) for x in (100, 100, 90, 90)]
    tape = toy_tape(
        toy_bars(rows),
        notional_fraction=4.0,
        max_exposure=2.0,
        daily_loss_level_1=0.1,
        daily_loss_level_2=0.3,
        daily_loss_level_3=0.5,
    )
    simulator = Simulator(tape)
    simulator.place(0, 0, 3, 10_000.0)
    go = np.ones((1, 1), np.float32)
    first = simulator.step_lane(0, go)[0][2:].copy()
    # Equity 9,980: full size 4 * 9,980 / 100 = 399.2 steps. Profit -0.2004 % squashed.
    loss = 20 / 9_980 * 100
    expected = [200.5 / 399.2, -loss / (1 + loss), 1 / 25, 1.0, 0.0, 0.002, -0.004, 0.0]
    np.testing.assert_allclose(first, expected, atol=1e-6)
    second = simulator.step_lane(0, go)[0][2:].copy()
    # 200 * (90 - 100.10) = -2,020: equity 7,980, drawdown 20.2 %, LEVEL_1.
    # Full size is half of 354.7 then, and less than what is held.
    loss = 2_020 / 7_980 * 100
    expected = [1.0, -loss / (1 + loss), 2 / 26, 1.0, 0.0, 0.202, -0.404, 1 / 3]
    np.testing.assert_allclose(second, expected, atol=1e-6)


def test_a_short_is_negative_in_the_observation(toy_bars, toy_tape):
    tape = toy_tape(toy_bars([(100, 100, 100, 100)] * 3), max_exposure=2.0)
    simulator = Simulator(tape)
    simulator.place(0, 0, 2, 10_000.0)
    seen = simulator.step_lane(0, np.full((1, 1), -1.0, np.float32))[0]
    # 100 steps were sold; the spread took 10 of equity, so full size is 99.9: -1 holds them all.
    assert seen[2] == -1.0


def test_names_of_the_account_columns():
    assert account_feature_names(("XAUUSD",)) == [
        "position",
        "position_profit",
        "position_age",
        "stop_distance",
        "stopped_side",
        "drawdown",
        "day_gain",
        "breaker_level",
    ]
    several = account_feature_names(("A", "B"))
    assert several[3:6] == ["A.stop_distance", "A.stopped_side", "B.position"]
    assert several[10:] == ["drawdown", "day_gain", "breaker_level"]


def test_a_restored_simulator_goes_on_as_if_nothing_had_happened(random_tape):
    tape = random_tape(77, 2, first=3, episode_bars=9, randomise=1)
    actions = np.random.default_rng(1).uniform(-1, 1, (30, 4, 2)).astype(np.float32)
    simulator = Simulator(tape, 4)
    simulator.seed(6)
    simulator.reset(stagger=True)
    for row in actions[:15]:
        seen = simulator.step(row).observations.copy()
    state = simulator.state()
    other = Simulator(tape, 4)
    np.testing.assert_array_equal(other.restore(state), seen)
    for row in actions[15:]:
        ours, theirs = simulator.step(row), other.step(row)
        np.testing.assert_array_equal(ours.observations, theirs.observations)
        np.testing.assert_array_equal(ours.rewards, theirs.rewards)
        np.testing.assert_array_equal(ours.statuses, theirs.statuses)
    assert simulator.book.account.tobytes() == other.book.account.tobytes()


def test_a_state_is_a_copy(random_tape):
    simulator = Simulator(random_tape(1, 1, first=3))
    simulator.reset()
    state = simulator.state()
    simulator.step(np.ones((1, 1), np.float32))
    assert state["account"]["cursor"][0] == 3


def test_an_observation_survives_the_next_step(random_tape):
    """SB3 keeps the last observation while the next one is written."""
    simulator = Simulator(random_tape(2, 1, first=3), 2)
    last = simulator.reset()
    kept = last.copy()
    fresh = simulator.step(np.ones((2, 1), np.float32)).observations
    assert fresh is not last
    np.testing.assert_array_equal(last, kept)
    assert not np.array_equal(fresh, kept)


def test_actions_may_lie_anywhere_in_memory(random_tape):
    """The compiled step reads packed floats; strided, double or nested ones are packed first."""
    rng = np.random.default_rng(4)
    tape = random_tape(4, 3)
    lanes = [Simulator(tape) for _ in range(5)]
    batches = [Simulator(tape, 4) for _ in range(3)]
    for simulator in lanes:
        simulator.place(0, 3, len(tape.market) - 1, 10_000.0)
    for simulator in batches:
        simulator.seed(1)
        simulator.reset()
    for _ in range(20):
        wide = rng.uniform(-1, 1, (4, 6)).astype(np.float32)
        packed = np.ascontiguousarray(wide[:, ::2])
        forms = [packed[0], wide[0, ::2], packed[0].astype(np.float64), packed[:1], list(packed[0])]
        results = [s.step_lane(0, form) for s, form in zip(lanes, forms, strict=True)]
        assert len({(r.tobytes(), reward, status) for r, reward, status in results}) == 1
        several = [packed, wide[:, ::2], packed.astype(np.float64)]
        stepped = [s.step(form) for s, form in zip(batches, several, strict=True)]
        assert len({step.observations.tobytes() for step in stepped}) == 1
        if results[0][2]:
            break
    with pytest.raises(ValueError, match=r"actions \(4, 2\) must be \(4, 3\)"):
        batches[0].step(np.zeros((4, 2), np.float32))


def test_lots_fixed_at_the_start_do_not_follow_equity_or_price(toy_bars, toy_spec, toy_tape):
    """10,000 buy 100 units at the first price, 100; nothing that happens later changes that."""
    close = np.array([100.0, 100.0, 150.0, 50.0, 200.0])
    opening = np.concatenate([close[:1], close[:-1]])
    rows = np.stack([opening, np.maximum(opening, close), np.minimum(opening, close), close], 1)
    steps = {}
    for method in (FIXED_FRACTIONAL, FIXED_AT_START):
        rules = {"sizing_method": float(method), "notional_fraction": 1.0, "rebalance_band": 0.0}
        tape = toy_tape(toy_bars(rows), toy_spec(contract_size=1.0), **rules)
        simulator = Simulator(tape)
        simulator.place(0, 0, 4, 10_000.0)
        steps[method] = []
        for _ in range(4):
            simulator.step_lane(0, np.ones(1, np.float32))
            steps[method].append(int(simulator.book.positions["steps"][0, 0]))
    assert steps[FIXED_AT_START] == [steps[FIXED_AT_START][0]] * 4
    assert len(set(steps[FIXED_FRACTIONAL])) > 1
