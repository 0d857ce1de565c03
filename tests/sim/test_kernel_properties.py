"""What holds in every market: bars, rules and actions at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.risk.breaker import LEVEL_2, LEVEL_3
from mtquant.risk.reasons import STOP_OUT
from mtquant.sim.account import Book, Tape
from mtquant.sim.decisions import decide_all
from mtquant.sim.inside import highest, lowest
from mtquant.sim.kernel import RUNNING, step
from mtquant.sim.simulator import Simulator

pytestmark = pytest.mark.nojit

SEEDS = st.integers(0, 2**32 - 1)
SYMBOLS = st.integers(1, 3)
moderate = settings()


def actions_of(seed: int, bars: int, symbols: int) -> np.ndarray:
    """Targets that stay, jump, vanish and sometimes say nothing; float32 ``[T, S]``."""
    rng = np.random.default_rng([seed, 1])
    values = rng.uniform(-1.3, 1.3, (bars, symbols))
    values[rng.random((bars, symbols)) < 0.2] = np.nan
    values[rng.random((bars, symbols)) < 0.1] = 0.0
    return values.astype(np.float32)


@dataclass
class Step:
    """One bar of lane 0: copies of the state before and after."""

    bar: int
    before: Book
    after: Book
    reward: float
    status: int

    @property
    def deals(self) -> np.ndarray:
        return self.after.deals[0, : self.after.account["n_deals"][0]]


def run(tape: Tape, actions: np.ndarray) -> list[Step]:
    """The lane from the fourth bar on, until it ends."""
    simulator = Simulator(tape)
    simulator.place(0, 3, len(tape.market) - 1, tape.rules["capital"][0])
    steps: list[Step] = []
    for t in range(4, len(tape.market)):
        before = simulator.book.copy()
        _, reward, status = simulator.step_lane(0, actions[t - 1][None])
        after = simulator.book.copy()
        steps.append(Step(t, before, after, reward, status))
        if status != RUNNING:
            break
    return steps


def prices(tape: Tape, t: int, name: str) -> np.ndarray:
    """A column of bar ``t`` in price units, ``[S]``; with ``spread`` its width."""
    contracts = tape.contracts
    return tape.market[name][t] * contracts["tick_n"] / contracts["tick_d"]


def entries(tape: Tape, positions: np.ndarray) -> np.ndarray:
    """Average prices, ``[S]``."""
    return positions["entry"] * tape.contracts["tick_n"] / tape.contracts["tick_d"]


def value_per_step(tape: Tape, t: int) -> np.ndarray:
    return tape.market["value"][t] * tape.contracts["tick_d"] / tape.contracts["tick_n"]


@moderate
@given(SEEDS, SYMBOLS)
def test_equity_is_balance_and_booked_swap_and_unrealised_profit(random_tape, seed, symbols):
    tape = random_tape(seed, symbols)
    for step_ in run(tape, actions_of(seed, len(tape.market), symbols)):
        t, positions = step_.bar, step_.after.positions[0]
        bid = prices(tape, t, "close")
        exit_at = np.where(positions["steps"] > 0, bid, bid + prices(tape, t, "spread"))
        unrealised = (
            positions["steps"] * (exit_at - entries(tape, positions)) * value_per_step(tape, t)
        )
        expected = step_.after.account["balance"][0] + positions["swap"].sum() + unrealised.sum()
        assert step_.after.account["equity"][0] == pytest.approx(expected, abs=1e-6)


@moderate
@given(SEEDS, SYMBOLS)
def test_balance_changes_by_deals_alone(random_tape, seed, symbols):
    tape = random_tape(seed, symbols)
    for step_ in run(tape, actions_of(seed, len(tape.market), symbols)):
        deals = step_.deals
        money = (deals["profit"] + deals["swap"] - deals["commission"]).sum()
        change = step_.after.account["balance"][0] - step_.before.account["balance"][0]
        assert change == pytest.approx(money, abs=1e-6)
        cents = step_.after.account["balance"][0] * 100.0
        assert cents == pytest.approx(round(cents), abs=1e-4)


@moderate
@given(SEEDS, SYMBOLS)
def test_positions_change_by_deals_alone(random_tape, seed, symbols):
    tape = random_tape(seed, symbols)
    for step_ in run(tape, actions_of(seed, len(tape.market), symbols)):
        for s in range(symbols):
            traded = step_.deals["steps"][step_.deals["symbol"] == s].sum()
            change = step_.after.positions["steps"][0, s] - step_.before.positions["steps"][0, s]
            assert change == traded


@moderate
@given(SEEDS, SYMBOLS)
def test_fills_are_at_the_next_open_and_inside_the_bar(random_tape, seed, symbols):
    tape = random_tape(seed, symbols)
    for step_ in run(tape, actions_of(seed, len(tape.market), symbols)):
        for deal in step_.deals:
            s, bar = deal["symbol"], tape.market[step_.bar, deal["symbol"]]
            contract = tape.contracts[s]
            ticks = deal["price"] * contract["tick_d"] / contract["tick_n"]
            against = contract["slippage_ticks"]
            bid = ticks - bar["spread"] - against if deal["steps"] > 0 else ticks + against
            assert bid == pytest.approx(round(bid), abs=1e-6)
            assert lowest(bar) <= round(bid) <= highest(bar)
            assert deal["bar"] == step_.bar
            if deal["reason"] != STOP_OUT:
                assert round(bid) == bar["open"]
                assert bar["tradable"]


@moderate
@given(SEEDS, SYMBOLS)
def test_an_increase_never_ends_above_the_maximum_exposure(random_tape, seed, symbols):
    tape = random_tape(seed, symbols)
    actions = actions_of(seed, len(tape.market), symbols)
    for step_ in run(tape, actions):
        t = step_.bar - 1
        held = step_.before.positions["steps"][0]
        book = step_.before.copy()
        decide_all(book, tape, 0, t, actions[t : t + 1])
        target = book.positions["target"][0]
        step_notional = prices(tape, t, "close") * value_per_step(tape, t)
        kept = np.where(held * target > 0, np.abs(held), 0)
        limit = tape.rules["max_exposure"][0] * step_.before.account["equity"][0]
        for s in np.flatnonzero(np.abs(target) > kept):
            gross = np.abs(target[s]) * step_notional[s]
            others = np.maximum(np.abs(held), np.abs(target)) * step_notional
            earlier = others[:s].sum()
            later = (np.abs(held) * step_notional)[s + 1 :].sum()
            assert gross + earlier + later <= limit * (1 + 1e-9)


@moderate
@given(SEEDS, SYMBOLS)
def test_zero_closes_whatever_can_be_traded(random_tape, seed, symbols):
    tape = random_tape(seed, symbols)
    actions = actions_of(seed, len(tape.market), symbols)
    rows = np.arange(len(actions)) % 3 == 2
    actions[rows] = 0.0
    for step_ in run(tape, actions):
        open_both = tape.market["tradable"][step_.bar - 1 : step_.bar + 1].all(axis=0)
        if rows[step_.bar - 1]:
            assert not step_.after.positions["steps"][0][open_both].any()


@moderate
@given(SEEDS, SYMBOLS)
def test_the_reward_is_gross_minus_downside_minus_costs(random_tape, seed, symbols):
    tape = random_tape(seed, symbols)
    penalty = tape.rules["downside_penalty"][0]
    for step_ in run(tape, actions_of(seed, len(tape.market), symbols)):
        t = step_.bar
        value = value_per_step(tape, t)
        opened, held = prices(tape, t, "open"), step_.before.positions["steps"][0]
        gross = (held * (opened - prices(tape, t - 1, "close")) * value).sum()
        after = held.copy()
        for deal in step_.deals:
            s = deal["symbol"]
            if deal["reason"] == STOP_OUT:
                slip = tape.contracts["slippage_ticks"][s] * 0.01
                spread = prices(tape, t, "spread")[s]
                bid = deal["price"] + slip if deal["steps"] < 0 else deal["price"] - slip - spread
                gross += after[s] * (bid - opened[s]) * value[s]
            after[s] += deal["steps"]
        gross += (after * (prices(tape, t, "close") - opened) * value).sum()
        equity = step_.before.account["equity"][0]
        change = step_.after.account["equity"][0] - equity
        unit = equity * tape.rules["reward_scale"][0]
        downside = min(gross / unit, 0.0)
        expected = change / unit - 0.5 * penalty * downside**2
        assert step_.reward == pytest.approx(expected, rel=1e-9, abs=1e-6)


@moderate
@given(SEEDS, SYMBOLS)
def test_costs_only_ever_grow_and_explain_the_account(random_tape, seed, symbols):
    """From flat to flat, equity changes by gross profit less the four costs, to the cent."""
    tape = random_tape(seed, symbols, notional_fraction=0.5, max_exposure=1.0, sizing_method=1)
    actions = actions_of(seed, len(tape.market), symbols)
    actions[-4:] = 0.0
    steps = run(tape, actions)
    gross, roundings = 0.0, 0
    for step_ in steps:
        t, value = step_.bar, value_per_step(tape, step_.bar)
        held, after = step_.before.positions["steps"][0], step_.after.positions["steps"][0]
        opened = prices(tape, t, "open")
        gross += (held * (opened - prices(tape, t - 1, "close")) * value).sum()
        gross += (after * (prices(tape, t, "close") - opened) * value).sum()
        roundings += 3 * len(step_.deals) + symbols
        for name in ("spread_cost", "slippage_cost", "commission", "traded"):
            assert step_.after.account[name][0] >= step_.before.account[name][0]
    account = steps[-1].after.account[0]
    if steps[-1].after.positions["steps"].any() or any(
        (s.deals["reason"] == STOP_OUT).any() for s in steps
    ):
        return
    costs = sum(account[name] for name in ("spread_cost", "slippage_cost", "commission", "swap"))
    change = account["equity"] - tape.rules["capital"][0]
    assert change == pytest.approx(gross - costs, abs=0.005 * roundings + 1e-6)


@moderate
@given(SEEDS, SYMBOLS)
def test_the_breaker_only_lets_go_overnight(random_tape, seed, symbols):
    losses = {"daily_loss_level_1": 0.01, "daily_loss_level_2": 0.02, "daily_loss_level_3": 0.05}
    tape = random_tape(seed, symbols, **losses)
    for step_ in run(tape, actions_of(seed, len(tape.market), symbols)):
        before, after = step_.before.account["level"][0], step_.after.account["level"][0]
        if before == LEVEL_3 or tape.day[step_.bar] == tape.day[step_.bar - 1]:
            assert after >= before
        held, kept = step_.before.positions["steps"][0], step_.after.positions["steps"][0]
        if before >= LEVEL_2:
            assert (np.abs(kept) <= np.abs(held)).all()
            assert (kept * held >= 0).all()
        if before == LEVEL_3:
            assert not kept[tape.market["tradable"][step_.bar] != 0].any()


@moderate
@given(SEEDS, SYMBOLS, st.integers(8, 35))
def test_later_bars_change_nothing_earlier(random_tape, seed, symbols, cut):
    tape = random_tape(seed, symbols)
    actions = actions_of(seed, len(tape.market), symbols)
    market = tape.market.copy()
    for name in ("open", "above", "below", "close", "spread"):
        market[name][cut:] = market[name][cut:] * 2 + 1
    altered = run(tape._replace(market=market), actions)
    for ours, theirs in zip(run(tape, actions), altered, strict=False):
        if ours.bar >= cut:
            break
        assert ours.after.account.tobytes() == theirs.after.account.tobytes()
        assert ours.after.positions.tobytes() == theirs.after.positions.tobytes()
        assert ours.reward == theirs.reward


@moderate
@given(SEEDS)
def test_twice_the_tick_with_half_the_contract_is_the_same_account(
    toy_spec, toy_bars, toy_tape, seed
):
    """Doubling is exact in binary, so the two accounts agree bit for bit."""
    rng = np.random.default_rng(seed)
    close = 400 + np.cumsum(rng.integers(-8, 9, 30))
    opening = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(opening, close) + 3, np.minimum(opening, close) - 3
    rows = np.stack([opening, high, low, close], axis=1) * 0.25
    tapes = []
    for scale in (1, 2):
        spec = toy_spec(
            contract_size=128 / scale,
            tick_size=0.25 * scale,
            typical_spread_points=50 * scale,
            swap_mode="points",
            swap_long=-8.0 * scale,
            swap_short=2.0 * scale,
            commission_per_lot=3.5,
        )
        bars = toy_bars(rows * scale, spread=25.0 * scale, start="2024-01-02T20:00")
        tapes.append(toy_tape(bars, spec, slippage_points=25.0 * scale, sizing_method=seed % 2))
    actions = actions_of(seed, 30, 1)
    one, two = (run(tape, actions) for tape in tapes)
    assert len(one) == len(two)
    for ours, theirs in zip(one, two, strict=True):
        assert ours.after.account.tobytes() == theirs.after.account.tobytes()
        assert ours.reward == theirs.reward
        assert ours.deals["steps"].tolist() == theirs.deals["steps"].tolist()


@moderate
@given(SEEDS, st.integers(2, 5), st.permutations(range(5)))
def test_lanes_know_nothing_of_each_other(random_tape, seed, lanes, order):
    """A lane alone, in a crowd and in another order: the same bits."""
    tape = random_tape(seed, 2, first=3, episode_bars=9, randomise=1)
    order = [lane for lane in order if lane < lanes]
    rng = np.random.default_rng(seed)
    states = rng.integers(0, 2**63, lanes, dtype=np.uint64)
    actions = rng.uniform(-1, 1, (12, lanes, 2)).astype(np.float32)

    def play(chosen: list[int]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        simulator = Simulator(tape, len(chosen))
        simulator.book.account["rng"] = states[chosen]
        seen = [(simulator.reset(stagger=True).copy(), np.zeros(0), np.zeros(0))]
        for row in actions:
            result = simulator.step(row[chosen])
            seen.append((result.observations.copy(), result.rewards, result.statuses))
        return seen

    crowd = play(list(range(lanes)))
    shuffled = play(order)
    for (ours, rewards, statuses), (theirs, r, s) in zip(crowd, shuffled, strict=True):
        np.testing.assert_array_equal(ours[order], theirs)
        if rewards.size:
            np.testing.assert_array_equal(rewards[order], r)
            np.testing.assert_array_equal(statuses[order], s)
    alone = play([lanes - 1])
    for (ours, *_), (theirs, *_) in zip(crowd, alone, strict=True):
        np.testing.assert_array_equal(ours[lanes - 1], theirs[0])


@moderate
@given(SEEDS, SYMBOLS)
def test_the_simulator_adds_nothing_to_the_kernel(random_tape, seed, symbols):
    """A bare loop over ``step`` is what both kinds of stepping do."""
    tape = random_tape(seed, symbols)
    actions = actions_of(seed, len(tape.market), symbols)
    bare, one, many = (Simulator(tape, 3) for _ in range(3))
    for simulator in (bare, one, many):
        for lane in range(3):
            simulator.place(lane, 3, len(tape.market) - 1, 10_000.0 * (lane + 1))
    batch = np.repeat(actions[:, None], 3, axis=1)
    for t in range(3, len(tape.market) - 1):
        looped = [step(bare.book, tape, i, batch[t]) for i in range(3)]
        single = [one.step_lane(i, batch[t, i])[1:] for i in range(3)]
        assert looped == single
        if any(status != RUNNING for _, status in looped):
            break
        together = many.step(batch[t])
        assert together.rewards.tolist() == [float(np.float32(reward)) for reward, _ in looped]
        assert together.statuses.tolist() == [status for _, status in looped]
        for part in ("account", "positions", "deals"):
            whole = getattr(bare.book, part).tobytes()
            assert getattr(one.book, part).tobytes() == whole
            assert getattr(many.book, part).tobytes() == whole
