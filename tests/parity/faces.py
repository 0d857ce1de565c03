"""The four faces of one account, played with the same bars and actions and compared bit for bit.

    env         TradingEnv, one account
    batch       SB3VecEnv and VectorTradingEnv, lane 0 beside strangers
    backtest    run_agent
    paper       MT5Adapter and Runner on the simulated terminal, started anew now and then

The env ends with its account; the batch then begins again at the first row and has to live the
same life once more; backtest and paper go on to the last bar.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mtquant.agents.base import Float32
from mtquant.backtest.deals import Deal
from mtquant.backtest.run import BacktestResult, run_agent
from mtquant.brokers import constants as mt5
from mtquant.brokers.base import Instrument
from mtquant.brokers.terminal import SimulatedTerminal
from mtquant.brokers.terminal_state import AccountTerms
from mtquant.envs.scenario import Scenario
from mtquant.envs.trading import TradingEnv
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.envs.vector import VectorTradingEnv
from mtquant.live.decide import Strategy
from mtquant.live.journal import Journal
from mtquant.live.paper import paper_bars, paper_runner
from mtquant.market.clock import DAY_NS
from mtquant.risk.breaker import LEVEL_NAMES
from mtquant.risk.checks import MARGIN, MAX_EXPOSURE, NO_MONEY, REASONS, STOP_OUT
from mtquant.sim.account import Book, round_money

LANES = 3
AFTERLIFE = 10  # bars that the other faces go on after an account has come to its end


class Bar(NamedTuple):
    """The account at the close of a bar, and what was dealt in it."""

    equity: float
    balance: float
    level: int
    losing_run: int
    steps: int
    entry: float
    swap: float
    age: int
    result: float
    deals: tuple[Deal, ...]

    @classmethod
    def of(cls, book: Book) -> Bar:
        """Of lane 0."""
        account, position = book.account[0], book.positions[0, 0]
        deals = tuple(Deal.of(deal) for deal in book.deals[0, : account["n_deals"]])
        named = [account[name].item() for name in cls._fields[:4]]
        return cls(*named, *(position[name].item() for name in cls._fields[4:9]), deals)


class Life(NamedTuple):
    """What a face showed, bar by bar."""

    bars: list[Bar]
    seen: list[bytes]  # what each decision was made on
    refused: list[bool]  # for lack of money
    rewards: list[float]
    summary: dict[str, Any]


class ScriptedAgent:
    """Plays the action of the bar that it is shown; it has no memory that a restart could lose."""

    name = "scripted"
    inputs = None
    scaled = True
    window = 1

    def __init__(self, features: Float32, actions: Float32) -> None:
        """An action for each row of features; rows of equal features get the same one."""
        self.width = features.shape[1]
        self.seen: list[bytes] = []
        self._script: dict[bytes, Float32] = {}
        for row, action in zip(features, actions, strict=True):
            self._script.setdefault(row.tobytes(), np.array([action], np.float32))

    def predict(
        self,
        observation: Float32,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Float32, Any]:
        self.seen.append(observation.tobytes())
        return self._script[observation[: self.width].tobytes()], state

    def taken(self) -> list[bytes]:
        """What was seen since the last call."""
        seen, self.seen = self.seen, []
        return seen


def assert_same(face: str, got: Sequence[Any], expected: Sequence[Any]) -> None:
    """Equal to the last bit; says where the first difference is."""
    for at, (mine, other) in enumerate(zip(got, expected, strict=True)):
        assert mine == other, f"{face}, bar {at} after the first: {mine!r} is not {other!r}"


def play_env(scenario: Scenario, agent: ScriptedAgent) -> Life:
    env = TradingEnv(scenario, split="all", training=False)
    lot = scenario.market.specs[0].lot_step
    life = Life([], [], [], [], {})
    observation, info = env.reset(seed=1)
    over = False
    while not over:
        action, _ = agent.predict(observation)
        observation, reward, ended, cut, info = env.step(action)
        bar, over = Bar.of(env._simulator.book), ended or cut
        shown = (info["equity"], info["balance"], info["breaker"], info["position_lots"])
        assert shown == (bar.equity, bar.balance, LEVEL_NAMES[bar.level], [bar.steps * lot])
        life.bars.append(bar)
        life.refused.append(info["reason"] == [REASONS[NO_MONEY]])
        life.rewards.append(reward)
    life.summary.update(info["episode_summary"])
    life.seen.extend([*agent.taken(), observation.tobytes()])
    return life


def play_batch(kind: Any, scenario: Scenario, agent: ScriptedAgent, env: Life, count: int) -> int:
    """Step ``count`` bars and compare lane 0 with the env; returns the lives that it ended."""
    face = kind.__name__
    batch = kind(scenario, LANES, split="all", training=False)
    strangers = np.random.default_rng(1).uniform(-1, 1, (count, LANES, 1)).astype(np.float32)
    first = batch.reset()
    seen = first[0] if isinstance(first, tuple) else first
    row, lives = 0, 0
    for actions in strangers:
        where = f"{face}, life {lives}, bar {row} after the first"
        assert seen[0].tobytes() == env.seen[row], f"{where}: another observation"
        actions[0], _ = agent.predict(seen[0])
        seen, rewards, *_, infos = batch.step(actions)
        assert rewards[0] == np.float32(env.rewards[row]), where
        row += 1
        if row < len(env.bars):
            bar = Bar.of(batch.simulator.book)
            assert bar == env.bars[row - 1], f"{where}: {bar} is not {env.bars[row - 1]}"
            continue
        last, summary = last_words(infos)
        assert last.tobytes() == env.seen[row], where
        assert summary == env.summary, where
        row, lives = 0, lives + 1
    agent.taken()
    return lives


def last_words(infos: Any) -> tuple[Float32, dict[str, Any]]:
    """Last observation and summary of lane 0, as Gymnasium or Stable-Baselines3 tells them."""
    if isinstance(infos, dict):
        return infos["final_obs"][0], infos["episode_summary"][0]
    return infos[0]["terminal_observation"], infos[0]["episode_summary"]


class WatchedTerminal(SimulatedTerminal):
    """Notes what the account shows after the orders of each bar's open."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.shown: list[tuple[float, float, float]] = []

    def advance(self) -> None:
        info = self.account_info()
        assert info is not None
        self.shown.append((info.balance, info.equity, info.margin))
        super().advance()


def make_terminal(scenario: Scenario, agent: ScriptedAgent) -> WatchedTerminal:
    env, rows = scenario.env, scenario.rows("all")
    account = env.account
    return WatchedTerminal(
        scenario.market.panel,
        scenario.market.specs,
        scenario.tape(scenario.features(agent), rows),
        rows=rows,
        terms=AccountTerms(account.capital, account.currency, int(account.leverage)),
    )


def play_paper(
    scenario: Scenario, agent: ScriptedAgent, terminal: WatchedTerminal, path: Path, restarts: int
) -> Life:
    life = Life([], [], [], [], {})
    market = scenario.market
    each = len(market.panel) // (restarts + 1) + 1
    while not terminal.finished:
        journal = Journal(path, durable=False)
        strategy = Strategy(agent, scenario.pipeline, scenario.env, market.specs)
        runner = paper_runner(terminal, journal, strategy, "four faces")
        for _, report in zip(range(each), paper_bars(terminal, runner), strict=False):
            assert report is not None
            assert all(event.startswith("stop-out") for event in report.events), report.events
            codes = {result.retcode for result in report.results}
            life.bars.append(Bar.of(terminal.account.book))
            life.refused.append(mt5.TRADE_RETCODE_NO_MONEY in codes)
        journal.close()
    life.seen.extend(agent.taken())
    return life


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


def check_books(scenario: Scenario, terminal: WatchedTerminal, bars: Sequence[Bar]) -> None:
    """Balances follow from deals, margin and equity at the open from position and price."""
    tape, balance, steps = terminal.account.tape, scenario.env.account.capital, 0
    contract, scale = tape.contracts[0], tape.rules["money_scale"][0].item()
    entry, swap = 0.0, 0.0
    first = scenario.first_row + 1
    for at, (bar, shown) in enumerate(zip(bars, terminal.shown, strict=True)):
        market = tape.market[first + at, 0]
        for deal in (deal for deal in bar.deals if deal.reason != STOP_OUT):
            balance = round_money(balance + deal.profit + deal.swap - deal.commission, scale)
            closing = deal.steps * steps < 0
            assert deal.closing == closing and deal.bar == first + at
            if closing:
                swap = round_money(swap - deal.swap, scale) if swap != 0.0 else swap
            elif steps == 0:
                entry, swap = deal.price, 0.0
            else:
                entry = (steps * entry + deal.steps * deal.price) / (steps + deal.steps)
            steps += deal.steps
        bid = market["open"].item()
        value = contract["step_units"].item() * market["rate"].item()
        price, exit_price = (
            ticks * contract["tick_n"].item() / contract["tick_d"].item()
            for ticks in (bid, bid if steps > 0 else bid + market["spread"].item())
        )
        equity = balance + (swap + steps * (exit_price - entry) * value) if steps else balance
        margin = abs(steps) * (price * value) * contract["margin_share"].item()
        assert_same(f"terminal at the open of bar {at}", shown, (balance, equity, margin))
        for deal in (deal for deal in bar.deals if deal.reason == STOP_OUT):
            balance = round_money(balance + deal.profit + deal.swap - deal.commission, scale)
            steps += deal.steps
        assert (balance, steps) == (bar.balance, bar.steps), f"bar {at}"
        entry, swap = bar.entry, bar.swap


def check_broker(terminal: WatchedTerminal, scenario: Scenario, deals: Sequence[Deal]) -> None:
    """The terminal's history, as a person would read it there."""
    spec = scenario.market.specs[0]
    instrument = Instrument(spec, spec.name)
    told = [
        (
            d.volume if d.type == mt5.DEAL_TYPE_BUY else -d.volume,
            d.entry == mt5.DEAL_ENTRY_OUT,
            d.reason == mt5.DEAL_REASON_SO,
            d.price,
            d.profit,
            d.commission,
            d.swap,
        )
        for d in terminal.account.deals[1:]
    ]
    expected = [
        (
            instrument.lots(d.steps),
            d.closing,
            d.reason == STOP_OUT,
            d.price,
            d.profit,
            -d.commission,
            d.swap,
        )
        for d in deals
    ]
    assert_same("terminal, deals", told, expected)


def check_journal(path: Path, bars: Sequence[Bar]) -> None:
    """What the runner has written down of every bar that it decided on, the first left out."""
    with sqlite3.connect(path) as database:
        rows = database.execute(
            "SELECT equity, balance, level, positions, memory FROM account ORDER BY bar_time_ns"
        ).fetchall()
    database.close()
    written = []
    for equity, balance, level, positions, memory in rows[1:]:
        (held,) = json.loads(positions)
        numbers = [held[name] for name in Bar._fields[4:9]]
        written.append((equity, balance, level, json.loads(memory)["losing_run"], *numbers))
    assert_same("journal", written, [bar[:9] for bar in bars[:-1]])


def compare(
    scenario: Scenario, actions: npt.NDArray[np.float32], folder: Path, restarts: int = 2
) -> Counter[str]:
    """Play all faces and compare them; returns how often the interesting things happened."""
    agent = ScriptedAgent(scenario.features(), actions)
    first, last = scenario.rows("all")
    env = play_env(scenario, agent)
    restarted = sum(
        play_batch(kind, scenario, agent, env, last - first + AFTERLIFE)
        for kind in (SB3VecEnv, VectorTradingEnv)
    )
    result = run_agent(agent, scenario, (first, last))
    seen = agent.taken()
    terminal = make_terminal(scenario, agent)
    journal = folder / f"{scenario.env.name}-{scenario.market.panel.time[0]}.db"
    paper = play_paper(scenario, agent, terminal, journal, restarts)

    alive = len(env.bars)
    assert_same("paper, account", paper.bars[:alive], env.bars)
    assert_same("paper, observation", paper.seen, seen)
    assert_same("env, observation", env.seen[:alive], seen[:alive])
    assert_same("paper, no money", paper.refused[:alive], env.refused)
    check_backtest(result, paper, env)
    check_books(scenario, terminal, paper.bars)
    check_broker(terminal, scenario, result.deals)
    check_journal(journal, paper.bars)
    return coverage(scenario, paper, terminal) + Counter(restarted=restarted)


def compare_lives(
    scenario: Scenario, actions: npt.NDArray[np.float32], folder: Path, most: int = 25
) -> Counter[str]:
    """As :func:`compare`; where an account dies another begins, ``most`` of them."""
    count: Counter[str] = Counter()
    for _ in range(most):
        first, last = scenario.rows("all")
        dead = first + len(play_env(scenario, ScriptedAgent(scenario.features(), actions)).bars)
        end = min(dead + AFTERLIFE, last)
        count += compare(cut(scenario, 0, end), actions[: end + 1], folder)
        starts = np.flatnonzero(np.diff(scenario.market.panel.time[dead:]) <= DAY_NS)
        if dead + AFTERLIFE > last or not starts.size:
            break
        begin = dead + int(starts[0]) - first
        scenario, actions = cut(scenario, begin, last), actions[begin:]
    return count


def cut(scenario: Scenario, first: int, last: int) -> Scenario:
    """Rows ``first`` to ``last``; nothing is fitted again."""
    market = scenario.market
    return replace(scenario, market=replace(market, panel=market.panel[first : last + 1]))


def coverage(scenario: Scenario, life: Life, terminal: WatchedTerminal) -> Counter[str]:
    """How often it happened."""
    count: Counter[str] = Counter(bars=len(life.bars), refused=sum(life.refused))
    market = terminal.account.tape.market[scenario.first_row + 1 :, 0]
    swaps = scenario.market.specs[0].swap_mode != "none"
    quiet = Bar(0.0, 0.0, 0, 0, 0, 0.0, 0.0, 0, 0.0, ())
    for before, bar, row in zip([quiet, *life.bars], life.bars, market, strict=False):
        reasons = {deal.reason for deal in bar.deals}
        count["deals"] += len(bar.deals)
        count["stop-outs"] += STOP_OUT in reasons
        count["limited"] += bool(reasons & {MAX_EXPOSURE, MARGIN})
        count["flips"] += before.steps * bar.steps < 0
        count["partial closes"] += 0 < bar.steps * before.steps < before.steps**2
        count["triple swaps"] += bool(swaps and bar.steps and row["nights"] >= 3)
        count["brakes"] += bar.level > before.level
        count["releases"] += bar.level < before.level
    return count
