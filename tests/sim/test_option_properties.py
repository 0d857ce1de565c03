"""What holds in every market holds under every mix of options too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.risk.breaker import LEVEL_3
from mtquant.risk.reasons import STOP, STOP_OUT, TAKE_PROFIT
from mtquant.sim.account import Book, Tape
from mtquant.sim.costs import paid_ticks
from mtquant.sim.inside import highest, lowest
from mtquant.sim.kernel import RUNNING
from mtquant.sim.records import OPTIONAL_RULES
from mtquant.sim.simulator import Simulator

pytestmark = pytest.mark.nojit

INSIDE = [STOP_OUT, STOP, TAKE_PROFIT]
SEEDS = st.integers(0, 2**32 - 1)
moderate = settings()

OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "sizing_method": st.integers(0, 3),
        "min_change": st.integers(0, 20),
        "max_volume_share": st.sampled_from([0.01, 0.5]),
        "slippage_model": st.integers(0, 3),
        "slippage_coefficient": st.sampled_from([0.05, 1.0]),
        "commission_per_fill": st.sampled_from([0.0, 1.25]),
        "commission_fraction": st.sampled_from([0.0, 0.003]),
        "dearest": st.sampled_from([0.0, 1.0, 3.0]),
        "brakes": st.integers(0, 1),
        "weekly_loss": st.sampled_from([0.03, 0.5]),
        "drawdown": st.sampled_from([0.05, 0.5]),
        "start_loss": st.sampled_from([0.05, 0.5]),
        "losing_run": st.integers(0, 3),
        "shed": st.sampled_from([0.5, 1.0]),
        "stop_atr": st.sampled_from([0.5, 1.0, 4.0]),
        "take_atr": st.sampled_from([0.5, 2.0]),
        "trail_atr": st.sampled_from([0.5, 1.5]),
        "break_even_atr": st.sampled_from([0.3, 1.0]),
        "partial_at": st.sampled_from([0.2, 0.5]),
        "reentry_bars": st.integers(0, 3),
        "latency": st.sampled_from([0.3, 1.0, 2.6]),
        "reject_probability": st.sampled_from([0.0, 0.3]),
        "partial_probability": st.sampled_from([0.0, 0.3]),
        "hedging": st.integers(0, 1),
        "checks": st.just(1),
        "max_lots": st.sampled_from([0.2, 1.0]),
        "max_position": st.sampled_from([0.5, 2.0]),
        "max_positions": st.integers(1, 2),
        "trades_per_day": st.integers(1, 4),
        "cooldown_bars": st.integers(1, 3),
        "max_holding_bars": st.integers(2, 6),
    },
)
FIXED = {
    "kelly_fraction": 0.5,
    "max_risk_fraction": 0.1,
    "prior_trades": 5.0,
    "prior_win_rate": 0.6,
    "prior_payoff": 1.0,
    "target_volatility": 0.05,
    "cheapest": 0.5,
    "partial_share": 0.5,
    **{
        f"{name}_level": LEVEL_3 for name in ("weekly_loss", "drawdown", "start_loss", "losing_run")
    },
}


def optional_tape(random_tape: Any, seed: int, symbols: int, chosen: dict[str, float]) -> Tape:
    """A random market under ``chosen``; every third one has no recorded volume."""
    limits = {"weekly_loss": 1.0, "drawdown": 1.0, "start_loss": 1.0}
    chosen = dict(chosen)
    late = chosen.pop("latency", 0.0)
    limits |= {"latency_least": late, "latency_most": late}
    tape = random_tape(seed, symbols, **{**limits, **FIXED, **chosen})
    if seed % 3:
        shape = tape.market.shape
        tape.market["volume"] = np.random.default_rng(seed).uniform(0.5, 500.0, shape)
    return tape


def play(tape: Tape, seed: int, factor: float) -> list[tuple[int, Book, Book, float]]:
    """``(bar, book before, book after, reward)`` of one lane until it ends."""
    rng = np.random.default_rng([seed, 1])
    simulator = Simulator(tape)
    simulator.place(0, 3, len(tape.market) - 1, tape.rules["capital"][0])
    simulator.book.account["cost_factor"] = factor
    steps = []
    for t in range(4, len(tape.market)):
        action = rng.uniform(-1.3, 1.3, tape.market.shape[1])
        action[rng.random(action.size) < 0.2] = rng.choice([0.0, np.nan])
        before = simulator.book.copy()
        _, reward, status = simulator.step_lane(0, action.astype(np.float32))
        steps.append((t, before, simulator.book.copy(), reward))
        if status != RUNNING:
            break
    return steps


def price(tape: Tape, t: int, name: str) -> np.ndarray:
    return tape.market[name][t] * tape.contracts["tick_n"] / tape.contracts["tick_d"]


def last_bar(tape: Tape, s: int, t: int) -> np.void:
    """The symbol's own last bar before ``t``."""
    return tape.market[np.flatnonzero(tape.market["tradable"][:t, s])[-1], s]


@moderate
@given(SEEDS, st.integers(1, 3), OPTIONS, st.sampled_from([0.5, 1.0, 2.7]))
def test_the_account_adds_up(random_tape, seed, symbols, chosen, factor):
    """Balance moves by deals alone; equity is balance, booked swap and unrealised profit."""
    tape = optional_tape(random_tape, seed, symbols, chosen)
    for t, before, after, _ in play(tape, seed, factor):
        account, positions = after.account[0], after.positions[0]
        deals = after.deals[0, : account["n_deals"]]
        money = (deals["profit"] + deals["swap"] - deals["commission"]).sum()
        assert account["balance"] - before.account["balance"][0] == pytest.approx(money, abs=1e-6)
        bid = price(tape, t, "close")
        out = np.where(positions["steps"] > 0, bid, bid + price(tape, t, "spread"))
        value = tape.market["value"][t] * tape.contracts["tick_d"] / tape.contracts["tick_n"]
        entry = positions["entry"] * tape.contracts["tick_n"] / tape.contracts["tick_d"]
        unrealised = positions["steps"] * (out - entry) * value
        expected = account["balance"] + positions["swap"].sum() + unrealised.sum()
        assert account["equity"] == pytest.approx(expected, abs=1e-6)


@moderate
@given(SEEDS, st.integers(1, 3), OPTIONS, st.sampled_from([0.5, 1.0, 2.7]))
def test_gross_less_costs_is_the_change_of_equity(random_tape, seed, symbols, chosen, factor):
    """The reward's g, built from positions and bids alone, less what the deals and nights cost."""
    tape = optional_tape(random_tape, seed, symbols, chosen)
    penalty, scale = tape.rules["downside_penalty"][0], tape.rules["reward_scale"][0]
    for t, before, after, reward in play(tape, seed, factor):
        deals = after.deals[0, : after.account["n_deals"][0]]
        if np.isin(deals["reason"], INSIDE).any() or after.account["latency"][0] % 1.0:
            continue
        value = tape.market["value"][t] * tape.contracts["tick_d"] / tape.contracts["tick_n"]
        opened = price(tape, t, "open")
        held, kept = before.positions["steps"][0], after.positions["steps"][0]
        gross = (held * (opened - price(tape, t - 1, "close")) * value).sum()
        gross += (kept * (price(tape, t, "close") - opened) * value).sum()
        equity = before.account["equity"][0]
        change = after.account["equity"][0] - equity
        unit = equity * scale
        assert reward == pytest.approx(
            change / unit - 0.5 * penalty * min(gross / unit, 0.0) ** 2, rel=1e-9, abs=1e-6
        )


@moderate
@given(SEEDS, st.integers(1, 3), OPTIONS, st.sampled_from([0.5, 1.0, 2.7]))
def test_fills_pay_spread_and_slippage_in_whole_ticks(random_tape, seed, symbols, chosen, factor):
    """Each deal's price is a bid of the bar and what its size costs, never better than the bid."""
    tape = optional_tape(random_tape, seed, symbols, chosen)
    for t, before, after, _ in play(tape, seed, factor):
        paid = 0.0
        for deal in after.deals[0, : after.account["n_deals"][0]]:
            s = deal["symbol"]
            contract, bar = tape.contracts[s], tape.market[t, s]
            tick = abs(deal["steps"]) * bar["value"]
            ticks = deal["price"] * contract["tick_d"] / contract["tick_n"]
            before_bar = last_bar(tape, s, t)
            dear = factor if tape.rules["dearest"][0] else 1.0
            row = tape.rules[0]
            spread, against = paid_ticks(contract, row, bar, before_bar, dear, deal["steps"])
            assert spread >= 0 <= against
            against += spread if deal["steps"] > 0 else 0
            bid = ticks - against if deal["steps"] > 0 else ticks + against
            assert bid == pytest.approx(round(bid), abs=1e-5)
            assert lowest(bar) <= round(bid) <= highest(bar)
            paid += tick * against
        booked = sum(
            after.account[name][0] - before.account[name][0]
            for name in ("spread_cost", "slippage_cost")
        )
        assert booked == pytest.approx(paid, abs=1e-6)


@moderate
@given(SEEDS, st.integers(1, 3), OPTIONS)
def test_nothing_fills_outside_its_bar(random_tape, seed, symbols, chosen):
    """A gap, a stop, a target, a stop-out and a late fill: the bid is always one of the bar."""
    tape = optional_tape(random_tape, seed, symbols, chosen)
    for t, _, after, _ in play(tape, seed, 1.0):
        for deal in after.deals[0, : after.account["n_deals"][0]]:
            contract, bar = tape.contracts[deal["symbol"]], tape.market[t, deal["symbol"]]
            ticks = deal["price"] * contract["tick_d"] / contract["tick_n"]
            row, before = tape.rules[0], last_bar(tape, deal["symbol"], t)
            spread, against = paid_ticks(contract, row, bar, before, 1.0, deal["steps"])
            bid = ticks - spread - against if deal["steps"] > 0 else ticks + against
            assert lowest(bar) <= round(bid) <= highest(bar)
            assert bar["tradable"]


@moderate
@given(SEEDS, st.integers(1, 3), OPTIONS)
def test_tickets_are_the_position(random_tape, seed, symbols, chosen):
    """At most eight of one side; their steps, swap and average price are the position's."""
    tape = optional_tape(random_tape, seed, symbols, {**chosen, "hedging": 1})
    for _, _, after, _ in play(tape, seed, 1.0):
        for s in range(symbols):
            position = after.positions[0, s]
            tickets = after.tickets[0, 8 * s : 8 * s + position["tickets"]]
            assert len(tickets) <= 8
            assert (tickets["steps"] * position["steps"] > 0).all()
            assert tickets["steps"].sum() == position["steps"]
            assert tickets["swap"].sum() == pytest.approx(position["swap"], abs=1e-6)
            assert (np.diff(tickets["number"]) > 0).all(), "the oldest first"
            if position["steps"]:
                cost = (tickets["steps"] * tickets["entry"]).sum()
                assert cost / position["steps"] == pytest.approx(position["entry"], abs=1e-5)


@moderate
@given(SEEDS, st.integers(1, 3), OPTIONS)
def test_a_stop_only_tightens_until_the_position_grows(random_tape, seed, symbols, chosen):
    tape = optional_tape(random_tape, seed, symbols, {**chosen, "stop_atr": 2.0})
    for _, before, after, _ in play(tape, seed, 1.0):
        grown = set(after.deals[0, : after.account["n_deals"][0]][["symbol", "closing"]].tolist())
        for s in range(symbols):
            old, new = before.positions[0, s], after.positions[0, s]
            if old["steps"] * new["steps"] > 0 and old["stop"] and (s, 0) not in grown:
                assert (new["stop"] - old["stop"]) * np.sign(old["steps"]) >= 0


@moderate
@given(SEEDS, st.integers(1, 3), OPTIONS)
def test_no_target_beyond_the_limits(random_tape, seed, symbols, chosen):
    """Lots and positions that a check allows, unless they were held (or on their way) before."""
    limits = {"checks": 1, "max_lots": 0.3, "max_positions": 1}
    tape = optional_tape(random_tape, seed, symbols, {**chosen, **limits})
    for _, before, after, _ in play(tape, seed, 1.0):
        was = np.maximum(
            np.abs(before.positions["steps"][0]), np.abs(before.positions["target"][0])
        )
        target = np.abs(after.positions["target"][0])
        assert (target <= np.maximum(was, 30)).all()
        if not was.any():
            assert np.count_nonzero(target) <= 1


@moderate
@given(SEEDS, OPTIONS)
def test_round_trips_add_up(random_tape, seed, chosen):
    """Gains less losses are what the closed positions brought: balance but for an open one."""
    tape = optional_tape(random_tape, seed, 1, chosen)
    steps = play(tape, seed, 1.0)
    for _, _, after, _ in steps:
        account, position = after.account[0], after.positions[0, 0]
        brought = account["gain_sum"] - account["loss_sum"] + position["result"]
        assert account["balance"] - 10_000.0 == pytest.approx(brought, abs=1e-6)
        assert account["loss_sum"] >= 0.0
        assert 0 <= account["losing_run"] <= account["trades"] - account["wins"]


NEUTRAL = {
    **FIXED,
    "brakes": 1,
    "weekly_loss": 1.0,
    "drawdown": 1.0,
    "start_loss": 1.0,
    "max_volume_share": 0.1,  # of nothing that was recorded
    "slippage_coefficient": 3.0,
    "risk_free": 0.1,
    "trade_penalty": 1.0,
    "deviation_floor": 1.0,
    "reward_clip": 1.0,
}


@moderate
@given(SEEDS, st.integers(1, 3))
def test_options_that_are_off_change_no_bit(random_tape, seed, symbols):
    """Rules left out, all rules at 0, and rules that cannot bind are one and the same market."""
    plain = random_tape(seed, symbols)
    zeros = random_tape(seed, symbols, **dict.fromkeys(OPTIONAL_RULES, 0.0))
    neutral = random_tape(seed, symbols, **NEUTRAL)
    assert plain.rules.tobytes() == zeros.rules.tobytes() != neutral.rules.tobytes()
    for ours, theirs in zip(play(plain, seed, 1.0), play(neutral, seed, 1.0), strict=True):
        assert ours[3] == theirs[3]
        for part in ("account", "positions", "deals"):
            assert getattr(ours[2], part).tobytes() == getattr(theirs[2], part).tobytes()


def test_lanes_draw_their_own_dearness(random_tape):
    """Uniform within its bounds, the same again from the same seed, and not seen at the start."""
    rules = {"first": 3, "last": 39, "episode_bars": 20}
    dear = Simulator(random_tape(1, 1, **rules, cheapest=0.5, dearest=2.0), 400)
    again = Simulator(dear.tape, 400)
    plain = Simulator(random_tape(1, 1, **rules), 400)
    for simulator in (dear, again, plain):
        simulator.seed(8)
        simulator.reset()
    factors = dear.book.account["cost_factor"]
    assert (0.5 <= factors).all()
    assert (factors < 2.0).all()
    assert factors.mean() == pytest.approx(1.25, abs=0.07)
    assert factors.tolist() == again.book.account["cost_factor"].tolist()
    assert set(plain.book.account["cost_factor"]) == {1.0}
    assert dear.width == plain.width
    # Where an episode begins is drawn first and does not depend on what it costs.
    assert dear.book.account["cursor"].tolist() == plain.book.account["cursor"].tolist()


def test_random_starts_stay_clear_of_the_drawdown_brake(random_tape):
    brakes = {"brakes": 1, "drawdown": 0.05, "weekly_loss": 1.0, "start_loss": 1.0}
    tape = random_tape(1, 1, **brakes, randomise=1, capital_spread=0.3)
    tape.rules["first"], tape.rules["last"], tape.rules["episode_bars"] = 3, 39, 20
    simulator = Simulator(tape, 300)
    simulator.seed(1)
    simulator.reset()
    account = simulator.book.account
    fall = 1.0 - account["equity"] / account["peak"]
    assert 0.02 < fall.max() <= 0.025
    assert np.unique(account["week_start"]).size > 200
    assert account["week_start"].tolist() == account["start_equity"].tolist()
