"""Agents that want to lose, on markets that gap: a limit is overshot by one gap and no more.

A limit is seen at a bar's close and the flatten fills at the next open. What is lost beyond the
limit is therefore less than the worst that the exposure then allowed can lose from the close
before to that open, costs included. Limits, floors and that bound are worked out here from the
book and the bars, without the kernel's own functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import floor, inf
from typing import Any

import numpy as np
import pytest

from mtquant.config.challenge import RuleSet, load_rules
from mtquant.config.load import available
from mtquant.risk.breaker import LEVEL_3
from mtquant.risk.reasons import STOP_OUT
from mtquant.sim.account import Tape
from mtquant.sim.inside import highest, lowest
from mtquant.sim.records import DEAL
from mtquant.sim.simulator import Simulator

CAPITAL = 10_000.0
AFTER = 15  # bars watched after the flatten
CENT = 0.01
OFF = {"weekly_loss": 1.0, "drawdown": 1.0, "start_loss": 1.0}
LEVELS = {f"{name}_level": LEVEL_3 for name in OFF} | {"losing_run_level": LEVEL_3}
FAR = {f"daily_loss_level_{k}": 0.96 + k / 100 for k in (1, 2, 3)}
NEAR = {"daily_loss_level_1": 0.02, "daily_loss_level_2": 0.035, "daily_loss_level_3": 0.05}
BRAKED = {**OFF, **LEVELS, "brakes": 1}
LIMITS: dict[str, dict[str, float]] = {
    "daily loss": NEAR,
    "weekly loss": {**FAR, **BRAKED, "weekly_loss": 0.1},
    "drawdown": {**FAR, **BRAKED, "drawdown": 0.15},
    "loss since the start": {**FAR, **BRAKED, "start_loss": 0.12},
}
PRESETS = available("configs/rules")
SIZES = ({"notional_fraction": 1.0}, {"notional_fraction": 4.0}, {"notional_fraction": 10.0})
ROBUST = {"shrink": 0.5, "max_exposure": 10.0, "leverage": 30.0, "stop_out_level": 0.5}


# --- agents: they are told whether the last bar lost, and answer with an exposure


def full(rng: np.random.Generator) -> Iterator[float]:
    side = rng.choice([-1.0, 1.0])
    while True:
        yield side


def flip(rng: np.random.Generator) -> Iterator[float]:
    side = 1.0
    while True:
        side = -side
        yield side


def at_random(rng: np.random.Generator) -> Iterator[float]:
    while True:
        yield rng.uniform(-1.0, 1.0)


def martingale(rng: np.random.Generator) -> Iterator[float]:
    size, side = 0.05, 1.0
    while True:
        lost = yield size * side
        size = min(2.0 * size, 1.0) if lost else 0.05
        side = rng.choice([-1.0, 1.0])


AGENTS = (full, flip, at_random, martingale)


# --- what a limit says, bar by bar, from the equity alone


class Breaker:
    """Floors of daily, weekly, peak and start losses."""

    def __init__(self, rules: dict[str, float], day: int) -> None:
        self.rules = {**OFF, **rules}
        self.day, self.week = day, self._week(day)
        self.day_start = self.week_start = self.peak = CAPITAL

    @staticmethod
    def _week(day: int) -> int:
        return int((np.datetime64(day, "D") - np.datetime64("2000-01-03")).astype(int)) // 7

    def floor(self, day: int, equity: float, balance: float) -> float:
        """Of a bar on ``day`` which begins with ``equity`` and ``balance``."""
        self.peak = max(self.peak, equity)
        if day != self.day:
            self.day, self.day_start = day, equity
        if self._week(day) != self.week:
            self.week, self.week_start = self._week(day), equity
        return max(
            self.day_start * (1.0 - self.rules["daily_loss_level_3"]),
            self.week_start * (1.0 - self.rules["weekly_loss"]),
            self.peak * (1.0 - self.rules["drawdown"]),
            CAPITAL * (1.0 - self.rules["start_loss"]),
        )

    target = inf
    over = False


class Challenge:
    """Floors, target and days of a rule set."""

    def __init__(self, rules: RuleSet, day: int) -> None:
        self.rules, self.day, self.days = rules, day, 0
        self.day_floor, self.high = -inf, CAPITAL
        self.target = CAPITAL * (1.0 + rules.profit_target)

    def floor(self, day: int, equity: float, balance: float) -> float:
        total, daily = self.rules.max_drawdown, self.rules.max_daily_loss
        begins = day != self.day or self.days == 0
        if total.kind == "trailing" and (begins or total.high_water == "bar"):
            self.high = max(self.high, equity)
        if begins:
            self.day, self.days = day, self.days + 1
            if daily is not None:
                named = {"balance": balance, "equity": equity, "higher": max(balance, equity)}
                base = named[daily.measured_from]
                share = base if daily.fraction_of == "day" else CAPITAL
                self.day_floor = base - daily.fraction * share
        base = CAPITAL if total.fraction_of == "start" else self.high
        whole = self.high - total.fraction * base
        return max(self.day_floor, min(whole, CAPITAL) if total.locks_at_start else whole)

    @property
    def over(self) -> bool:
        return self.rules.max_days is not None and self.days > self.rules.max_days


# --- the bound


@dataclass
class Bar:
    """The account before a bar, and what the bar did."""

    row: int
    equity: float
    steps: np.ndarray
    deals: np.ndarray
    floor: float


def worst_loss(tape: Tape, bar: Bar) -> float:
    """What the exposure allowed at the close before ``bar`` can lose until the flatten fills."""
    rules, lost = tape.rules[0], 0.0
    for s, contract in enumerate(tape.contracts):
        market = tape.market[:, s]
        before, now, k = market[bar.row - 1], market[bar.row], bar.row
        fills = k + 1
        while not market["tradable"][fills]:
            fills += 1
        held = abs(int(bar.steps[s]))
        notional = before["close"] * before["value"]
        most = max(held, floor(rules["max_exposure"] * max(bar.equity, 0.0) / notional))
        prices = [market["open"][fills]]
        if (bar.deals["reason"] == STOP_OUT).any():
            prices += [lowest(now), highest(now)]
        reach = max(abs(int(price) - int(now["open"])) for price in prices)
        lost += held * abs(int(now["open"]) - int(before["close"])) * now["value"]
        lost += most * reach * now["value"]
        for row, traded in ((k, held + most), (fills, most)):
            slip = contract["slippage_ticks"] + market["spread"][row]
            lost += traded * (slip * market["value"][row] + contract["commission"]) + CENT
        lost += most * sum(overnight(contract, market[row]) for row in range(k, fills)) + CENT
    return lost


def overnight(contract: np.void, bar: np.void) -> float:
    """The dearer side's swap of a lot step over the nights of a bar, account currency."""
    unit = {0: 0.0, 1: bar["value"], 2: bar["close"] * bar["value"], 3: 1.0}[contract["swap_mode"]]
    dearer = max(-contract["swap_long"], -contract["swap_short"], 0.0)
    return float(bar["nights"] * dearer * unit)


# --- one account after the other along a tape


@dataclass
class Found:
    """What a hostile run came to."""

    bars: int = 0
    breaches: int = 0
    beyond: int = 0
    targets: int = 0
    largest_share: float = 0.0


def attack(tape: Tape, watch: Callable[[int], Any], agent: Any, seed: int, found: Found) -> None:
    """Let an agent loose; where the breaker locks the account a new one begins soon after."""
    rng = np.random.default_rng(seed)
    simulator, last = Simulator(tape), len(tape.market) - 1
    row = 3
    while row < last - AFTER - 12:
        row = _one_account(simulator, tape, watch(int(tape.day[row])), agent(rng), row, found)


def _one_account(
    simulator: Simulator, tape: Tape, limit: Any, actions: Iterator[float], row: int, found: Found
) -> int:
    last, symbols = len(tape.market) - AFTER - 12, tape.market.shape[1]
    simulator.place(0, row, len(tape.market) - 1, CAPITAL)
    account, positions = simulator.book.account[0], simulator.book.positions[0]
    asked = np.full((1, symbols), next(actions), np.float32)
    while row < last:
        row, equity = row + 1, float(account["equity"])
        bar = Bar(
            row,
            equity,
            positions["steps"].copy(),
            np.zeros(0, DEAL),
            limit.floor(int(tape.day[row]), equity, float(account["balance"])),
        )
        simulator.step_lane(0, asked)
        found.bars += 1
        bar.deals = simulator.book.deals[0, : account["n_deals"]].copy()
        now = float(account["equity"])
        breached, reached = now <= bar.floor + CENT / 100, now >= limit.target - CENT / 100
        stopped = bool((bar.deals["reason"] == STOP_OUT).any())
        expected = breached or reached or limit.over or stopped
        assert (account["level"] == LEVEL_3) == expected, (row, now, bar.floor)
        asked[:] = actions.send(now < equity)
        if expected:
            _flatten(simulator, tape, bar, actions, found)
            found.targets += reached
            if breached:
                _judge(tape, bar, float(account["equity"]), found)
            return int(account["cursor"])
    return row


def _flatten(
    simulator: Simulator, tape: Tape, bar: Bar, actions: Iterator[float], found: Found
) -> None:
    """Whatever is asked, what is held goes at the first open, and nothing is opened again."""
    account, positions = simulator.book.account[0], simulator.book.positions[0]
    symbols = len(positions)
    for row in range(bar.row + 1, bar.row + 1 + AFTER):
        asked = np.full((1, symbols), actions.send(True), np.float32)
        held = positions["steps"].copy()
        simulator.step_lane(0, asked)
        found.bars += 1
        deals = simulator.book.deals[0, : account["n_deals"]]
        assert deals["closing"].all()
        tradable = tape.market["tradable"][row] != 0
        assert not positions["steps"][tradable].any()
        assert (positions["steps"][~tradable] == held[~tradable]).all()
        assert account["level"] == LEVEL_3


def _judge(tape: Tape, bar: Bar, left: float, found: Found) -> None:
    bound, beyond = worst_loss(tape, bar), bar.floor - left
    assert beyond <= bound + CENT, (bar, left, bound)
    found.breaches += 1
    found.beyond += beyond > 0.0
    found.largest_share = max(found.largest_share, beyond / bound)


# --- markets


@pytest.fixture(scope="module")
def wild(toy_spec, toy_bars, toy_tape) -> Callable[..., Tape]:
    """Hourly bars with weekends, jumps and fat tails; several symbols miss bars."""

    def make(seed: int, bars: int, symbols: int, **rules: float) -> Tape:
        rng = np.random.default_rng([seed, symbols])
        hour = np.arange(2 * bars)
        hour = hour[hour % 168 < 120][:bars]  # five days of seven
        listed, specs = [], []
        for s, name in enumerate(["AAA", "BBB"][:symbols]):
            here = hour if symbols == 1 else hour[rng.random(bars) < 0.9]
            monday = np.diff(here, prepend=here[0]) > 24
            n = len(here)
            jump = 0.008 * rng.standard_t(2, n) * (rng.random(n) < 0.1)
            gap = np.clip(jump + 0.05 * monday * rng.standard_t(3, n), -0.3, 0.3)
            inside = np.clip(0.008 * rng.standard_t(3, n), -0.2, 0.2)
            price, opened, close = 100.0, np.empty(n), np.empty(n)
            for k in range(n):
                pull = -0.02 * np.log(price / 100.0)
                opened[k] = price * np.exp(gap[k])
                price = close[k] = opened[k] * np.exp(inside[k] + pull)
            reach = 1.0 + 0.01 * rng.random((2, n))
            high, low = np.maximum(opened, close) * reach[0], np.minimum(opened, close) / reach[1]
            rows = np.round(np.stack([opened, high, low, close], axis=1), 2)
            spread = rng.integers(0, 60, n)
            start = "2024-01-01T00:00"
            listed.append(toy_bars(rows, name, start=start, spread=spread, hours=here))
            swaps = {"swap_long": float(rng.normal(0, 9)), "swap_short": float(rng.normal(0, 9))}
            mode = ("none", "points", "percent", "money")[(seed + s) % 4]
            specs.append(toy_spec(name, swap_mode=mode, commission_per_lot=3.5, **swaps))
        return toy_tape(listed, specs, atr_bars=3, slippage_points=2, **ROBUST, **rules)

    return make


def run_all(wild: Callable[..., Tape], bars: int) -> dict[str, Found]:
    """Every limit against every agent, sizes and symbols in turn, ``bars`` bars each."""
    found: dict[str, Found] = {}
    lane = 0
    for name in (*LIMITS, *PRESETS):
        found[name] = Found()
        preset = load_rules(name)[0] if name in PRESETS else None
        rules = LIMITS[name] if preset is None else {**FAR, **preset.numbers()}
        for agent in AGENTS:
            lane += 1
            chosen = {**SIZES[lane % 3], "hedging": float(lane % 5 == 0), **rules}
            tape = wild(lane, bars, 1 + lane % 2, **chosen)

            def watch(day: int, preset: Any = preset, rules: Any = rules) -> Any:
                return Breaker(rules, day) if preset is None else Challenge(preset, day)

            attack(tape, watch, agent, lane, found[name])
    return found


def check(found: dict[str, Found], bars: int) -> None:
    assert sum(one.bars for one in found.values()) > bars
    for name, one in found.items():
        assert one.beyond > 20, name
        assert one.breaches > 20, name
        assert one.largest_share > 0.3, name  # the bound is no idle one
        assert (one.targets > 20) == (name in PRESETS), name


def test_no_limit_is_overshot_by_more_than_a_gap(wild):
    check(run_all(wild, 2_900), 100_000)


@pytest.mark.slow
def test_no_limit_is_overshot_by_more_than_a_gap_in_a_million_bars(wild):
    check(run_all(wild, 28_500), 1_000_000)
