"""What a face tells of its account, held against another face or reckoned anew from its deals."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from lives import OF_THE_ACCOUNT, Bar, Life, assert_same

from mtquant.backtest.deals import Deal
from mtquant.backtest.run import BacktestResult
from mtquant.brokers import constants as mt5
from mtquant.brokers.base import Instrument
from mtquant.envs.scenario import Scenario
from mtquant.risk.breaker import LEVEL_NAMES
from mtquant.risk.reasons import (
    MARGIN,
    MAX_EXPOSURE,
    MAX_POSITION,
    PARTIAL_CLOSE,
    REASONS,
    STOP,
    STOP_OUT,
    TAKE_PROFIT,
)
from mtquant.sim.account import entry_ticks, on_entry_grid, round_money

REASON_OF = {
    mt5.DEAL_REASON_SL: STOP,
    mt5.DEAL_REASON_TP: TAKE_PROFIT,
    mt5.DEAL_REASON_SO: STOP_OUT,
}
FIRST_LIMIT = MAX_POSITION  # codes from here on are limits and gates


def check_backtest(result: BacktestResult, life: Life, env: Life) -> None:
    """The report's ledger against another face's life."""
    ledger, lot = result.ledger, result.scenario.market.specs[0].lot_step
    bars = life.bars
    assert_same("backtest, equity", ledger.equity.tolist(), [bar.equity for bar in bars])
    assert_same(
        "backtest, position", ledger.position_lots[:, 0].tolist(), [bar.steps * lot for bar in bars]
    )
    assert_same("backtest, deals", result.deals, [deal for bar in bars for deal in bar.deals])
    assert_same("backtest, rewards", result.rewards[: len(env.rewards)].tolist(), env.rewards)
    rises = [
        (int(time), f"circuit breaker {LEVEL_NAMES[now]}")
        for time, (before, now) in zip(
            ledger.time_ns, pairwise([0, *(bar.level for bar in bars)]), strict=True
        )
        if now > before
    ]
    named = [(e.time_ns, e.text) for e in ledger.events if "breaker" in e.text]
    assert_same("backtest, breaker", named, rises)


class Reckoner:
    """Balance and tickets as they follow from deals, by the rules of ``docs/physics.md``."""

    def __init__(self, scenario: Scenario, tape: Any) -> None:
        self.balance, self.scale = scenario.env.account.capital, tape.rules["money_scale"][0].item()
        self.hedging, self.contract = bool(tape.rules["hedging"][0]), tape.contracts[0]
        self.tickets: list[list[Any]] = []  # number, steps, entry in ticks, swap

    @property
    def steps(self) -> int:
        return sum(ticket[1] for ticket in self.tickets)

    @property
    def entry(self) -> float:
        if len(self.tickets) == 1:
            return self.tickets[0][2]
        cost = 0.0
        for _, steps, entry, _ in self.tickets:
            cost += steps * entry
        return float(on_entry_grid(cost / self.steps)) if self.tickets else 0.0

    def take(self, deal: Deal, value: float) -> None:
        """One deal; its profit and swap must be what the ticket says."""
        ticks = entry_ticks(self.contract, deal.price)
        money = deal.profit + deal.swap - deal.commission
        self.balance = round_money(self.balance + money, self.scale)
        assert deal.closing == (deal.steps * self.steps < 0)
        if deal.closing:
            (ticket,) = (one for one in self.tickets if one[0] == deal.ticket)
            assert deal.profit == round_money(-deal.steps * (ticks - ticket[2]) * value, self.scale)
            if ticket[3] != 0.0:
                share = round_money(ticket[3] * (-deal.steps / ticket[1]), self.scale)
                assert deal.swap == share
                ticket[3] = round_money(ticket[3] - share, self.scale)
            ticket[1] += deal.steps
            self.tickets = [one for one in self.tickets if one[1] != 0]
        elif self.hedging or not self.tickets:
            self.tickets.append([deal.ticket, deal.steps, ticks, 0.0])
        else:
            (ticket,) = self.tickets
            held = ticket[1]
            ticket[2] = (held * ticket[2] + deal.steps * ticks) / (held + deal.steps)
            ticket[1:3] = held + deal.steps, float(on_entry_grid(ticket[2]))

    def shown(self, market: Any) -> tuple[float, float, float]:
        """Balance, equity and margin at the open of a bar."""
        equity, steps, value = self.balance, self.steps, market["value"].item()
        if steps:
            swap = 0.0
            for ticket in self.tickets:
                swap += ticket[3]
            bid = market["open"].item()
            leaving = bid if steps > 0 else bid + market["spread"].item()
            equity += swap + steps * (leaving - self.entry) * value
        margin = abs(steps) * (market["open"].item() * value * self.contract["margin_share"].item())
        return self.balance, equity, margin


def check_books(scenario: Scenario, terminal: Any, bars: Sequence[Bar]) -> None:
    """Balances and tickets follow from deals, margin and equity at the open from both."""
    tape, first = terminal.account.tape, scenario.first_row + 1
    books = Reckoner(scenario, tape)
    for at, (bar, (begun, *shown)) in enumerate(zip(bars, terminal.shown, strict=True)):
        market = tape.market[first + at, 0]
        value = market["value"].item()
        for deal in bar.deals[:begun]:
            books.take(deal, value)
        assert_same(f"terminal at the open of bar {at}", shown, books.shown(market))
        for deal in bar.deals[begun:]:
            assert deal.reason in (STOP, TAKE_PROFIT, STOP_OUT)
            books.take(deal, value)
        assert (books.balance, books.steps) == (bar.balance, bar.steps), f"bar {at}"
        told = [(number, steps, entry) for number, steps, entry, _ in books.tickets]
        assert told == [one[:3] for one in bar.tickets], f"bar {at}"
        books.tickets = [list(one) for one in bar.tickets]  # with the swap of the night


def check_broker(terminal: Any, scenario: Scenario, deals: Sequence[Deal]) -> int:
    """The terminal's history, as a person would read it there.

    Returns how many deals closed, by an order, what a moved stop that no broker took would have.
    """
    spec = scenario.market.specs[0]
    instrument = Instrument(spec, spec.name)
    history = terminal.account.deals[1:]
    told = [
        (
            d.volume if d.type == mt5.DEAL_TYPE_BUY else -d.volume,
            d.entry == mt5.DEAL_ENTRY_OUT,
            d.price,
            d.profit,
            d.commission,
            d.swap,
        )
        for d in history
    ]
    expected = [
        (instrument.lots(d.steps), d.closing, d.price, d.profit, -d.commission, d.swap)
        for d in deals
    ]
    assert_same("terminal, deals", told, expected)
    by_order = 0
    for shown, deal in zip(history, deals, strict=True):
        reason = REASON_OF.get(shown.reason)
        by_order += reason is None and deal.reason == STOP
        assert reason in (None, deal.reason)
        assert reason is not None or deal.reason not in (TAKE_PROFIT, STOP_OUT)
    return by_order


def check_journal(path: Path, tape: Any, bars: Sequence[Bar]) -> None:
    """What the runner has written down of every bar that it decided on, the first left out."""
    with sqlite3.connect(path) as database:
        rows = database.execute(
            "SELECT equity, balance, level, positions, memory FROM account ORDER BY bar_time_ns"
        ).fetchall()
    database.close()
    written, expected = [], []
    for (equity, balance, level, positions, memory), bar in zip(rows[1:], bars[:-1], strict=True):
        (held,), known = json.loads(positions), json.loads(memory)
        numbers = [held[name] for name in ("steps", "swap", "age", "result")]
        counts = [known[name] for name in OF_THE_ACCOUNT[3:]]
        written.append((equity, balance, level, *counts, *numbers))
        expected.append((*bar[: len(OF_THE_ACCOUNT)], bar.steps, bar.swap, bar.age, bar.result))
        if len(bar.tickets) == 1:
            assert entry_ticks(tape.contracts[0], held["entry"]) == bar.entry
        assert len(held["identifiers"]) == len(bar.tickets)
    assert_same("journal", written, expected)


def coverage(scenario: Scenario, life: Life, tape: Any) -> Counter[str]:
    """How often it happened."""
    count: Counter[str] = Counter(bars=len(life.bars))
    count.update(why for why in life.refused if why)
    market = tape.market[scenario.first_row + 1 :, 0]
    swaps = scenario.market.specs[0].swap_mode != "none"
    bars = life.bars
    flat = bars[0]._replace(steps=0, level=0, stop=0, deals=())
    for before, bar, row in zip([flat, *bars], bars, market, strict=False):
        reasons = {deal.reason for deal in bar.deals}
        count["deals"] += len(bar.deals)
        for reason in reasons & {STOP, TAKE_PROFIT, STOP_OUT, PARTIAL_CLOSE}:
            count[REASONS[reason]] += 1
        count["limited"] += bool(reasons & {MAX_EXPOSURE, MARGIN})
        count["new limits"] += any(reason >= FIRST_LIMIT for reason in reasons)
        count["flips"] += before.steps * bar.steps < 0
        count["reductions"] += 0 < bar.steps * before.steps < before.steps**2
        count["triple swaps"] += bool(swaps and bar.steps and row["nights"] >= 3)
        count["moved stops"] += bool(bar.stop and before.stop and not bar.deals) and (
            bar.stop != before.stop
        )
        count["tickets closed"] += sum(deal.closing for deal in bar.deals if deal.ticket)
        count["brakes"] += bar.level > before.level
        count["releases"] += bar.level < before.level
    return count
