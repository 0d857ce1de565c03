"""Several symbols on one account: each rests at other hours, and paper is still the backtest."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from mtquant.market.bars import Bars
from mtquant.market.timeframe import Timeframe
from mtquant.risk.reasons import STOP
from mtquant.sim.records import DEAL

SYMBOL, REASON = map((DEAL.names or ()).index, ("symbol", "reason"))


class Pair:
    """Plays both symbols by hour and by what it sees of them."""

    name, scaled, window = "pair", False, 1
    inputs = ("XAUUSD.hour_sin", "XAUUSD.hour_cos", "XAUUSD.ret_1", "EURUSD.ret_1")

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.seen.append(observation.tobytes())
        hour = round(np.arctan2(observation[0], observation[1]) / (2 * np.pi) * 24) % 24
        gold = {2: 1.0, 9: -0.6, 15: 0.3, 21: 0.0}.get(hour, np.nan)
        euro = np.sign(observation[2] - observation[3]) if hour % 3 == 0 else np.nan
        return np.array([gold, euro], np.float32), state


def walk(symbol: str, time: np.ndarray, seed: int, price: float) -> Bars:
    rng = np.random.default_rng(seed)
    close = np.round(price * np.exp(np.cumsum(0.001 * rng.standard_normal(time.size))), 2)
    opening = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(opening, close) + 0.05, np.minimum(opening, close) - 0.05
    spread = rng.integers(5, 25, time.size).astype(np.float64)
    return Bars(symbol, Timeframe.H1, time, opening, high, low, close, np.zeros(time.size), spread)


def rare_pair() -> list[Bars]:
    """One lacks every fifth bar or so, the other rests for hours: some bars neither follows."""
    rng = np.random.default_rng(8)
    hours = 1_420_416_000 * 10**9 + np.arange(1200) * 3600 * 10**9
    gold = hours[(rng.random(1200) > 0.2) & (np.arange(1200) % 24 < 20)]
    euro = hours[(rng.random(1200) > 0.1) & (np.arange(1200) % 24 > 5)]
    return [walk("XAUUSD", gold, 1, 2000.0), walk("EURUSD", euro, 2, 1500.0)]


STOPS = {"atr": 2.0, "target_atr": 3.0, "trail_atr": 1.2, "reentry_bars": 4}


def portfolio(make_world, limits=(), currency="USD", **env):
    limits = {"max_exposure": 12.0, **dict(limits)}
    plain = make_world(400, symbols=("XAUUSD",), limits=limits, **env)
    account = plain.env.account.model_copy(update={"currency": currency})
    env = plain.env.model_copy(update={"symbols": ("XAUUSD", "EURUSD"), "account": account})
    return type(plain)(env, rare_pair(), Pair())


def test_two_symbols_with_other_hours_trade_alike(make_world, tmp_path):
    world = portfolio(make_world)
    backtest = world.backtest()
    seen, world.agent.seen = world.agent.seen, []
    paper = world.paper(world.terminal(), tmp_path / "journal.db")
    assert world.agent.seen == seen
    assert paper.deals == backtest.deals and paper.equity == backtest.equity
    assert paper.steps == backtest.steps and paper.levels == backtest.levels
    assert {deal[SYMBOL] for deal in backtest.deals} == {0, 1} and len(backtest.deals) > 200


def test_an_account_in_another_currency_trades_alike(make_world, tmp_path):
    """What was spent of the day's budget is converted at the open by both."""
    world = portfolio(
        make_world, {"day_budget": 40_000.0}, "EUR", costs={"commission_per_lot": 0.0}
    )
    gold, euro = world.specs
    world.specs = gold, euro.model_copy(update={"base": "EUR"})
    backtest = world.backtest()
    paper = world.paper(world.terminal(), tmp_path / "journal.db")
    assert paper.deals == backtest.deals and paper.equity == backtest.equity
    assert paper.steps == backtest.steps and len(backtest.deals) > 100


def test_a_restart_in_the_middle_changes_nothing(make_world, tmp_path):
    world = portfolio(make_world)
    whole = world.paper(world.terminal(), tmp_path / "whole.db")
    terminal = world.terminal()
    first = world.paper(terminal, tmp_path / "cut.db", bars=300)
    second = world.paper(terminal, tmp_path / "cut.db")
    assert first.equity + second.equity == whole.equity
    assert first.deals + second.deals == whole.deals


@pytest.mark.parametrize("book", ["netting", "hedging"])
def test_stops_wait_where_a_symbol_rests(make_world, tmp_path, book):
    """No stop can be moved before the market opens again, and nobody is told of a stranger."""
    world = portfolio(make_world, stops=STOPS, account={"book": book})
    backtest = world.backtest()
    seen, world.agent.seen = world.agent.seen, []
    terminal, parts = world.terminal(), []
    while not terminal.finished:
        parts.append(world.paper(terminal, tmp_path / "journal.db", bars=300))
    for name in ("deals", "equity", "steps"):
        assert [x for part in parts for x in getattr(part, name)] == getattr(backtest, name), name
    assert world.agent.seen == seen
    stopped = {deal[SYMBOL] for deal in backtest.deals if deal[REASON] == STOP}
    assert stopped == {0, 1}
    with sqlite3.connect(tmp_path / "journal.db") as database:
        events = {text for (text,) in database.execute("SELECT text FROM event")}
    database.close()
    strange = {event for event in events if " closed " not in event}
    assert not strange
