"""The breaker trips at the bar at which a backtest says that the challenge was decided."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pytest

from mtquant.backtest.challenge import Outcome, judge
from mtquant.config.challenge import RuleSet, load_rules
from mtquant.config.load import available
from mtquant.risk.breaker import LEVEL_3, NORMAL
from mtquant.sim.account import Tape
from mtquant.sim.kernel import RUNNING, TERMINATED
from mtquant.sim.simulator import Simulator

BARS = 160
# Nothing but the challenge trips.
ALONE = {f"daily_loss_level_{k}": 0.96 + k / 100 for k in (1, 2, 3)} | {"stop_out_level": 0.0}
PRESETS = available("configs/rules")


class Played(NamedTuple):
    """A lane over a tape: what a ledger would say of it, and where the breaker tripped."""

    equity: np.ndarray
    day: np.ndarray
    traded: np.ndarray
    balance: np.ndarray
    tripped: int | None

    def judged(self, rules: RuleSet) -> Outcome:
        begins = np.flatnonzero(np.diff(self.day, prepend=self.day[0] - 1))
        return judge(self.equity, self.day, self.traded, self.balance[begins], rules)


def play(tape: Tape, seed: int) -> Played:
    """Random actions, kept for a while; LEVEL_3 flattens the account and the rest is flat."""
    rng = np.random.default_rng(seed)
    simulator, first, last = Simulator(tape), 3, len(tape.market) - 1
    simulator.place(0, first, last, 10_000.0)
    account = simulator.book.account[0]
    equity, balance, traded, tripped = [10_000.0], [], [], None
    action = np.zeros((1, tape.market.shape[1]), np.float32)
    for bar in range(last - first):
        if rng.random() < 0.3:
            action[:] = rng.uniform(-1.0, 1.0, action.shape)
        balance.append(float(account["balance"]))
        simulator.step_lane(0, action)
        equity.append(float(account["equity"]))
        traded.append(bool(account["n_deals"]))
        if tripped is None and account["level"] == LEVEL_3:
            tripped = bar
    day = tape.day[first + 1 : last + 1]
    return Played(np.array(equity), day, np.array(traded), np.array(balance), tripped)


def drawn_rules(rng: np.random.Generator) -> RuleSet:
    """A rule set of any kind, tight enough for a wild week."""
    total: dict[str, Any] = {"fraction": rng.uniform(0.02, 0.4)}
    if rng.random() < 0.7:
        total |= {
            "kind": "trailing",
            "high_water": rng.choice(["bar", "day_end"]),
            "fraction_of": rng.choice(["start", "high_water"]),
            "locks_at_start": rng.random() < 0.5,
        }
    daily = None
    if rng.random() < 0.7:
        daily = {
            "fraction": rng.uniform(0.01, 0.3),
            "measured_from": rng.choice(["balance", "equity", "higher"]),
            "fraction_of": rng.choice(["day", "start"]),
        }
    return RuleSet.model_validate(
        {
            "profit_target": rng.uniform(0.02, 0.6),
            "max_drawdown": total,
            "max_daily_loss": daily,
            "max_days": int(rng.integers(2, 6)) if rng.random() < 0.4 else None,
        }
    )


def decided_at(outcome: Outcome) -> int | None:
    """The bar at which the breaker must trip: that days are over is known when the next begins."""
    if outcome.verdict == "undecided":
        return None
    return outcome.row + 1 if outcome.rule == "max_days" else outcome.row


def test_the_breaker_trips_where_a_backtest_decides(random_tape):
    ends: Counter[str] = Counter()
    open_losses = 0
    for seed in range(250):
        rng = np.random.default_rng([seed, 7])
        rules = drawn_rules(rng)
        exposure = float(rng.choice([0.3, 1.0, 3.0]))
        numbers = rules.numbers() | {"notional_fraction": exposure, "sizing_method": 1}
        tape = random_tape(seed, 1 + seed % 2, BARS, **ALONE, **numbers)
        played = play(tape, seed)
        outcome = played.judged(rules)
        expected = decided_at(outcome)
        if expected is not None and expected >= len(played.day):
            expected = None  # the days end with the bars
        assert played.tripped == expected, (seed, outcome, rules)
        ends[outcome.rule or outcome.verdict] += 1
        begins = np.flatnonzero(np.diff(played.day, prepend=played.day[0]))
        open_losses += bool((played.balance[begins] != played.equity[begins]).any())
    assert min(ends[end] for end in ("passed", "undecided", "max_daily_loss", "max_drawdown")) > 20
    assert ends["max_days"] > 5
    assert open_losses > 100  # balance and equity of a day's start are told apart


def test_a_cushion_trips_as_smaller_limits_would(random_tape):
    tripped = 0
    for seed in range(60):
        rules = RuleSet.model_validate(
            {
                "profit_target": 5.0,
                "max_daily_loss": {"fraction": 0.10, "measured_from": "balance"},
                "max_drawdown": {"fraction": 0.2, "kind": "trailing", "high_water": "day_end"},
            }
        )
        tape = random_tape(seed, 1, BARS, **ALONE, **rules.numbers(0.25), notional_fraction=1.0)
        smaller = rules.model_dump()
        smaller["max_daily_loss"]["fraction"] = 0.075
        smaller["max_drawdown"]["fraction"] = 0.15
        played = play(tape, seed)
        assert played.tripped == decided_at(played.judged(RuleSet.model_validate(smaller)))
        tripped += played.tripped is not None
    assert tripped > 20


def test_training_flattens_and_then_terminates(toy_bars, toy_tape):
    """Down 4 % and 7 % of the start at the closes: the floor of 5 % is broken at the second."""
    rows = [(c, c, c, c) for c in (100.0, 100.0, 96.0, 93.0, 92.0, 92.0)]
    rules = RuleSet.model_validate({"profit_target": 0.5, "max_drawdown": {"fraction": 0.05}})
    simulator = Simulator(toy_tape(toy_bars(rows, spread=1), **rules.numbers()))
    simulator.place(0, 0, 5, 10_000.0)
    full, seen = np.ones((1, 1), np.float32), []
    for _ in range(4):
        _, _, status = simulator.step_lane(0, full)
        book = simulator.book
        seen.append((int(book.account["level"][0]), int(book.positions["steps"][0, 0]), status))
    assert [level for level, _, _ in seen] == [NORMAL, NORMAL, LEVEL_3, LEVEL_3]
    assert [steps > 0 for _, steps, _ in seen] == [True, True, True, False]
    assert [status for _, _, status in seen] == [RUNNING, RUNNING, RUNNING, TERMINATED]


def test_a_target_that_is_reached_ends_it_too(toy_bars, toy_tape):
    rows = [(c, c, c, c) for c in (100.0, 100.0, 104.0, 106.0, 101.0, 120.0)]
    rules = RuleSet.model_validate(
        {"profit_target": 0.05, "max_drawdown": {"fraction": 0.5}, "min_trading_days": 9}
    )
    simulator = Simulator(toy_tape(toy_bars(rows, spread=1), **rules.numbers()))
    simulator.place(0, 0, 5, 10_000.0)
    full = np.ones((1, 1), np.float32)
    held = []
    for _ in range(5):
        simulator.step_lane(0, full)
        held.append(int(simulator.book.positions["steps"][0, 0]))
    assert [steps > 0 for steps in held] == [True, True, True, False, False]
    assert simulator.book.account["level"][0] == LEVEL_3


@pytest.mark.parametrize("margin", [0.0, 0.8])
@pytest.mark.parametrize("preset", PRESETS)
def test_no_random_start_is_beyond_a_limit(toy_bars, toy_tape, preset, margin):
    """On prices that stand still the first bar of a lane trips nothing but what it began with."""
    rules = load_rules(preset)[0].numbers(margin)
    tape = toy_tape(toy_bars([(100.0,) * 4] * 40, spread=0), **rules, first=5, last=39, randomise=1)
    simulator = Simulator(tape, 300)
    simulator.seed(8)
    simulator.reset()
    account = simulator.book.account
    behind = account["challenge_high"] / account["equity"] - 1.0
    assert 0.002 < behind.max() < 0.08
    result = simulator.step(np.full((300, 1), np.nan, np.float32))
    assert not result.finished
    assert (account["level"] == NORMAL).all()
