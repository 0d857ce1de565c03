"""Through requests and answers come the kernel's very deals, stops and tickets included.

``follow`` is all that a client has to do for that: move the stops, close, open.
"""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.brokers.base import Outcome
from mtquant.risk.reasons import STOP, TAKE_PROFIT
from mtquant.sim.account import empty_book
from mtquant.sim.decisions import decide_all
from mtquant.sim.episodes import open_account
from mtquant.sim.inside import carry, inside_bar
from mtquant.sim.kernel import close_bar, open_bar, trade

BARS = 1000
RULES = {
    "sizing_method": 1,  # a fixed share of equity
    "notional_fraction": 3.0,
    "daily_loss_level_1": 9.0,
    "daily_loss_level_2": 9.0,
    "daily_loss_level_3": 9.0,
    "shrink": 1.0,
    "stop_atr": 1.0,
    "take_atr": 2.0,
    "trail_atr": 1.5,
    "break_even_atr": 0.7,
    "partial_at": 0.5,
    "partial_share": 0.5,
    "reentry_bars": 3,
}


def wild_market(desk, seed, hedging):
    """A random walk that gaps at most opens."""
    rng = np.random.default_rng(seed)
    closes = np.round(100.0 + np.cumsum(rng.normal(0.0, 0.5, BARS)), 2)
    opens = np.round(np.append(100.0, closes[:-1]) + rng.normal(0.0, 0.8, BARS), 2)
    low, high = np.round(rng.exponential(0.4, (2, BARS)), 2)
    rules = RULES | {"hedging": hedging}
    return desk(opens, closes=closes, low=low, high=high, rules=rules), rng


def follow(made, position, moved):
    """Bring the account where a decided position of the kernel wants it; whether a stop failed."""
    held, target = int(position["steps"]), int(position["target"])
    levels = [made.instrument.price(int(position[name])) for name in ("stop", "take")]
    failed = False
    if moved:
        answers = [made.change(*levels, p.ticket) for p in made.positions]
        failed = answers[0].outcome is not Outcome.EXECUTED and target * held > 0
    if failed:
        target = 0  # what the stop would have protected is closed at the market
    between = 0 if held * target < 0 else min(held, target, key=abs)
    left = between - held
    for p in made.positions:  # the oldest first
        steps = made.instrument.steps(p.volume_lots)
        part = left if abs(left) <= abs(steps) else -steps
        left -= part
        if part:
            assert made.send(part, ticket=p.ticket).outcome is Outcome.EXECUTED
    if target != between:
        stop, take = int(position["stop_distance"]), int(position["take_distance"])
        made.send(target - between, stop_distance=stop, take_distance=take)
    return failed


@pytest.mark.parametrize("hedging", [0, 1])
@pytest.mark.parametrize("seed", [1, 2, 9])
def test_the_kernels_own_deals(desk, seed, hedging):
    made, rng = wild_market(desk, seed, hedging)
    account = made.terminal.account
    tape, book = account.tape, empty_book(1, 1, account.tape.rules[0])
    open_account(book, tape, 0, 0, BARS - 1, 10_000.0)
    action, failed, seen = 0.0, 0, set()
    for t in range(1, BARS):
        if rng.random() < 0.3:
            action = rng.choice([-1.0, -0.5, 0.0, 0.5, 1.0])
        decide_all(book, tape, 0, t - 1, np.array([[action]], np.float32))
        failed += follow(made, book.positions[0, 0], bool(book.positions["moved"][0, 0]))
        open_bar(book, tape, 0, t)
        trade(book, tape, 0, t)
        inside_bar(book, tape, 0, t)
        carry(book, tape, 0, t)
        close_bar(book, tape, 0, t)
        made.terminal.advance()
        count = int(book.account["n_deals"][0])
        assert int(account.book.account["n_deals"][0]) == count
        for name in ("steps", "price", "profit", "commission", "ticket"):
            same = account.book.deals[name][0, :count] == book.deals[name][0, :count]
            assert same.all(), (t, name)
        for name in ("steps", "entry", "stop", "take"):
            assert account.book.positions[name] == book.positions[name], (t, name)
        assert account.book.account["balance"] == book.account["balance"]
        seen |= set(account.book.deals["reason"][0, :count].tolist())
    assert failed and {STOP, TAKE_PROFIT} <= seen
    assert len(made.deals) > BARS / 2
