"""The four faces of one account, played with the same bars and actions and compared bit for bit.

    env         TradingEnv, one account
    batch       SB3VecEnv and VectorTradingEnv, lane 0 beside strangers
    backtest    run_agent
    paper       MT5Adapter and Runner on the simulated terminal, started anew now and then; in the
                long form a hand that sends the kernel's decisions through the same adapter

The env ends with its account; the batch then begins again at the first row and has to live the
same life once more; backtest and paper go on to the last bar.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from hands import Hand
from ledgers import (
    check_backtest,
    check_books,
    check_broker,
    check_journal,
    coverage,
)
from lives import Bar, Life, assert_same

from mtquant.agents.base import Float32
from mtquant.backtest.run import run_agent
from mtquant.brokers import constants as mt5
from mtquant.brokers.base import OrderResult
from mtquant.brokers.terminal.simulated import SimulatedTerminal
from mtquant.brokers.terminal.state import AccountTerms
from mtquant.envs.scenario import Scenario
from mtquant.envs.trading import TradingEnv
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.envs.vector import VectorTradingEnv
from mtquant.live.decide import Strategy
from mtquant.live.journal import Journal
from mtquant.live.paper import paper_bars, paper_runner
from mtquant.market.clock import DAY_NS
from mtquant.risk.breaker import LEVEL_NAMES
from mtquant.risk.reasons import (
    NO_MONEY,
    PASSED,
    PRICE_BAND,
    REASONS,
    REJECTED,
    TOO_MANY_TICKETS,
)
from mtquant.sim.account import Book

REFUSALS = {
    mt5.TRADE_RETCODE_NO_MONEY: REASONS[NO_MONEY],
    mt5.TRADE_RETCODE_INVALID_STOPS: REASONS[PASSED],
    mt5.TRADE_RETCODE_PRICE_OFF: REASONS[PRICE_BAND],
    mt5.TRADE_RETCODE_REJECT: REASONS[REJECTED],
}
NEVER_SENT = REASONS[TOO_MANY_TICKETS]
EXPECTED_EVENTS = ("stop-out", "margin call", " closed ", "beyond full size; cut to it")
LANES = 3
AFTERLIFE = 10  # bars that the other faces go on after an account has come to its end


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
        return self.action(observation[: self.width]), state

    def action(self, row: Float32) -> Float32:
        """What is played where the features are these."""
        return self._script[row.tobytes()]

    def taken(self) -> list[bytes]:
        """What was seen since the last call."""
        seen, self.seen = self.seen, []
        return seen


def draw_anew(book: Book) -> None:
    """Lane 0 draws rejections from the state in which backtest and terminal begin."""
    book.account["rng"][0] = 0


def play_env(scenario: Scenario, agent: ScriptedAgent) -> Life:
    env = TradingEnv(scenario, split="all", training=False)
    lot = scenario.market.specs[0].lot_step
    life = Life([], [], [], [], {})
    observation, info = env.reset(seed=1)
    draw_anew(env._simulator.book)
    over = False
    while not over:
        action, _ = agent.predict(observation)
        observation, reward, ended, cut, info = env.step(action)
        bar, over = Bar.of(env._simulator.book), ended or cut
        shown = (info["equity"], info["balance"], info["breaker"], info["position_lots"])
        assert shown == (bar.equity, bar.balance, LEVEL_NAMES[bar.level], [bar.steps * lot])
        life.bars.append(bar)
        (reason,) = info["reason"]
        life.refused.append(reason if reason in (*REFUSALS.values(), NEVER_SENT) else "")
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
    draw_anew(batch.simulator.book)
    row, lives = 0, 0
    for actions in strangers:
        where = f"{face}, life {lives}, bar {row} after the first"
        assert seen[0].tobytes() == env.seen[row], f"{where}: another observation"
        actions[0], _ = agent.predict(seen[0])
        seen, rewards, *_, infos = batch.step(actions)
        assert rewards[0] == np.float32(env.rewards[row]), where
        row += 1
        if row < len(env.bars):
            assert_same(where, [Bar.of(batch.simulator.book)], [env.bars[row - 1]])
            continue
        last, summary = last_words(infos)
        assert last.tobytes() == env.seen[row], where
        assert summary == env.summary, where
        draw_anew(batch.simulator.book)
        row, lives = 0, lives + 1
    agent.taken()
    return lives


def last_words(infos: Any) -> tuple[Float32, dict[str, Any]]:
    """Last observation and summary of lane 0, as Gymnasium or Stable-Baselines3 tells them."""
    if isinstance(infos, dict):
        return infos["final_obs"][0], infos["episode_summary"][0]
    return infos[0]["terminal_observation"], infos[0]["episode_summary"]


class WatchedTerminal(SimulatedTerminal):
    """Notes how many deals were made at each bar's open, and what the account shows after them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.shown: list[tuple[int, float, float, float]] = []
        self.dealt = len(self.account.deals)

    def advance(self) -> None:
        info = self.account_info()
        assert info is not None
        begun = len(self.account.deals) - self.dealt
        self.shown.append((begun, info.balance, info.equity, info.margin))
        super().advance()
        self.dealt = len(self.account.deals)


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
            for event in report.events:
                assert any(part in event for part in EXPECTED_EVENTS), event
            life.bars.append(Bar.of(terminal.account.book))
            life.refused.append(why_refused(report.outlook.decisions[0].reason, report.results))
        journal.close()
    life.seen.extend(agent.taken())
    return life


def play_hand(scenario: Scenario, agent: ScriptedAgent, terminal: WatchedTerminal) -> Life:
    life, hand, features = Life([], [], [], [], {}), Hand(terminal, scenario), scenario.features()
    while not terminal.finished:
        done = hand.trade(agent.action(features[terminal.account.forming - 1]))
        terminal.account.explain([done.decision.reason_code])
        terminal.advance()
        life.bars.append(Bar.of(terminal.account.book))
        life.refused.append(why_refused(done.decision.reason, done.results))
    return life


def why_refused(reason: str, results: Sequence[OrderResult]) -> str:
    """What the server said of the bar's last order, or why it was not sent at all."""
    codes = [result.retcode for result in results]
    return REFUSALS.get(codes[-1], "") if codes else reason if reason == NEVER_SENT else ""


def compare(
    scenario: Scenario,
    actions: npt.NDArray[np.float32],
    folder: Path | None,
    restarts: int = 2,
) -> Counter[str]:
    """Play all faces and compare them; returns how often the interesting things happened.

    The runner keeps its journal in ``folder``; without one a hand plays paper.
    """
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
    if folder is None:
        paper = play_hand(scenario, agent, terminal)
    else:
        journal = folder / f"{scenario.env.name}-{scenario.market.panel.time[0]}.db"
        paper = play_paper(scenario, agent, terminal, journal, restarts)
        assert_same("paper, observation", paper.seen, seen)
        check_journal(journal, terminal.account.tape, paper.bars)

    alive = len(env.bars)
    assert_same("paper, account", paper.bars[:alive], env.bars)
    assert_same("env, observation", env.seen[:alive], seen[:alive])
    assert_same("paper, refusals", paper.refused[:alive], env.refused)
    check_backtest(result, paper, env)
    check_books(scenario, terminal, paper.bars)
    by_order = check_broker(terminal, scenario, result.deals)
    count = coverage(scenario, paper, terminal.account.tape)
    count.update({"restarted": restarted, "passed stops": by_order})
    return count


def compare_lives(
    scenario: Scenario, actions: npt.NDArray[np.float32], folder: Path | None, most: int = 25
) -> Counter[str]:
    """As :func:`compare`; where an account dies another begins, ``most`` of them."""
    count: Counter[str] = Counter()
    for _ in range(most):
        first, last = scenario.rows("all")
        dead = first + life_span(scenario, actions)
        end = min(dead + AFTERLIFE, last)
        count += compare(cut(scenario, 0, end), actions[: end + 1], folder)
        starts = np.flatnonzero(np.diff(scenario.market.panel.time[dead:]) <= DAY_NS)
        if dead + AFTERLIFE > last or not starts.size:
            break
        begin = dead + int(starts[0]) - first
        scenario, actions = cut(scenario, begin, last), actions[begin:]
    return count


def life_span(scenario: Scenario, actions: npt.NDArray[np.float32]) -> int:
    """Bars that an account lives; those who die young are found without a look at all history."""
    first, last = scenario.rows("all")
    bars = ended = 0
    while bars == ended and first + ended < last:
        ended = min(max(8 * ended, 500), last - first)
        young = cut(scenario, 0, first + ended)
        agent = ScriptedAgent(young.features(), actions[: first + ended + 1])
        bars = len(play_env(young, agent).bars)
    return bars


def cut(scenario: Scenario, first: int, last: int) -> Scenario:
    """Rows ``first`` to ``last``; nothing is fitted again."""
    market = scenario.market
    return replace(scenario, market=replace(market, panel=market.panel[first : last + 1]))
