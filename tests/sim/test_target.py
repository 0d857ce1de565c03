"""An agent's own stop and target, worked out by hand.

One lot step is worth 1 USD per 1.0 of price, the spread is 0.10 and the account holds 10,000 USD.
Each market is quiet at 100.00 first; ATR is the true range of the last bar.
"""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.agents.rules import build_rule
from mtquant.errors import ConfigError
from mtquant.risk.reasons import REASONS
from mtquant.sim.simulator import Simulator
from mtquant.sim.target import Target

pytestmark = pytest.mark.nojit

QUIET = (100.0, 100.5, 99.5, 100.0)  # ATR 1.00
WIDE = {"stop_atr": 5.0}


class Lane:
    """One account over bars, stepped by targets."""

    def __init__(self, toy_bars, toy_tape, bars, **rules) -> None:
        self.simulator = Simulator(toy_tape(toy_bars([QUIET, QUIET, *bars]), **(WIDE | rules)))
        self.simulator.place(0, 1, len(bars) + 1, 10_000.0)

    def step(self, exposure, **asked):
        answer = Target([exposure], **asked) if asked else np.array([exposure], np.float32)
        self.simulator.step_lane(0, answer)
        book = self.simulator.book
        self.deals = [
            (int(deal["steps"]), round(float(deal["price"]), 2), REASONS[deal["reason"]])
            for deal in book.deals[0, : book.account["n_deals"][0]]
        ]
        self.position = book.positions[0, 0]
        return self.deals

    @property
    def levels(self):
        return self.position["stop"] / 100, self.position["take"] / 100


@pytest.fixture
def lane(toy_bars, toy_tape):
    return lambda *bars, **rules: Lane(toy_bars, toy_tape, bars, **rules)


FLAT = (100.0, 100.2, 99.8, 100.0)


def test_a_stop_is_hit_at_the_fraction_that_was_asked_for(lane):
    """100.00 - 1 % of 100.00 = 99.00; the env's own stop would stand at 95.00."""
    one = lane(FLAT, (100.0, 100.1, 98.5, 98.8))
    assert one.step(1.0, stop=0.01) == [(100, 100.1, "allowed")]
    assert one.levels == (99.0, 0.0)
    assert one.step(np.nan) == [(-100, 99.0, "protective stop")]


def test_a_target_is_reached_at_the_fraction_that_was_asked_for(lane):
    """A short counts from the ask, 100.10 - 0.50."""
    one = lane(FLAT, (100.0, 100.1, 99.0, 99.2))
    assert one.step(-1.0, take_profit=0.005) == [(-100, 100.0, "allowed")]
    assert one.levels == (105.1, 99.6)
    assert one.step(np.nan) == [(100, 99.6, "target reached")]


def test_a_bare_action_has_the_envs_own_levels(lane):
    one = lane(FLAT, FLAT, take_atr=3.0)
    one.step(1.0)
    assert one.levels == (95.0, 103.0)


def test_nothing_is_asked_for_farther_away_than_the_envs_own(lane):
    one = lane(FLAT, take_atr=3.0)
    one.step(1.0, stop=0.2, take_profit=0.2)
    assert one.levels == (95.0, 103.0)


def test_what_was_asked_for_holds_for_one_decision(lane):
    """The next increase sets the env's own levels again: ATR 0.40 five times, from 100.00."""
    one = lane(FLAT, FLAT, FLAT)
    one.step(0.5, stop=0.01)
    assert one.levels == (99.0, 0.0)
    assert one.step(np.nan) == [] and one.levels == (99.0, 0.0)
    assert one.step(1.0) and one.levels == (98.0, 0.0)


def test_a_stop_that_is_asked_for_again_trails_and_never_loosens(lane):
    """At the close of 102.00 it moves to 100.98; at 101.20 it stays, though 1 % is 100.188."""
    risen, fallen = (100.0, 102.2, 100.0, 102.0), (102.0, 102.1, 101.0, 101.2)
    one = lane(FLAT, risen, fallen, (101.2, 101.3, 101.1, 101.2), FLAT)
    one.step(1.0, stop=0.01)
    one.step(np.nan, stop=0.01)
    assert one.levels == (99.0, 0.0), "100.00 was the close before"
    one.step(np.nan, stop=0.01)
    assert one.levels == (100.98, 0.0)
    one.step(np.nan, stop=0.01)
    assert one.levels == (100.98, 0.0)
    assert one.step(np.nan, stop=0.01) == [(-100, 100.0, "protective stop")], "through the gap"


def test_a_stop_is_no_nearer_than_the_broker_allows(toy_bars, toy_tape, toy_spec):
    tape = toy_tape(toy_bars([QUIET, QUIET, FLAT]), toy_spec(stops_level_points=30), **WIDE)
    simulator = Simulator(tape)
    simulator.place(0, 1, 2, 10_000.0)
    simulator.step_lane(0, Target([1.0], stop=0.0001))
    assert simulator.book.positions["stop"][0, 0] == 10_000 - 30


@pytest.mark.parametrize(
    "asked",
    [
        {"stop": 1.0},
        {"stop": -0.01},
        {"stop": np.inf},
        {"take_profit": 2.0},
        {"stop": [0.01, 0.01]},
    ],
)
def test_what_is_no_distance_is_refused_and_changes_nothing(lane, asked):
    one = lane(FLAT)
    with pytest.raises(ConfigError, match="must be a fraction of the price"):
        one.step(1.0, **asked)
    assert not one.simulator.book.positions["asked_stop"].any()


def test_an_env_without_stops_says_so(lane):
    one = lane(FLAT, stop_atr=0.0)
    with pytest.raises(ConfigError, match="protects no positions; set 'stops"):
        one.step(1.0, stop=0.01)
    one.simulator.step_lane(0, Target([1.0], np.nan, reason="none asked"))
    assert one.simulator.book.positions["steps"][0, 0] == 100


def test_each_symbol_has_its_own(toy_bars, toy_tape):
    bars = [toy_bars([QUIET, QUIET, FLAT], name) for name in ("AAA", "BBB")]
    simulator = Simulator(toy_tape(bars, max_exposure=50.0, **WIDE))
    simulator.place(0, 1, 2, 10_000.0)
    simulator.step_lane(0, Target([1.0, -1.0], stop=[0.01, np.nan], take_profit=[np.nan, 0.02]))
    assert simulator.book.positions["stop"][0].tolist() == [9_900, 10_510]
    assert simulator.book.positions["take"][0].tolist() == [0, 9_810]


@pytest.mark.parametrize("kind", ["ema_cross", "rsi_reversion"])
def test_rules_take_a_stop_and_a_target(kind):
    rule = build_rule(kind, {"stop": 0.01, "take_profit": 0.02}, 1)
    answer, _ = rule.predict(np.zeros(9, np.float32))
    assert isinstance(answer, Target)
    assert (answer.stop, answer.take_profit, answer.reason) == (0.01, 0.02, kind)
    assert isinstance(build_rule(kind, {}, 1).predict(np.zeros(9, np.float32))[0], np.ndarray)
    with pytest.raises(ConfigError, match=f"agent {kind}: stop = 1.5 must be a number between"):
        build_rule(kind, {"stop": 1.5}, 1)
