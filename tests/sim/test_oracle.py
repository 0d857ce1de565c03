"""The kernel against the oracle, a second account in plain fractions, bar after bar.

The oracle first has to find every table of ``test_golden_stops`` by itself. Then both play wild
markets with all options at random. The kernel's targets are given to the oracle, which holds them
against re-entry, partial close and breaker, and works out everything else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import module_from_spec, spec_from_file_location
from math import floor, isnan
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from mtquant.risk.reasons import REASONS
from mtquant.sim.account import Tape
from mtquant.sim.costs import SWAP_MODES
from mtquant.sim.inside import highest, lowest
from mtquant.sim.kernel import RUNNING, TERMINATED
from mtquant.sim.simulator import Simulator

pytestmark = pytest.mark.nojit


def load(name: str) -> ModuleType:
    """A module that stands beside this file; the tests are no package."""
    spec = spec_from_file_location(f"sim_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


oracle, golden = load("oracle"), load("test_golden_stops")

REASON = {"protective stop": oracle.STOP, "target reached": oracle.TARGET, "stop-out": "stop-out"}


TICK = Fraction(1, 100)  # of all toys, of which a lot step is one unit
CONVERTED_UNITS = 100  # or so many


def exact(number: Any) -> Fraction:
    """The decimal that a float stands for."""
    return Fraction(str(float(number)))


def contracts_of(tape: Tape) -> list[Any]:
    listed = []
    for row in tape.contracts:
        unit = Fraction(int(row["swap_mode"] != SWAP_MODES["none"]))
        listed.append(
            oracle.Contract(
                least=int(row["min_steps"]),
                slippage=int(row["slippage_ticks"]),
                stops_level=int(row["stops_ticks"]),
                commission=exact(row["commission"]),
                margin_share=exact(row["margin_share"]),
                swap_long=exact(row["swap_long"]) * unit,
                swap_short=exact(row["swap_short"]) * unit,
                percent=bool(row["swap_mode"] == SWAP_MODES["percent"]),
                points=bool(row["swap_mode"] == SWAP_MODES["points"]),
            )
        )
    return listed


def bars_of(tape: Tape, converted: bool = False) -> list[list[Any]]:
    """The tape's bars, converted by its last symbol or not; values are the oracle's own."""
    value = TICK * (CONVERTED_UNITS if converted else 1)
    history = [
        [
            oracle.Bar(
                *(int(ticks) for ticks in (row["open"], highest(row), lowest(row), row["close"])),
                int(row["spread"]),
                atr=Fraction(float(row["atr"])).limit_denominator(1000),
                value=value,
                open_value=value,
                nights=int(row["nights"]),
                tradable=bool(row["tradable"]),
            )
            for row in rows
        ]
        for rows in tape.market
    ]
    return oracle.converted(history, -1, TICK) if converted else history


def account_of(tape: Tape, start: int, latency: float) -> Any:
    row = tape.rules[0]
    multiples = ("stop_atr", "take_atr", "trail_atr", "break_even_atr")
    shares = ("partial_at", "partial_share", "stop_out_level")
    rules = oracle.Rules(
        reentry_bars=int(row["reentry_bars"]),
        losses=tuple(exact(row[f"daily_loss_level_{level}"]) for level in (1, 2, 3)),
        **{name: exact(row[name]) for name in multiples + shares},
    )
    return oracle.Account(
        contracts_of(tape), rules, exact(row["capital"]), int(tape.day[start]), exact(latency)
    )


# The tables.


def sized(account: Any, bar: Any, s: int, action: float, fraction: Fraction) -> int:
    """The tables' own sizing: a multiple of equity, a tenth of it left alone.

    What is on its way counts as held.
    """
    held = account.pending[-1][s] if account.pending else account.positions[s].steps
    if not bar.tradable or isnan(action):
        return held
    full = fraction * account.equity / (bar.close * bar.value)
    target = floor(abs(exact(action)) * full) * (1 if action > 0 else -1)
    if abs(target) < account.contracts[s].least:
        return 0
    near = target * held > 0 and abs(target - held) <= full / 10
    return held if near else target


@pytest.mark.parametrize("market", golden.MARKETS, ids=lambda market: market.name)
def test_the_oracle_finds_the_tables(market, toy_spec, toy_bars, toy_tape):
    rows = golden.parse(market.table)
    tape = golden.tape_of(market, rows, toy_spec, toy_bars, toy_tape)
    account, history = account_of(tape, 1, market.latency), bars_of(tape)
    names = {oracle.ORDER: "", oracle.STOP_OUT: "out"}
    for k, row in enumerate(rows[1:], start=1):
        before, bars = history[k : k + 2]
        account.protect(before)
        account.hear(k, rows[k - 1].actions)
        fraction = exact(tape.rules["notional_fraction"][0])
        targets = [
            account.allowed(s, sized(account, bar, s, rows[k - 1].actions[s], fraction))
            for s, bar in enumerate(before)
        ]
        deals: list[list[tuple[int, float, str]]] = [[] for _ in bars]
        for d in account.play(k + 1, int(tape.day[k + 1]), before, bars, targets):
            deals[d.symbol].append((d.steps, d.price / 100, names.get(d.reason, d.reason)))
        assert deals == row.deals, k
        assert float(account.balance) == row.balance, k
        assert float(account.equity) == pytest.approx(row.equity, abs=1e-6), k
        assert account.level == market.levels.get(k, account.level), k


# Markets at random.

OPTIONS: dict[str, tuple[float, ...]] = {
    "stop_atr": (0.0, 0.2, 0.7, 1.5),
    "take_atr": (0.0, 0.3, 1.0, 2.5),
    "trail_atr": (0.0, 0.0, 0.6, 1.7),
    "break_even_atr": (0.0, 0.0, 0.15, 0.5),
    "partial_at": (0.0, 0.3, 0.6),
    "partial_share": (0.25, 0.5, 0.8),
    "reentry_bars": (0, 1, 2, 5),
    "stop_out_level": (0.2, 0.5, 1.0),
}
# Margin is most of the equity: a bar or two lead to a stop-out.
WILD = {
    "sizing_method": 1,
    "notional_fraction": 10.0,
    "max_exposure": 20.0,
    "leverage": 25.0,
    "daily_loss_level_1": 0.97,
    "daily_loss_level_2": 0.98,
    "daily_loss_level_3": 0.99,
}
LATENCIES = (0.0, 0.0, 0.0, 0.3, 0.5, 1.0, 1.5, 2.0)


@dataclass(frozen=True)
class Case:
    """A market, what is done in it, and how late."""

    tape: Tape
    actions: np.ndarray
    start: int
    latency: float
    converted: bool = False


def case_of(random_tape: Any, seed: int, converted: bool = False) -> Case:
    rng = np.random.default_rng([seed, 7])
    symbols, latency = int(rng.integers(1, 4)), float(rng.choice(LATENCIES))
    options = {name: float(rng.choice(values)) for name, values in OPTIONS.items()}
    late = {"latency_least": latency, "latency_most": latency}
    wild = WILD if rng.random() < 0.4 else {}
    tape = random_tape(seed, symbols, converted=converted, **options, **late, **wild)
    tape.contracts["stops_ticks"] = rng.choice([0, 0, 25, 150], symbols)
    bars = len(tape.market)
    actions = rng.choice([-1.2, -0.6, -0.2, 0.0, 0.2, 0.6, 1.2, np.nan], (bars, symbols))
    for t in range(1, bars):  # most say today what they said yesterday
        same = rng.random(symbols) < 0.6
        actions[t, same] = actions[t - 1, same]
    return Case(tape, actions.astype(np.float32), int(rng.integers(5)), latency, converted)


def money(deal: Any) -> tuple[float, float, float]:
    return float(deal.profit), float(deal.commission), float(deal.swap)


def play(case: Case) -> Iterator[tuple[int, Any, Simulator, int]]:
    """``(bar, oracle, simulator, status)`` after each bar, both fed with the same."""
    tape, simulator = case.tape, Simulator(case.tape)
    simulator.place(0, case.start, len(tape.market) - 1, float(tape.rules["capital"][0]))
    simulator.book.account["latency"] = case.latency
    account = account_of(tape, case.start, case.latency)
    history = bars_of(tape, case.converted)
    for t in range(case.start, len(tape.market) - 1):
        before, bars = history[t : t + 2]
        account.protect(before)
        account.hear(t, case.actions[t].tolist())
        _, _, status = simulator.step_lane(0, case.actions[t][None])
        targets = simulator.book.positions["target"][0].tolist()
        for s, target in enumerate(targets):
            held = account.positions[s].steps
            small = abs(held - account.allowed(s, target)) < account.contracts[s].least
            kept = target == held and (small or not before[s].tradable)
            assert kept or account.allowed(s, target) == target, (t, s)
        account.play(t + 1, int(tape.day[t + 1]), before, bars, targets)
        yield t + 1, account, simulator, status
        if status != RUNNING:
            return


def compare(case: Case) -> set[str]:
    """Hold every bar of a case against the oracle; returns the kinds of deals seen."""
    contract, seen = case.tape.contracts, set()
    for t, account, simulator, status in play(case):
        book, ours = simulator.book, simulator.book.account[0]
        deals = book.deals[0, : ours["n_deals"]]
        for s, position in enumerate(account.positions):
            tick = contract["tick_n"][s] / contract["tick_d"][s]
            mine, theirs = [d for d in account.deals if d.symbol == s], deals[deals["symbol"] == s]
            kinds = [REASON.get(REASONS[reason], oracle.ORDER) for reason in theirs["reason"]]
            assert kinds == [d.reason for d in mine], (t, s)
            assert theirs["steps"].tolist() == [d.steps for d in mine], (t, s)
            np.testing.assert_allclose(theirs["price"], [d.price * tick for d in mine], atol=1e-9)
            paid = np.stack([theirs[name] for name in ("profit", "commission", "swap")], axis=1)
            expected = np.array([money(d) for d in mine]).reshape(-1, 3)
            np.testing.assert_array_equal(np.round(paid, 2), np.round(expected, 2))
            kept = book.positions[0, s]
            assert kept["steps"] == position.steps, (t, s)
            assert (kept["stop"], kept["take"]) == (position.stop, position.take), (t, s)
            seen |= set(kinds)
        assert ours["balance"] == pytest.approx(float(account.balance), abs=1e-6), t
        assert ours["equity"] == pytest.approx(float(account.equity), abs=1e-6), t
        assert ours["level"] == account.level, t
        flat = not any(position.steps for position in account.positions)
        assert (status == TERMINATED) == (account.level == 3 and flat), t
    return seen


@pytest.mark.parametrize("converted", [False, True], ids=["", "converted"])
@pytest.mark.parametrize("first", range(0, 60, 10))
def test_kernel_and_oracle_agree(random_tape, first, converted):
    seen = set()
    for seed in range(first, first + 10):
        seen |= compare(case_of(random_tape, seed, converted))
    assert {oracle.ORDER, oracle.STOP, oracle.TARGET} <= seen
